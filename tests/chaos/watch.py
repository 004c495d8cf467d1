"""Samples committed offsets all along, with a client of its own that joins no group."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition

SAMPLE_S = 0.25
Partition = tuple[str, int]


@dataclass(frozen=True)
class Sample:
    """A committed offset, and the time at which it was known: milliseconds of the wall clock."""

    at_ms: float
    offset: int


@dataclass
class Stall:
    """The longest time without a commit while there was work, of one partition."""

    seconds: float = 0.0
    began_s: float = 0.0
    partition: Partition = ("", 0)


class Watch:
    """Committed offsets of the lanes' groups, sampled by a thread.

    Args:
        bootstrap: the broker.
        groups: group by input topic.
        partitions: of each input topic.
        ends: gives acknowledged ends by topic and partition.
    """

    def __init__(
        self,
        bootstrap: str,
        groups: dict[str, str],
        partitions: int,
        ends: Callable[[], dict[Partition, int]],
    ) -> None:
        self.samples: defaultdict[Partition, list[Sample]] = defaultdict(list)
        self.stall = Stall()
        self.longest_by_fault: dict[str, float] = {}
        self.fault = "none"
        """What is going on, for `longest_by_fault`."""
        self._ends = ends
        self._consumers = {
            topic: Consumer({"bootstrap.servers": bootstrap, "group.id": group, "log_level": 0})
            for topic, group in groups.items()
        }
        self._asked = {
            topic: [TopicPartition(topic, partition) for partition in range(partitions)] for topic in groups
        }
        self._committed: dict[Partition, int] = {}
        self._moved: dict[Partition, float] = {}
        self._began = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(30)
        for consumer in self._consumers.values():
            consumer.close()

    def committed(self) -> dict[Partition, int]:
        """The latest committed offsets known."""
        return dict(self._committed)

    def lagging(self, wanted: dict[Partition, int]) -> dict[Partition, int]:
        """Partitions whose committed offset is below the one wanted, and by how much."""
        return {
            where: end - self._committed.get(where, 0)
            for where, end in wanted.items()
            if self._committed.get(where, 0) < end
        }

    def stalled_s(self) -> float:
        """Seconds that the partition that stalls longest now has stalled."""
        now = time.monotonic()
        return max((now - since for since in self._moved.values()), default=0.0)

    def _run(self) -> None:
        while not self._stopping.wait(SAMPLE_S):
            for topic, consumer in self._consumers.items():
                try:
                    found = consumer.committed(self._asked[topic], timeout=2.0)
                except KafkaException:
                    continue  # the broker is away
                at_ms = time.time() * 1_000
                for one in found:
                    if one.error is None and one.offset >= 0:
                        where = (topic, one.partition)
                        self.samples[where].append(Sample(at_ms, one.offset))
                        if one.offset != self._committed.get(where):
                            self._committed[where] = one.offset
                            self._moved.pop(where, None)
            self._time_stalls()

    def _time_stalls(self) -> None:
        """A partition stalls from the moment at which it has work and its committed offset does not move."""
        now = time.monotonic()
        for where, end in self._ends().items():
            if where[0] not in self._consumers or self._committed.get(where, 0) >= end:
                self._moved.pop(where, None)
                continue
            since = self._moved.setdefault(where, now)
            seconds = now - since
            if seconds > self.stall.seconds:
                self.stall = Stall(seconds, since - self._began, where)
            if seconds > self.longest_by_fault.get(self.fault, 0.0):
                self.longest_by_fault[self.fault] = seconds
