"""Runs a lane in the test's own event loop, and reads topics back with an independent client."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from config import Settings, load_settings
from stream import clients
from stream.app import lane_spec
from stream.client import Incoming, Outgoing, Publisher, read
from stream.lane import Lane
from stream.metrics import Exposition, LaneMetrics
from stream.watchdog import Watchdog
from workers.base import Worker

MARKERS_S: Final = 2.0


class NeverEnds:
    """A watchdog timer that ends nothing: the process is the test's."""

    def __init__(self) -> None:
        self.fired = False
        """Whether the process would have been ended."""

    def dump_traceback_later(self, timeout: float, **kwargs: Any) -> None:
        self.fired = self.fired or timeout <= 0.001  # what the watchdog arms it with when the time is over

    def cancel_dump_traceback_later(self) -> None:
        return


def fresh_settings(bootstrap: str, check_crcs: bool = False, **sections: dict[str, Any]) -> Settings:
    """Settings with a group and topics that no other test has."""
    name = f"t{uuid.uuid4().hex[:10]}."
    return load_settings(
        None,
        {
            "kafka": {
                "bootstrap": bootstrap,
                "group": name + "g",
                "session_timeout_ms": 6_000,
                "check_crcs": check_crcs,
            },
            "topics": {"prefix": name},
            **sections,
        },
        {},
    )


async def send(settings: Settings, topic: str, records: Iterable[Outgoing]) -> int:
    async with Publisher(settings.kafka) as publisher:
        return await publisher.publish(settings.topics.prefix + topic, records)


async def everything(settings: Settings, topic: str) -> list[Incoming]:
    """All committed records of a topic, up to its present end."""
    name = settings.topics.prefix + topic
    with suppress(TimeoutError, KafkaError):  # who may not read hears so from what is tested
        await _markers_written(settings, name)
    return [record async for record in read(settings.kafka, name, from_start=True, until_end=True)]


async def _markers_written(settings: Settings, name: str) -> None:
    """Wait until transactions that have ended can be read: a commit returns before its markers are written.

    Not for ever: what a killed worker left open stays so until its successor starts.
    """
    latest = clients.reader(settings.kafka, name, from_start=True)
    written = AIOKafkaConsumer(name, enable_auto_commit=False, **clients.client_options(settings.kafka))
    try:
        await latest.start()
        await written.start()
        ends = await written.end_offsets(list(written.assignment()))

        async def all_readable() -> bool:
            return all(end >= ends[tp] for tp, end in (await latest.end_offsets(list(ends))).items())

        await until(all_readable, MARKERS_S)
    finally:
        await latest.stop()
        await written.stop()


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float = 60.0) -> None:
    """Poll until the condition holds; a failure says so."""
    async with asyncio.timeout(timeout_s):
        while not await condition():  # noqa: ASYNC110 - the broker is another process
            await asyncio.sleep(0.05)


async def committed_and_end(
    settings: Settings, lane: str, topic: str
) -> tuple[dict[int, int], dict[int, int]]:
    """Committed offsets and ends of the input topic, by partition."""
    name = settings.topics.prefix + topic
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap)
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka.bootstrap)
    await admin.start()
    await consumer.start()
    try:
        partitions = [TopicPartition(name, p) for p in sorted(await _partitions(consumer, name))]
        ends = await consumer.end_offsets(partitions)
        group = f"{settings.kafka.group}.{lane}"
        found = await admin.list_consumer_group_offsets(group, partitions=partitions)
        return (
            {tp.partition: meta.offset for tp, meta in found.items() if meta.offset > 0},
            {tp.partition: end for tp, end in ends.items() if end > 0},
        )
    finally:
        await consumer.stop()
        await admin.close()


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    while not (found := consumer.partitions_for_topic(topic)):
        await consumer._client.add_topic(topic)
    return found


@asynccontextmanager
async def running(
    settings: Settings, worker: Worker[Any, Any, Any], lane: str = "text", watchdog: Watchdog | None = None
) -> AsyncIterator[Lane]:
    """A lane that runs until the block ends."""
    service = Lane(
        lane_spec(lane, settings),
        worker,
        settings,
        LaneMetrics(lane, "test", Exposition()),
        watchdog or Watchdog(600, timer=NeverEnds()),
    )
    await service.start()
    try:
        yield service
    finally:
        await service.stop()
