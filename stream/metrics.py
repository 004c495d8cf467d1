"""Metrics of a lane: Prometheus names with one prefix and base units, and the snapshot for the metrics topic.

Everything is counted a batch at a time; nothing is labelled by post, user or text.
"""

import time
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from schemas import CampaignSnapshot, LatencySummary, MetricsSnapshot, TextResult
from stream.latency import LatencyHistogram
from stream.records import Item
from workers.errors import PipelineError
from workers.text.drift import Reading
from workers.text.results import TEXT_RESULTS

BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096)


class Exposition:
    """All metrics of a process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        lane = ["lane"]
        self.consumed = self._counter("feedsight_consumed", "Inputs read.", lane)
        self.results = self._counter("feedsight_results", "Results committed.", lane)
        self.verdicts = self._counter(
            "feedsight_verdicts", "Labels or verdicts given.", [*lane, "name", "verdict"]
        )
        self.filtered = self._counter("feedsight_filtered", "Posts that no label set is for.", lane)
        self.abstained = self._counter("feedsight_abstained", "Posts left without a label.", lane)
        self.bursts = self._counter("feedsight_bursts", "Stories told so often that people were told.", lane)
        self.drifts = self._counter(
            "feedsight_drifts", "Drifts that people were told of, by what moved.", [*lane, "name", "signal"]
        )
        self.drift = self._gauge(
            "feedsight_drift", "How far the last posts are from the reference.", "name", "signal"
        )
        self.novelty = self._gauge(
            "feedsight_novelty", "Mean distance to all that is known of the labels.", "name"
        )
        self.confidence = self._gauge(
            "feedsight_confidence", "Mean probability of the best label, over the last interval.", "name"
        )
        self.dead_letters = self._counter(
            "feedsight_dead_letters", "Inputs dead-lettered, by reason.", [*lane, "reason"]
        )
        self.transactions = self._counter("feedsight_commits", "Chunks committed.", lane)
        self.sessions = self._counter("feedsight_sessions", "Times the consumer group was joined.", lane)
        self.batches = Histogram(
            "feedsight_batch_items",
            "Messages in a batch.",
            lane,
            buckets=BATCH_BUCKETS,
            registry=self.registry,
        )
        self.compute = Histogram(
            "feedsight_compute_seconds", "Time of the model on a batch.", lane, registry=self.registry
        )
        self.latency = LatencyHistogram(
            "feedsight_latency_seconds", "From a record's timestamp to its committed result."
        )
        self.registry.register(self.latency)
        self.in_flight = self._gauge("feedsight_in_flight", "Inputs read and not yet committed.")
        self.queue_bytes = self._gauge("feedsight_queue_bytes", "Their size in bytes.")
        self.lag = self._gauge("feedsight_lag", "Inputs on the broker not yet committed.")
        self.paused = self._gauge("feedsight_paused", "1 while the consumer is held back.")
        self.last_commit = self._gauge(
            "feedsight_last_commit_timestamp_seconds", "When a chunk was last committed."
        )
        self.model = Info("feedsight_model", "The model and version in force.", lane, registry=self.registry)

    def _counter(self, name: str, documentation: str, labels: list[str]) -> Counter:
        return Counter(name, documentation, labels, registry=self.registry)

    def _gauge(self, name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(name, documentation, ["lane", *labels], registry=self.registry)


@dataclass
class Window:
    """What happened since the last snapshot."""

    started: float
    consumed: int = 0
    results: int = 0
    abstained: Tally[str] = field(default_factory=Tally)
    filtered: int = 0
    verdicts: Tally[tuple[str, str]] = field(default_factory=Tally)
    """By label set or gallery, and label or verdict."""
    confidence: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Sum of the best probabilities, by label set."""
    dead_letters: Tally[str] = field(default_factory=Tally)
    latencies: list[NDArray[np.float64]] = field(default_factory=list)


