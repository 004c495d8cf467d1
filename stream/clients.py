"""aiokafka clients made from the settings; the one place that knows how they are configured."""

import asyncio
from collections.abc import Sequence
from typing import Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.producer import sender

from config import KafkaSettings
from stream.connection import client_options

NEVER_MS: Final = 2**31 - 1
"""Past max_poll_interval aiokafka leaves the group for good (aiokafka#1187): the watchdog watches instead."""

METADATA_MAX_AGE_MS: Final = 3_000
"""A worker that starts before its topic exists, or grows, takes it up within this; aiokafka has 5 min."""

MAX_BATCH_BYTES: Final = 1_000_000
"""Just under Kafka's default message.max.bytes of 1,048,588, which counts the batch's own header too."""

MARKERS_BACKOFF_S: Final = 0.003
"""Wait before the next transaction of a partition is tried again, where the broker still writes the markers
of the last one: under load every second time. aiokafka waits 20 ms."""

TRANSACTION_BACKOFF_S: Final = 0.01
"""Wait before a request of a transaction is sent again; aiokafka waits 100 ms. A broker checks batches and an
offset against the transaction (KIP-890), one check at a time for each producer. Ours come side by side, and
one time in twenty one of them is refused and comes again. While a broker is away the client's own back-off
holds."""

sender.BACKOFF_OVERRIDE = MARKERS_BACKOFF_S


def lane_consumer(settings: KafkaSettings, group: str) -> AIOKafkaConsumer:
    """The consumer of a lane: committed input only, offsets committed by the delivery alone."""
    return AIOKafkaConsumer(
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        check_crcs=settings.check_crcs,
        session_timeout_ms=settings.session_timeout_ms,
        heartbeat_interval_ms=settings.heartbeat_interval_ms,
        rebalance_timeout_ms=max(60_000, settings.session_timeout_ms),
        max_poll_interval_ms=NEVER_MS,
        metadata_max_age_ms=METADATA_MAX_AGE_MS,
        max_partition_fetch_bytes=4 * 2**20,
        fetch_max_wait_ms=settings.fetch_max_wait_ms,
        **client_options(settings),
    )


def transactional_producer(
    settings: KafkaSettings, transactional_id: str, timeout_ms: int
) -> AIOKafkaProducer:
    """A producer whose start fences all former producers with the same transactional id."""
    producer = AIOKafkaProducer(
        transactional_id=transactional_id,
        transaction_timeout_ms=timeout_ms,
        acks="all",
        max_batch_size=MAX_BATCH_BYTES,
        max_request_size=4 * MAX_BATCH_BYTES,
        linger_ms=0,
        **client_options(settings),
    )
    producer._sender._retry_backoff = TRANSACTION_BACKOFF_S
    return producer


def idempotent_producer(settings: KafkaSettings, *, linger_ms: int = 0) -> AIOKafkaProducer:
    """A producer whose retries add no duplicates."""
    return AIOKafkaProducer(
        enable_idempotence=True,
        acks="all",
        max_batch_size=MAX_BATCH_BYTES,
        max_request_size=4 * MAX_BATCH_BYTES,
        linger_ms=linger_ms,
        **client_options(settings),
    )


def reader(settings: KafkaSettings, *topics: str, from_start: bool) -> AIOKafkaConsumer:
    """A consumer without a group, for looking on: it sees committed records only."""
    return AIOKafkaConsumer(
        *topics,
        enable_auto_commit=False,
        auto_offset_reset="earliest" if from_start else "latest",
        isolation_level="read_committed",
        check_crcs=settings.check_crcs,
        fetch_max_wait_ms=settings.fetch_max_wait_ms,
        **client_options(settings),
    )


CONSUMER_TASKS: Final = ("_coordination_task", "_heartbeat_task", "_commit_refresh_task")
"""What aiokafka's group coordinator runs (aiokafka/consumer/group_coordinator.py)."""

CANCELLATIONS: Final = 3
"""A cancelled sender of aiokafka waits for tasks of its own; the next one takes it out of that."""

CANCELLATION_S: Final = 0.5


async def assign_whole(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    """Give a started reader, made without topics, all partitions of one that exists.

    Such a reader can ask which topics there are before it names one: naming a missing topic makes some
    brokers create it.
    """
    consumer.subscribe([topic])
    while not consumer.assignment():  # noqa: ASYNC110 - it is done by a task of the consumer's own
        await asyncio.sleep(0.01)
    return sorted(consumer.assignment())


async def stop_quietly(client: AIOKafkaProducer | AIOKafkaConsumer, timeout_s: float = 5.0) -> None:
    """Stop a client that may be broken: after the timeout its tasks are ended, whatever they wait for.

    It is stopped in a task of its own: aiokafka awaits tasks that it cancelled, and their CancelledError
    would look like ours and end who called.
    """
    stopping = asyncio.ensure_future(client.stop())
    await asyncio.wait({stopping}, timeout=timeout_s)
    if not stopping.done() or stopping.cancelled() or stopping.exception() is not None:
        await _abandon(client, stopping)


async def _abandon(client: AIOKafkaProducer | AIOKafkaConsumer, stopping: "asyncio.Future[None]") -> None:
    """End the tasks of a client that did not stop.

    They would go on for ever: a producer would send what it still holds once the broker is back, and a
    consumer would send heartbeats and hold its partitions.
    """
    if isinstance(client, AIOKafkaProducer):
        connections = client.client
        tasks = [client._sender.sender_task if client._sender is not None else None]
    else:
        connections = client._client
        group, fetcher = client._coordinator, client._fetcher
        tasks = [getattr(group, name, None) for name in CONSUMER_TASKS]
        tasks.append(fetcher._fetch_task if fetcher is not None else None)
    await _end([stopping, *(task for task in tasks if task is not None)])
    closing = asyncio.ensure_future(connections.close())
    await asyncio.wait({closing}, timeout=CANCELLATION_S)
    await _end([closing])


async def _end(tasks: "Sequence[asyncio.Future[None]]") -> None:
    """Cancel tasks until they end, and look at how they ended, so that nobody warns of it."""
    running = {task for task in tasks if not task.done()}
    for _ in range(CANCELLATIONS):
        if running:
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=CANCELLATION_S)
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()
