"""What workers publish on the metrics topic: a snapshot each interval, and events as they happen."""

from typing import Literal

from schemas.base import Json, Message


class LatencySummary(Message):
    """Seconds from a record's timestamp to its committed result, over the interval."""

    p50_s: float
    p99_s: float


class CampaignSnapshot(Message):
    """One label set's last interval in one worker.

    Attributes:
        version: in force at the interval's end.
        results: posts labelled.
        abstained: of these, left without a label.
        verdicts: how often each label was given.
        confidence: mean probability of the best label.
        novelty: mean distance, 1 − cosine, to what is nearest of all that is known of the labels, over the
            last posts that said something new.
        drift: how far these are from the reference window, beyond chance, by name: `shares` (Jensen-Shannon
            divergence of label shares in bits, 0 to 1), `embedding` (distance of the means, 0 to 2), and the
            signed change of `confidence`, `abstained` and `novelty`.
    """

    version: str
    results: int
    abstained: int
    verdicts: dict[str, int]
    confidence: float | None = None
    novelty: float | None = None
    drift: dict[str, float] | None = None


class MetricsSnapshot(Message):
    """One worker's last interval."""

    kind: Literal["snapshot"] = "snapshot"
    worker: str
    lane: str
    at: str
    interval_s: float
    consumed: int
    results: int
    dead_letters: dict[str, int]
    abstained: int
    filtered: int = 0
    """Posts that no label set is for."""
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
    in_force: dict[str, str] | None = None
    """Versions by label set or gallery."""
    campaigns: dict[str, CampaignSnapshot] | None = None


class WorkerEvent(Message):
    """Something that happened in a worker, or in the loop.

    Attributes:
        kind: `started` and `stopped` tell which workers live; `in_force`, `removed` and `refused` answer a
            change of labels or references; `burst` is one story told many times; `drift` a stream that is no
            longer what it was; `refit` what corrections led to.
        name: the label set or gallery.
        detail: one line for a person.
        took_s: from the control record's timestamp on, in seconds.
        facts: numbers and words for programs.
    """

    kind: Literal["started", "stopped", "in_force", "removed", "refused", "burst", "drift", "refit"]
    worker: str
    lane: str
    at: str
    name: str | None = None
    version: str | None = None
    detail: str | None = None
    took_s: float | None = None
    facts: dict[str, Json] | None = None
