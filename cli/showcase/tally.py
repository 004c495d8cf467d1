"""The bookkeeping: every input in Kafka against every committed answer, by topic, partition and offset.

Inputs are read back from Kafka like any subscriber would, so nothing here depends on what the feed believes.
"""

import json
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Final

from cli.showcase.story import BURST
from stream.client import Incoming
from stream.topics import TopicNames

Position = tuple[str, int, int]
"""Topic, partition, offset of an input."""

RATE_WINDOW_S: Final = 5.0
"""Answers per second are counted over this long."""

UNSURE: Final = "(unsure)"
"""What stands for a label where the worker abstained."""

KEPT: Final = 60
"""Newest items kept for the screen, of each kind."""


@dataclass(frozen=True)
class LabelSeen:
    """A label as it is shown; `label` is None where the worker abstained."""

    id: str
    label: str | None
    probability: float
    text: str
    latency_s: float | None


@dataclass(frozen=True)
class MatchSeen:
    """A verdict on an image as it is shown."""

    id: str
    verdict: str
    score: float
    regions: int
    compared_with: str | None
    largest: tuple[int, int, int, int] | None


@dataclass(frozen=True)
class DeadLetterSeen:
    """A dead letter as it is shown."""

    reason: str
    source: Position
    about: str


@dataclass(frozen=True)
class LabelsChanged:
    """A change of labels while the stream ran, as it is shown."""

    added: str
    version: str
    after_s: float


@dataclass
class Tally:
    """What came in and what came of it.

    Args:
        topics: the names in use.
        about: what a person sees of an input, by key.
    """

    topics: TopicNames
    about: dict[str, str]
    labels: deque[LabelSeen] = field(default_factory=lambda: deque(maxlen=KEPT))
    matches: deque[MatchSeen] = field(default_factory=lambda: deque(maxlen=KEPT))
    dead_letters: deque[DeadLetterSeen] = field(default_factory=lambda: deque(maxlen=KEPT))
    changed: LabelsChanged | None = None
    label_counts: Counter[str] = field(default_factory=Counter)
    verdict_counts: Counter[str] = field(default_factory=Counter)
    reason_counts: Counter[str] = field(default_factory=Counter)
    results: int = 0
    dead: int = 0
    doubled: int = 0
    latencies_s: list[float] = field(default_factory=list)
    burst_answers: list[float] = field(default_factory=list)
    _inputs: dict[Position, float] = field(default_factory=dict)
    _burst_inputs: list[float] = field(default_factory=list)
    _answers: dict[Position, float] = field(default_factory=dict)
    _recent: deque[float] = field(default_factory=deque)

    def saw(self, record: Incoming, at: float) -> object | None:
        """Count a record.

        Args:
            record: from any of the topics.
            at: seconds since the epoch when it was read.

        Returns:
            What there is to show of it, if anything.
        """
        if record.topic in (self.topics.posts, self.topics.images):
            self._saw_input(record)
            return None
        if record.topic == self.topics.dead_letters:
            return self._saw_dead_letter(record, at)
        if record.topic in (self.topics.labels, self.topics.matches):
            return self._saw_result(record, json.loads(record.value or b"{}"), at)
        return None

    @property
    def sent(self) -> int:
        """Inputs that lie in Kafka."""
        return len(self._inputs)

    @property
    def unanswered(self) -> int:
        """Inputs without a result or dead letter."""
        return len(self._inputs.keys() - self._answers.keys())

    def rate(self, now: float) -> float:
        """Answers a second over the last few seconds."""
        while self._recent and self._recent[0] < now - RATE_WINDOW_S:
            self._recent.popleft()
        return len(self._recent) / RATE_WINDOW_S

    def percentile(self, share: float) -> float | None:
        """Seconds from an input's timestamp to its committed answer, the burst left out."""
        if not self.latencies_s:
            return None
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def burst_rate(self) -> float | None:
        """Posts a second over the burst, from its first input to its last answer."""
        if not self.burst_answers or not self._burst_inputs:
            return None
        return len(self.burst_answers) / max(1e-3, max(self.burst_answers) - min(self._burst_inputs))

    def _saw_input(self, record: Incoming) -> None:
        position = (record.topic, record.partition, record.offset)
        sent_at = record.timestamp_ms / 1_000
        self._inputs[position] = sent_at
        if (record.key or b"").startswith(BURST.encode()):
            self._burst_inputs.append(sent_at)
        elif position in self._answers:  # its answer was read first
            self.latencies_s.append(max(0.0, self._answers[position] - sent_at))

    def _answered(self, position: Position, key: str, at: float) -> float | None:
        """Book an answer; gives its latency where its input was read already."""
        self._recent.append(at)
        if position in self._answers:
            self.doubled += 1
            return None
        self._answers[position] = at
        if key.startswith(BURST):
            self.burst_answers.append(at)
            return None
        if position not in self._inputs:
            return None
        latency_s = max(0.0, at - self._inputs[position])
        self.latencies_s.append(latency_s)
        return latency_s

    def _saw_dead_letter(self, record: Incoming, at: float) -> DeadLetterSeen:
        facts = {name: value.decode("utf-8", "replace") for name, value in record.headers}
        key = (record.key or b"").decode("utf-8", "replace")
        source = (facts["source_topic"], int(facts["source_partition"]), int(facts["source_offset"]))
        self._answered(source, key, at)
        self.dead += 1
        self.reason_counts[facts["reason"]] += 1
        seen = DeadLetterSeen(facts["reason"], source, self.about.get(key, facts.get("detail", "")))
        self.dead_letters.append(seen)
        return seen

    def _saw_result(self, record: Incoming, result: dict[str, Any], at: float) -> LabelSeen | MatchSeen:
        origin = result["source"]
        position = (origin["topic"], origin["partition"], origin["offset"])
        latency_s = self._answered(position, result["id"], at)
        self.results += 1
        if record.topic == self.topics.labels:
            best = result["candidates"][0]["probability"] if result["candidates"] else 0.0
            label = LabelSeen(
                result["id"], result["label"], best, self.about.get(result["id"], ""), latency_s
            )
            self.label_counts[result["label"] or UNSURE] += 1
            if not result["id"].startswith(BURST):  # too fast to be read
                self.labels.append(label)
            return label
        regions = result.get("regions") or []
        largest = max(regions, key=lambda region: region["score"], default=None)
        match = MatchSeen(
            result["id"],
            result["verdict"],
            result["score"],
            len(regions),
            result.get("compared_with"),
            tuple(largest["box"]) if largest else None,
        )
        self.verdict_counts[result["verdict"]] += 1
        self.matches.append(match)
        return match
