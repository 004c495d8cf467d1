"""Where a partition's answers are written: in a transaction, or at least once.

An outlet belongs to one input partition; stream/transactions.py has the transactional one. aiokafka reports
a batch that failed only through its future, and would commit the transaction all the same, so every future
is awaited and checked before the commit.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalOperation,
    InvalidProducerEpoch,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerFenced,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
from aiokafka.structs import OffsetAndMetadata

from stream.clients import stop_quietly
from stream.records import OutputRecord
from workers.errors import FatalError, TransientError

NOT_ALLOWED: Final = (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

FENCED: Final = (ProducerFenced, InvalidProducerEpoch)

REFUSED: Final = (AssertionError, IllegalOperation)
"""What aiokafka raises by itself where a transaction, or its list of brokers, is not as a call needs it."""

ABORT_TIMEOUT_S: Final = 5.0
"""An abort takes one round trip; a broker that needs longer is down."""

GIVE_UP_S: Final = 0.5
"""To close the connections of a producer that failed."""


WRITER: Final = "writer="
"""What stands beside an offset begins so, where a transaction committed it."""


class Committed(int):
    """A committed offset, with what stands beside it (Kafka's offset metadata).

    Attributes:
        writer: the transactional id of who may be writing the partition; empty where nobody has said so.
        note: what the delivery wrote; see stream/quarantine.py.
    """

    writer: str = ""
    note: str = ""


def beside(writer: str, note: str) -> str:
    """Give the metadata of an offset that a transaction commits; `Committed` has it read."""
    return f"{WRITER}{writer} {note}"


CommittedOffset = Callable[[TopicPartition], Awaitable[Committed | None]]
"""Reads a partition's committed offset from the group coordinator; None where there is none."""


class FencedError(FatalError):
    """Another worker owns the partition now. Nothing was committed; the session starts anew."""

    default_reason = "fenced"


class RecordTooLargeError(TransientError):
    """The broker refuses a record for its size."""

    default_reason = "too_large"


class Outlet(Protocol):
    """Writes the answers of one input partition."""

    async def open(self) -> Committed | None:
        """Make this the partition's only writer; give the committed offset, None where there is none."""

    async def write(self, records: Sequence[OutputRecord], next_offset: int, note: str = "") -> None:
        """Write records and commit `next_offset`, with a note beside it: all of it, or an error.

        Raises:
            FencedError: the partition has another owner.
            RecordTooLargeError: a record is larger than the broker takes; nothing was committed.
            TransientError: it failed, or nobody knows; `open` tells what was committed.
        """

    async def close(self) -> None:
        """Let go. What was not committed is aborted."""


class IdempotentOutlet:
    """Records awaited, then the offset committed: a crash between the two repeats results, and loses none."""

    def __init__(
        self,
        partition: TopicPartition,
        consumer: AIOKafkaConsumer,
        make_producer: Callable[[], AIOKafkaProducer],
        committed: CommittedOffset,
    ) -> None:
        self._partition = partition
        self._consumer = consumer
        self._make_producer = make_producer
        self._committed = committed
        self._producer: AIOKafkaProducer | None = None

    async def open(self) -> Committed | None:
        """Start a producer, and only then read what is committed; see Outlet.

        A former producer failed: what it holds is not waited for.
        """
        former, self._producer = self._producer, None
        if former is not None:
            await stop_quietly(former, GIVE_UP_S)
        self._producer = self._make_producer()
        try:
            await self._producer.start()
            return await self._committed(self._partition)
        except (KafkaError, *REFUSED) as error:
            raise translated(error) from error

    async def write(self, records: Sequence[OutputRecord], next_offset: int, note: str = "") -> None:
        """Write, wait until all is acknowledged, commit; see Outlet."""
        if self._producer is None:
            raise TransientError("the outlet is closed")
        try:
            await send_all(self._producer, records, self._partition.partition)
            await self._consumer.commit({self._partition: OffsetAndMetadata(next_offset, note)})
        except KafkaError as error:
            raise translated(error) from error

    async def close(self) -> None:
        """Stop the producer."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await stop_quietly(producer)


async def send_all(producer: AIOKafkaProducer, records: Sequence[OutputRecord], partition: int) -> None:
    """Send records, each topic's in batches and in order, and wait until the broker has them all.

    Args:
        producer: started, and in a transaction where it is transactional.
        records: in the order they are to stand in.
        partition: of the input; topics with as many partitions keep it, others take it modulo their count,
            so that what came from one partition stays in one order.

    Raises:
        KafkaError: the first batch that failed.
    """
    await all_of(*await hand_over(producer, records, partition))


async def hand_over(
    producer: AIOKafkaProducer, records: Sequence[OutputRecord], partition: int
) -> list[Awaitable[object]]:
    """Give records to the producer; what comes back is done when the broker has them. See `send_all`."""
    by_topic: defaultdict[str, list[OutputRecord]] = defaultdict(list)
    for record in records:
        by_topic[record.topic].append(record)
    # aiokafka keeps up with topics that it had to wait for. One that it knows from a look at the whole
    # cluster it would forget over the next new one, and find no leader until the request times out.
    await asyncio.gather(*(producer.client.add_topic(topic) for topic in by_topic))
    futures: list[Awaitable[object]] = []
    for topic, group in by_topic.items():
        count = len(await producer.partitions_for(topic))
        target = partition % count
        builder = producer.create_batch()
        for record in group:
            _, key, value, headers = record
            if builder.append(timestamp=None, key=key, value=value, headers=headers) is None:
                futures.append(await producer.send_batch(builder, topic, partition=target))
                builder = producer.create_batch()
                builder.append(timestamp=None, key=key, value=value, headers=headers)
        futures.append(await producer.send_batch(builder, topic, partition=target))
    return futures


async def abort_quietly(producer: AIOKafkaProducer) -> None:
    """Abort what is open, so that readers need not wait for its timeout.

    A producer that is fenced, broken or in no transaction can't; then whoever fences it does.
    """
    with suppress(KafkaError, TimeoutError, *REFUSED):
        async with asyncio.timeout(ABORT_TIMEOUT_S):
            await producer.abort_transaction()


async def all_of(*awaitables: Awaitable[object]) -> None:
    """Await all of them to their end, then raise what went wrong: none is left running or unread.

    A fence comes first, then what else a broker said: after either aiokafka refuses the rest with errors that
    say less.
    """
    outcomes = await asyncio.gather(*awaitables, return_exceptions=True)
    errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    if errors:
        raise min(errors, key=lambda error: (not isinstance(error, FENCED), isinstance(error, REFUSED)))


def translated(error: Exception) -> FatalError | TransientError:
    """Turn aiokafka's errors into ours, the most specific first."""
    if isinstance(error, FENCED):
        return FencedError("another worker owns the partition now")
    if isinstance(error, (MessageSizeTooLargeError, RecordListTooLargeError)):
        return RecordTooLargeError("a record is larger than the broker takes")
    if isinstance(error, NOT_ALLOWED):
        return FatalError(f"Kafka refuses: {type(error).__name__}: {error}", reason="delivery")
    return TransientError(f"Kafka: {type(error).__name__}: {error}", reason="delivery")


def committed_reader(consumer: AIOKafkaConsumer) -> CommittedOffset:
    """Read committed offsets by a request of their own.

    `consumer.committed` may answer with what another request, sent before the fence, brings back.
    """

    async def committed(partition: TopicPartition) -> Committed | None:
        found = await consumer._coordinator.fetch_committed_offsets([partition])
        if partition not in found:
            return None
        offset = Committed(found[partition].offset)
        offset.note = found[partition].metadata or ""
        if offset.note.startswith(WRITER):
            offset.writer, _, offset.note = offset.note.removeprefix(WRITER).partition(" ")
        return offset

    return committed


def beginning_reader(consumer: AIOKafkaConsumer) -> Callable[[TopicPartition], Awaitable[int]]:
    """Read partitions' first offsets: where a group begins that has committed nothing."""

    async def beginning(partition: TopicPartition) -> int:
        found = await consumer.beginning_offsets([partition])
        if partition not in found:  # aiokafka leaves out what a broker refuses with one code (43)
            raise TransientError(f"no first offset of {partition}", reason="delivery")
        return int(found[partition])

    return beginning
