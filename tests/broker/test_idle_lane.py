"""When a lane counts as idle: what it can't read must not look like work, or the watchdog would end it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from config import Settings
from stream import clients
from stream.lane import Lane
from tests.support.lanes import everything, fresh_settings, running, until
from tests.support.workers import EchoWorker

pytestmark = pytest.mark.broker


@asynccontextmanager
async def transactional(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    """A sender of posts that works in transactions, as Kafka Streams and Connect do."""
    producer = clients.transactional_producer(settings.kafka, settings.kafka.group + ".sender", 60_000)
    await producer.start()
    yield producer
    await producer.stop()


async def send(settings: Settings, producer: AIOKafkaProducer, *ids: str) -> None:
    for identity in ids:
        value = orjson.dumps({"id": identity, "text": "x"})
        await producer.send_and_wait(settings.topics.prefix + "posts", value, partition=0)


async def answered(settings: Settings, lane: Lane, count: int) -> None:
    async def done() -> bool:
        return len(await everything(settings, "labels")) == count and lane.idle

    await until(done, 30)


async def test_a_lane_is_idle_after_the_posts_of_a_transactional_sender(real_bootstrap: str) -> None:
    """The commit marker stands behind the last post and fills an offset of its own."""
    settings = fresh_settings(real_bootstrap)
    async with transactional(settings) as producer, running(settings, EchoWorker()) as lane:
        async with producer.transaction():
            await send(settings, producer, "a", "b")
        await answered(settings, lane, 2)
        assert lane.lag == 0


async def test_posts_of_an_open_or_aborted_transaction_are_no_work(real_bootstrap: str) -> None:
    settings = fresh_settings(real_bootstrap)
    async with transactional(settings) as producer, running(settings, EchoWorker()) as lane:
        async with producer.transaction():
            await send(settings, producer, "a")
        await answered(settings, lane, 1)
        await producer.begin_transaction()
        await send(settings, producer, "never-1", "never-2")
        await _fetched_again(lane)
        assert lane.idle
        await producer.abort_transaction()
        await _fetched_again(lane)
        await answered(settings, lane, 1)


async def _fetched_again(lane: Lane) -> None:
    """Wait until the broker has answered the lane's consumer since now, so that it knows the new end."""
    consumer = lane._consumer
    assert consumer is not None
    partition = min(consumer.assignment())
    before = consumer.last_poll_timestamp(partition)
    async with asyncio.timeout(30):
        while consumer.last_poll_timestamp(partition) == before:  # noqa: ASYNC110 - the broker's pace
            await asyncio.sleep(0.05)
