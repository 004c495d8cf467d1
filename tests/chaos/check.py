"""The checker: reads inputs and outputs with confluent-kafka, read_committed, and knows nothing of our code.

Invariants, by the numbers of the project's list:

1. every input that the broker acknowledged has a result or a dead letter, at the end
2. no output without its input; the answer is what the input calls for
3. a committed offset never stood above an input whose output was not yet durable (LogAppendTime says when)
4. a committed offset never went back
5. per partition, outputs stand in input order
6. nothing is answered twice (at least once: repeats share their result id and answer)
"""

import time
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition
from numpy.typing import NDArray

from tests.chaos.verdict import Topics, Verdict
from tests.chaos.watch import Partition, Sample

LABELS = ("zero", "one", "two", "three", "four", "five", "six", "seven")
READ_TIMEOUT_S = 120.0
QUARANTINED = "crashed_worker"
"""The reason of a dead letter whose input seems to end processes (docs/adr/0005)."""


@dataclass
class _Inputs:
    """One input partition: what each offset calls for, and what it got."""

    expected: list[Any]
    """By offset: a label or verdict, None where a dead letter is due, `MISSING` where there is no input."""
    values: dict[int, bytes | None]
    """Of those that should be dead-lettered."""
    answers: NDArray[np.int32]
    appended_ms: NDArray[np.float64]


MISSING = object()


