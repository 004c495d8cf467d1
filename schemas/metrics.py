"""The snapshot each worker publishes on the metrics topic."""

from schemas.base import Message


class LatencySummary(Message):
    """Seconds from a record's timestamp to its committed result, over the interval."""

    p50_s: float
    p99_s: float


class MetricsSnapshot(Message):
    """One worker's last interval."""

    worker: str
    lane: str
    at: str
    interval_s: float
    consumed: int
    results: int
    dead_letters: dict[str, int]
    abstained: int
    verdicts: dict[str, int]
    """How often each label or verdict was given."""
    throughput_per_s: float
    latency: LatencySummary | None
    in_flight: int
    queue_bytes: int
    lag: int
    model: str
    version: str
    """The label set or gallery in force, with its version."""
