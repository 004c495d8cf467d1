"""The past of topics, read from a time on without a consumer group, and joined by where an input was read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from config import KafkaSettings
from stream import clients
from stream.outlet import translated

POLL_MS: Final = 200
MAX_FETCH: Final = 2_000
"""Records taken at once from the results."""


class PastTopic:
    """Reads a topic from a time to a time, or to what is its end now; an async context manager.

    Args:
        settings: how to reach the brokers.
        topic: its name; a topic that does not exist holds nothing.
        from_ms: records from this time on, milliseconds since the epoch.
        to_ms: and before this one; None reads to the end.
    """

    def __init__(self, settings: KafkaSettings, topic: str, from_ms: int, to_ms: int | None = None) -> None:
        self._consumer: AIOKafkaConsumer = clients.reader(settings, from_start=True)
        self._topic = topic
        self._from_ms = from_ms
        self._to_ms = to_ms
        self._ends: dict[TopicPartition, int] = {}
        self.records = 0
        """Offsets between the two times, over all partitions."""

    async def __aenter__(self) -> Self:
        """Find where to begin and where to end.

        Raises:
            TransientError: the broker does not answer.
        """
        try:
            await self._consumer.start()
            if self._topic in await self._consumer.topics():
                await self._seek()
        except (KafkaError, OSError) as error:
            await clients.stop_quietly(self._consumer)
            raise translated(error) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await clients.stop_quietly(self._consumer)

    async def _seek(self) -> None:
        partitions = await clients.assign_whole(self._consumer, self._topic)
        present = await self._consumer.end_offsets(partitions)
        starts = await self._at(partitions, self._from_ms, present)
        self._ends = present if self._to_ms is None else await self._at(partitions, self._to_ms, present)
        for partition in partitions:
            self._consumer.seek(partition, starts[partition])
            self.records += max(0, self._ends[partition] - starts[partition])

    async def _at(
        self, partitions: Sequence[TopicPartition], at_ms: int, present: dict[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        """The first offset of each partition from a time on; the present end where there is none."""
        found = await self._consumer.offsets_for_times(dict.fromkeys(partitions, at_ms))
        return {tp: found[tp].offset if found.get(tp) else present[tp] for tp in partitions}

    async def unread(self) -> list[int]:
        """Partitions with something left to read."""
        return [tp.partition for tp, end in self._ends.items() if await self._consumer.position(tp) < end]

    async def read(self, most: int, partitions: Sequence[int] | None = None) -> list[Any]:
        """The next records, in order by partition; none where nothing came within a moment.

        Args:
            most: records at most.
            partitions: only of these.

        Raises:
            TransientError: the broker does not answer.
        """
        try:
            wanted = [
                TopicPartition(self._topic, number)
                for number in await self.unread()
                if partitions is None or number in partitions
            ]
            if not wanted:
                return []
            found = await self._consumer.getmany(*wanted, timeout_ms=POLL_MS, max_records=most)
        except (KafkaError, OSError) as error:
            raise translated(error) from error
        return [
            record for tp, records in found.items() for record in records if record.offset < self._ends[tp]
        ]


@dataclass(frozen=True, slots=True)
class FormerResult:
    """What a post was labelled when it came."""

    label: str | None
    probability: float | None
    version: str


@dataclass
class FormerResults:
    """The results of one label set, by where their posts were read; read as far as is asked for.

    Results of one input partition stand in one partition and in input order, so that a result of a later post
    says that an earlier one has none.

    Args:
        past: the results topic.
        source: the input topic.
        name: the label set.
    """

    past: PastTopic
    source: str
    name: str
    _found: dict[int, dict[int, FormerResult]] = field(default_factory=dict)
    _frontier: dict[int, int] = field(default_factory=dict)
    _stands_in: dict[int, int] = field(default_factory=dict)

    async def take(self, places: Sequence[tuple[int, int]]) -> list[FormerResult | None]:
        """The former result of each post, None where it has none.

        Args:
            places: (partition, offset) of posts, offsets rising within each partition and from call to call.
        """
        last: dict[int, int] = {}
        for partition, offset in places:
            last[partition] = max(offset, last.get(partition, -1))
        while behind := [
            number for number, offset in last.items() if self._frontier.get(number, -1) <= offset
        ]:
            unread = await self.past.unread()
            wanted = {self._stands_in.get(number) for number in behind}
            asked = unread if None in wanted else [number for number in unread if number in wanted]
            if not asked:
                break
            for record in await self.past.read(MAX_FETCH, asked):
                self._keep(record)
        taken = [self._found.get(partition, {}).pop(offset, None) for partition, offset in places]
        for partition, offset in last.items():  # whatever else lies before was never asked for
            kept = self._found.get(partition, {})
            self._found[partition] = {at: result for at, result in kept.items() if at > offset}
        return taken

    def _keep(self, record: Any) -> None:
        try:
            result = orjson.loads(record.value or b"")
            origin = result["source"]
            if origin["topic"] != self.source:
                return
            partition, offset = int(origin["partition"]), int(origin["offset"])
            if result["label_set"] == self.name:
                best = result["candidates"][0]["probability"] if result["candidates"] else None
                former = FormerResult(result["label"], best, result["version"])
                self._found.setdefault(partition, {})[offset] = former
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            return  # not ours
        self._frontier[partition] = max(offset, self._frontier.get(partition, -1))
        self._stands_in[partition] = record.partition