class Checker:
    """Collects outputs as often as it is asked to, and judges at the end.

    Args:
        bootstrap: the broker, reached directly.
        topics: what to read.
        partitions: of each.
        due_dead_letters: starts of texts that make the model raise or answer too much.
    """

    def __init__(
        self, bootstrap: str, topics: Topics, partitions: int, due_dead_letters: tuple[str, ...]
    ) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._partitions = partitions
        self._due = due_dead_letters
        self._earlier_letters: list[tuple[Any, ...]] = []
        self.verdict = Verdict()

    def keep_dead_letters(self) -> None:
        """Read the dead letters now: their topic is about to be deleted."""
        self._earlier_letters.extend(self._letters())

    def judge(
        self, acked: dict[Partition, Any], samples: dict[Partition, list[Sample]], *, repeats: bool = False
    ) -> Verdict:
        """Read everything and check it.

        Args:
            acked: offsets that the broker acknowledged, by input topic and partition.
            samples: committed offsets, by input topic and partition.
            repeats: at least once: repeats are counted and allowed.
        """
        verdict = self.verdict
        inputs = self._read_inputs()
        verdict.inputs = sum(
            sum(one is not MISSING for one in partition.expected) for partition in inputs.values()
        )
        for where, offsets in acked.items():
            expected = inputs[where].expected
            for offset in offsets:
                if offset >= len(expected) or expected[offset] is MISSING:
                    verdict.acknowledged_but_gone += 1
                    verdict.say(f"the broker lost {where} {offset}")
        self._take_results(inputs, self._topics.labels)
        self._take_results(inputs, self._topics.matches)
        self._take_letters(inputs)
        for where, partition in inputs.items():
            self._count(where, partition)
            self._check_samples(where, partition, samples.get(where, []))
        if repeats:
            verdict.reasons["repeated (at least once)"] = verdict.double
            verdict.double = 0
            verdict.out_of_order = 0
        return verdict

    def _read_inputs(self) -> dict[Partition, _Inputs]:
        found: dict[Partition, dict[int, Any]] = defaultdict(dict)
        values: dict[Partition, dict[int, bytes | None]] = defaultdict(dict)
        for message in self._read(self._topics.posts):
            where, offset = (self._topics.posts, message.partition()), message.offset()
            found[where][offset] = self._due_label(message.value())
            if found[where][offset] is None:
                values[where][offset] = message.value()
        for message in self._read(self._topics.images):
            where = (self._topics.images, message.partition())
            score = zlib.crc32(message.value() or b"") % 1_000 / 1_000
            found[where][message.offset()] = "match" if score >= 0.5 else "no_match"
        inputs = {}
        for topic in (self._topics.posts, self._topics.images):
            for partition in range(self._partitions):
                where = (topic, partition)
                size = max(found[where], default=-1) + 1
                expected = [MISSING] * size
                for offset, what in found[where].items():
                    expected[offset] = what
                inputs[where] = _Inputs(
                    expected, values[where], np.zeros(size, np.int32), np.zeros(size, np.float64)
                )
        return inputs

    def _due_label(self, value: bytes | None) -> str | None:
        """The label that a post calls for; None: a dead letter."""
        try:
            post = orjson.loads(value or b"")
        except orjson.JSONDecodeError:
            return None
        text = post.get("text") if isinstance(post, dict) else None
        if set(post) != {"id", "text"} or not isinstance(text, str) or not text.strip():
            return None
        if text.startswith(self._due):
            return None
        return LABELS[zlib.crc32(text.encode()) % len(LABELS)]

    def _take_results(self, inputs: dict[Partition, _Inputs], topic: str) -> None:
        verdict = self.verdict
        last: dict[Partition, int] = {}
        ids: dict[tuple[str, int, int], str] = {}
        for message in self._read(topic):
            verdict.results += 1
            result = orjson.loads(message.value())
            source = result["source"]
            where, offset = (source["topic"], source["partition"]), source["offset"]
            partition = inputs.get(where)
            if partition is None or offset >= len(partition.expected):
                expected = MISSING
            else:
                expected = partition.expected[offset]
            if partition is None or expected is MISSING:
                verdict.without_input += 1
                verdict.say(f"a result without its input: {where} {offset}")
                continue
            answer = result["label"] if "label" in result else result["verdict"]
            if answer != expected or not result["result_id"].startswith(f"{where[0]}-{where[1]}-{offset}-"):
                verdict.wrong_answer += 1
                verdict.say(f"{where} {offset}: {answer} in place of {expected}")
            self._take(partition, where, offset, message.timestamp()[1], last)
            if (
                partition.answers[offset] > 1
                and ids.setdefault((*where, offset), result["result_id"]) != (result["result_id"])
            ):
                verdict.wrong_answer += 1

    def _take_letters(self, inputs: dict[Partition, _Inputs]) -> None:
        verdict = self.verdict
        last: dict[Partition, int] = {}
        for incarnation in (self._earlier_letters, self._letters()):
            for where, offset, reason, value, omitted, at_ms in incarnation:
                verdict.dead_letters += 1
                verdict.reasons[reason] = verdict.reasons.get(reason, 0) + 1
                partition = inputs.get(where)
                if partition is None or offset >= len(partition.expected):
                    verdict.without_input += 1
                    verdict.say(f"a dead letter without its input: {where} {offset}")
                    continue
                due = partition.expected[offset] is None
                if not due and reason == QUARANTINED:
                    verdict.quarantined += 1
                elif not due or not (omitted or value == partition.values[offset]):
                    verdict.wrong_dead_letter += 1
                    verdict.say(f"{where} {offset}: dead-lettered as {reason}")
                self._take(partition, where, offset, at_ms, last)

    def _take(
        self, partition: _Inputs, where: Partition, offset: int, at_ms: float, last: dict[Partition, int]
    ) -> None:
        partition.answers[offset] += 1
        if partition.answers[offset] == 1:
            partition.appended_ms[offset] = at_ms
            if offset < last.get(where, -1):
                self.verdict.out_of_order += 1
                self.verdict.say(f"{where} {offset} after {last[where]}")
            last[where] = max(last.get(where, -1), offset)

    def _letters(self) -> list[tuple[Any, ...]]:
        letters = []
        for message in self._read(self._topics.dead_letters):
            headers = dict(message.headers() or [])
            where = (headers["source_topic"].decode(), int(headers["source_partition"]))
            facts = (where, int(headers["source_offset"]), headers["reason"].decode(), message.value())
            letters.append((*facts, "value_omitted" in headers, message.timestamp()[1]))
        return letters

    def _count(self, where: Partition, partition: _Inputs) -> None:
        verdict = self.verdict
        for offset, expected in enumerate(partition.expected):
            answers = partition.answers[offset]
            if expected is not MISSING and answers == 0:
                verdict.lost += 1
                verdict.say(f"{where} {offset} has no answer")
            elif answers > 1:
                verdict.double += int(answers) - 1
                verdict.say(f"{where} {offset} has {answers} answers")

    def _check_samples(self, where: Partition, partition: _Inputs, samples: list[Sample]) -> None:
        verdict = self.verdict
        verdict.samples += len(samples)
        durable_at = np.maximum.accumulate(partition.appended_ms) if len(partition.appended_ms) else None
        highest = 0
        for sample in samples:
            if sample.offset < highest:
                verdict.committed_back += 1
                verdict.say(f"{where}: committed {sample.offset} after {highest}")
            highest = max(highest, sample.offset)
            if not sample.offset or durable_at is None:
                continue
            if sample.offset > len(durable_at) or durable_at[sample.offset - 1] > sample.at_ms:
                verdict.committed_too_far += 1
                verdict.say(f"{where}: {sample.offset} was committed before its output was durable")

    def _read(self, topic: str) -> Iterator[Message]:
        """All committed records of a topic, up to its present end."""
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": "chaos-checker",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 50,
                "queued.max.messages.kbytes": 65_536,
                "log_level": 0,
            }
        )
        try:
            found = consumer.list_topics(topic, timeout=20).topics[topic].partitions
            partitions = [TopicPartition(topic, number, OFFSET_BEGINNING) for number in found]
            consumer.assign(partitions)
            unread = set(found)
            deadline = time.monotonic() + READ_TIMEOUT_S
            while unread:
                for message in consumer.consume(10_000, timeout=0.5):
                    if message.error() is None:
                        yield message
                        deadline = time.monotonic() + READ_TIMEOUT_S
                    elif message.error().code() == KafkaError._PARTITION_EOF:
                        unread.discard(message.partition())
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{topic}: partitions {unread} can't be read to their ends")
        finally:
            consumer.close()
