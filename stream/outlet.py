"""Where a partition's answers are written: in a transaction, or at least once.

An outlet belongs to one input partition. aiokafka reports a batch that failed only through its future, and
would commit the transaction all the same, so every future is awaited and checked before the commit.
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

GIVE_UP_S: Final = 0.5
"""To close the connections of a producer that failed."""

ABORT_TIMEOUT_S: Final = 5.0
"""An abort takes one round trip; a broker that needs longer is down."""


class Committed(int):
    """A committed offset, with the note that stands beside it (Kafka's offset metadata)."""

    note: str = ""


CommittedOffset = Callable[[TopicPartition], Awaitable[int | None]]
"""Reads a partition's committed offset from the group coordinator; None where there is none."""


class FencedError(FatalError):
    """Another worker owns the partition now. Nothing was committed; the session starts anew."""

    default_reason = "fenced"


class RecordTooLargeError(TransientError):
    """The broker refuses a record for its size."""

    default_reason = "too_large"


class Outlet(Protocol):
    """Writes the answers of one input partition."""

    async def open(self) -> int | None:
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


class _ProducerOutlet:
    """What both outlets share: a producer of their own, and the committed offset read after it started."""

    def __init__(
        self,
        partition: TopicPartition,
        make_producer: Callable[[], AIOKafkaProducer],
        committed: CommittedOffset,
    ) -> None:
        self._partition = partition
        self._make_producer = make_producer
        self._committed = committed
        self._producer: AIOKafkaProducer | None = None

    async def open(self) -> int | None:
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

    async def close(self) -> None:
        """Stop the producer."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await stop_quietly(producer)

    def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            raise TransientError("the outlet is closed")
        return self._producer


class TransactionalOutlet(_ProducerOutlet):
    """Records and input offset in one transaction.

    The transactional id is the input partition's, so opening an outlet fences its former owner: aiokafka's
    TxnOffsetCommit carries no group generation, so the broker can't tell a zombie by that.
    Source: KIP-98, and KIP-447 for why a generation would do otherwise.
    """

    def __init__(
        self,
        partition: TopicPartition,
        group: str,
        make_producer: Callable[[], AIOKafkaProducer],
        committed: CommittedOffset,
    ) -> None:
        super().__init__(partition, make_producer, committed)
        self._group = group
        self._in_transaction = False

    async def open(self) -> int | None:
        """Fence all former producers, which aborts what they left open; see Outlet."""
        self._in_transaction = False
        return await super().open()

    async def write(self, records: Sequence[OutputRecord], next_offset: int, note: str = "") -> None:
        """Run one transaction; see Outlet."""
        producer = self._started()
        offsets = {self._partition: OffsetAndMetadata(next_offset, note)}
        try:
            await producer.begin_transaction()
            self._in_transaction = True
            # The offsets are added while the records are under way; both are awaited before the commit. The
            # records come first: where the broker still writes the last transaction's markers, aiokafka waits
            # a few milliseconds with a partition, but a tenth of a second with a group.
            sent = await _hand_over(producer, records, self._partition.partition)
            await _all_of(*sent, producer.send_offsets_to_transaction(offsets, self._group))
            await producer.commit_transaction()
            self._in_transaction = False
        except (KafkaError, *REFUSED) as error:
            raise translated(error) from error

    async def close(self) -> None:
        """Abort what is open, so that readers need not wait for its timeout, and stop the producer."""
        in_transaction, self._in_transaction = self._in_transaction, False
        if self._producer is not None and in_transaction:
            # A producer that is fenced or broken can't abort; then the next owner's `open` does it.
            with suppress(KafkaError, TimeoutError, *REFUSED):
                async with asyncio.timeout(ABORT_TIMEOUT_S):
                    await self._producer.abort_transaction()
        await super().close()


class IdempotentOutlet(_ProducerOutlet):
    """Records awaited, then the offset committed: a crash between the two repeats results, and loses none."""

    def __init__(
        self,
        partition: TopicPartition,
        consumer: AIOKafkaConsumer,
        make_producer: Callable[[], AIOKafkaProducer],
        committed: CommittedOffset,
    ) -> None:
        super().__init__(partition, make_producer, committed)
        self._consumer = consumer

    async def write(self, records: Sequence[OutputRecord], next_offset: int, note: str = "") -> None:
        """Write, wait until all is acknowledged, commit; see Outlet."""
        producer = self._started()
        try:
            await send_all(producer, records, self._partition.partition)
            await self._consumer.commit({self._partition: OffsetAndMetadata(next_offset, note)})
        except KafkaError as error:
            raise translated(error) from error


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
    await _all_of(*await _hand_over(producer, records, partition))


async def _hand_over(
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


async def _all_of(*awaitables: Awaitable[object]) -> None:
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

    async def committed(partition: TopicPartition) -> int | None:
        found = await consumer._coordinator.fetch_committed_offsets([partition])
        if partition not in found:
            return None
        offset = Committed(found[partition].offset)
        offset.note = found[partition].metadata or ""
        return offset

    return committed