class LaneMetrics:
    """Counts what one lane does. One event loop owns it.

    Args:
        lane: the lane's name.
        worker: the process's name, for snapshots.
        exposition: the process's metrics.
        now: seconds since the epoch, to be held against Kafka's timestamps.
    """

    def __init__(
        self, lane: str, worker: str, exposition: Exposition, now: Callable[[], float] = time.time
    ) -> None:
        self._lane = lane
        self._worker = worker
        self._now = now
        self._exposition = exposition
        self._window = Window(now())
        self._consumed = exposition.consumed.labels(lane)
        self._results = exposition.results.labels(lane)
        self._abstained = exposition.abstained.labels(lane)
        self._commits = exposition.transactions.labels(lane)
        self._batches = exposition.batches.labels(lane)
        self._compute = exposition.compute.labels(lane)

    def joined(self) -> None:
        """A session starts."""
        self._exposition.sessions.labels(self._lane).inc()

    def read(self, count: int) -> None:
        """Inputs were read."""
        self._consumed.inc(count)
        self._window.consumed += count

    def inferred(self, count: int, seconds: float) -> None:
        """A batch went through the model."""
        self._batches.observe(count)
        self._compute.observe(seconds)

    def committed(self, answers: Sequence[Item]) -> None:
        """A chunk was committed."""
        window, lane = self._window, self._lane
        verdicts: Tally[tuple[str, str]] = Tally()
        abstained: Tally[str] = Tally()
        reasons: Tally[str] = Tally()
        filtered = 0
        labelled: list[TextResult] = []
        images = 0
        for answer in answers:
            outcome = answer.outcome
            if isinstance(outcome, tuple):  # one for each campaign
                labelled += outcome
                filtered += not outcome
            elif isinstance(outcome, TEXT_RESULTS):
                labelled.append(outcome)
            elif isinstance(outcome, PipelineError):
                reasons[outcome.reason] += 1
            else:
                images += 1
                verdicts[outcome.gallery, outcome.verdict] += 1
        results = len(labelled) + images
        for (name, label), count in Tally([(one.label_set, one.label) for one in labelled]).items():
            if label is None:
                abstained[name] += count
            else:
                verdicts[name, label] += count
        for result in labelled:
            window.confidence[result.label_set] += result.confidence
        for (name, verdict), count in verdicts.items():
            self._exposition.verdicts.labels(lane, name, verdict).inc(count)
        for reason, count in reasons.items():
            self._exposition.dead_letters.labels(lane, reason).inc(count)
        self._results.inc(results)
        self._abstained.inc(abstained.total())
        if filtered:
            self._exposition.filtered.labels(lane).inc(filtered)
        self._commits.inc()
        stamps = np.fromiter((answer.record.timestamp for answer in answers), np.float64, len(answers))
        latencies = np.maximum(self._now() - stamps / 1_000, 0.0)
        self._exposition.latency.observe(lane, latencies)
        self._exposition.last_commit.labels(lane).set(self._now())
        window.results += results
        window.abstained += abstained
        window.filtered += filtered
        window.verdicts += verdicts
        window.dead_letters += reasons
        window.latencies.append(latencies)

    def snapshot(
        self,
        *,
        in_flight: int,
        queue_bytes: int,
        lag: int,
        paused: bool,
        model: str,
        version: str,
        in_force: dict[str, str] | None = None,
        readings: Mapping[str, Reading] | None = None,
    ) -> MetricsSnapshot:
        """Close the interval and give what happened in it."""
        lane, exposition = self._lane, self._exposition
        exposition.in_flight.labels(lane).set(in_flight)
        exposition.queue_bytes.labels(lane).set(queue_bytes)
        exposition.lag.labels(lane).set(lag)
        exposition.paused.labels(lane).set(paused)
        exposition.model.labels(lane).info({"model": model, "version": version})
        window, self._window = self._window, Window(self._now())
        interval_s = max(self._window.started - window.started, 1e-9)
        latency = None
        if window.latencies:
            p50, p99 = np.percentile(np.concatenate(window.latencies), [50, 99])
            latency = LatencySummary(p50_s=round(float(p50), 4), p99_s=round(float(p99), 4))
        campaigns = None
        if in_force is not None and lane == "text":
            campaigns = _campaigns(window, in_force, readings or {})
            self._show(campaigns)
        return MetricsSnapshot(
            kind="snapshot",
            worker=self._worker,
            lane=lane,
            at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            interval_s=round(interval_s, 3),
            consumed=window.consumed,
            results=window.results,
            dead_letters=dict(window.dead_letters),
            abstained=window.abstained.total(),
            filtered=window.filtered,
            verdicts=_by_verdict(window.verdicts),
            throughput_per_s=round(window.results / interval_s, 1),
            latency=latency,
            in_flight=in_flight,
            queue_bytes=queue_bytes,
            lag=lag,
            model=model,
            version=version,
            in_force=in_force,
            campaigns=campaigns,
        )

    def _show(self, campaigns: Mapping[str, CampaignSnapshot]) -> None:
        """Let Prometheus see where campaigns stand, and nothing of those that are gone."""
        lane, exposition = self._lane, self._exposition
        for gauge in (exposition.drift, exposition.novelty, exposition.confidence):
            gauge.clear()
        for name, campaign in campaigns.items():
            if campaign.confidence is not None:
                exposition.confidence.labels(lane, name).set(campaign.confidence)
            if campaign.novelty is not None:
                exposition.novelty.labels(lane, name).set(campaign.novelty)
            for signal, effect in (campaign.drift or {}).items():
                exposition.drift.labels(lane, name, signal).set(effect)


def _by_verdict(verdicts: Tally[tuple[str, str]]) -> dict[str, int]:
    """Counts over all label sets or galleries."""
    found: Tally[str] = Tally()
    for (_, verdict), count in verdicts.items():
        found[verdict] += count
    return dict(found)


def _campaigns(
    window: Window, in_force: Mapping[str, str], readings: Mapping[str, Reading]
) -> dict[str, CampaignSnapshot]:
    """The interval of each label set in force."""
    found = {}
    for name, version in in_force.items():
        verdicts = {verdict: count for (own, verdict), count in window.verdicts.items() if own == name}
        abstained = window.abstained[name]
        results = sum(verdicts.values()) + abstained
        confidence = round(window.confidence[name] / results, 4) if results else None
        reading = readings.get(name, Reading(None, None))
        found[name] = CampaignSnapshot(
            version=version,
            results=results,
            abstained=abstained,
            verdicts=verdicts,
            confidence=confidence,
            novelty=reading.novelty,
            drift=reading.drift,
        )
    return found
