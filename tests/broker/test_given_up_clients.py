"""A client that does not stop in time leaves nothing running that sends, or that holds partitions."""

import asyncio

from aiokafka import AIOKafkaConsumer

from stream import clients
from stream.embedded import EmbeddedBroker
from tests.support.lanes import fresh_settings


async def _settled(names: str) -> set[str]:
    """Tasks of aiokafka that still run, a moment after they were told to end."""
    for _ in range(100):
        found = {repr(task.get_coro()) for task in asyncio.all_tasks()}
        if not any("aiokafka" in one or "Sender" in one or "Coordinator" in one for one in found):
            return set()
        await asyncio.sleep(0.02)
    return found


async def test_a_producer_that_can_not_deliver_sends_nothing_once_the_broker_is_back() -> None:
    with EmbeddedBroker() as broker:
        settings = fresh_settings(broker.bootstrap)
        producer = clients.idempotent_producer(settings.kafka)
        await producer.start()
        topic = settings.topics.prefix + "labels"
        await producer.send_and_wait(topic, b"before", partition=0)
        broker.set_down()
        await producer.send(topic, b"never", partition=0)
        await clients.stop_quietly(producer, timeout_s=0.2)
        assert await _settled("sender") == set()
        broker.set_up()
        async with AIOKafkaConsumer(
            bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest", check_crcs=False
        ) as reader:
            (partition, *_) = sorted(await clients.assign_whole(reader, topic))
            assert await reader.end_offsets([partition]) == {partition: 1}


class Untidy:
    """A client whose stop ends with the CancelledError of a task that it cancelled, as aiokafka's may."""

    _coordinator = _fetcher = None

    class _client:  # noqa: N801 - aiokafka's name
        @staticmethod
        async def close() -> None:
            raise asyncio.CancelledError

    async def stop(self) -> None:
        raise asyncio.CancelledError


async def test_a_cancellation_inside_a_client_does_not_cancel_who_stops_it() -> None:
    """It once ended a lane without a word: alive and idle until the watchdog came."""
    await clients.stop_quietly(Untidy())  # type: ignore[arg-type]


async def test_a_consumer_that_does_not_leave_sends_no_more_heartbeats() -> None:
    with EmbeddedBroker() as broker:
        settings = fresh_settings(broker.bootstrap)
        consumer = clients.lane_consumer(settings.kafka, "g")
        await consumer.start()
        broker.create_topic("in", 1)
        consumer.subscribe(["in"])
        async with asyncio.timeout(20):
            while not consumer.assignment():  # noqa: ASYNC110 - a task of the consumer's own does it
                await asyncio.sleep(0.02)
        broker.set_down()
        await clients.stop_quietly(consumer, timeout_s=0.0)
        assert await _settled("consumer") == set()
