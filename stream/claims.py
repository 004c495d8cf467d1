"""How a worker becomes the only one who can commit a partition's offset, whatever the consumer group thinks.

Beside each committed offset, in the metadata that Kafka keeps with it, stands the transactional id of its
writer. Who reads the offset knows who may be writing, and can fence it. To claim a partition, in this order:

1. Start a producer with the partition's own transactional id: its lock. That fences whoever else claims it.
2. Read the committed offset, and whose name stands beside it.
3. Start a producer with that name. That fences the former writer; what it left open is aborted, and what it
   committed is complete.
4. Read the offset again: now it stands.
5. Commit it with the new writer's name beside it, in a transaction of the lock.

A name is started by its owner before it stands anywhere, and then by others only, to end it. Each step left
out is found out by tests/model/test_protocol_model.py. Why there is no generation in it: docs/adr/0007.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from stream.clients import stop_quietly
from stream.outlet import GIVE_UP_S, Committed, CommittedOffset, all_of, beside

AT_ONCE: Final = 16
"""Partitions claimed side by side; each needs connections of its own meanwhile."""


class Claims:
    """Makes partitions ours. One event loop owns it.

    Args:
        group: the consumer group whose offsets are committed.
        make_producer: makes a producer with a transactional id, not yet started.
        committed: reads a partition's committed offset.
        beginning: reads a partition's first offset, from which a group starts that has committed nothing.
    """

    def __init__(
        self,
        group: str,
        make_producer: Callable[[str], AIOKafkaProducer],
        committed: CommittedOffset,
        beginning: Callable[[TopicPartition], Awaitable[int]],
    ) -> None:
        self._group = group
        self._make_producer = make_producer
        self._committed = committed
        self._beginning = beginning
        self._side_by_side = asyncio.Semaphore(AT_ONCE)
        self._fences: dict[str, asyncio.Task[None]] = {}
        """Former writers of the partitions that are being claimed: each is fenced once."""

    async def claim(self, partitions: Sequence[TopicPartition], name: str) -> dict[TopicPartition, Committed]:
        """Claim partitions for a writer whose producer is started; give what is committed of each.

        Raises:
            KafkaError: one of them could not be claimed, or another worker claimed it at the same time.
        """
        self._fences = {}
        found: dict[TopicPartition, Committed] = {}

        async def keep(partition: TopicPartition) -> None:
            async with self._side_by_side:
                found[partition] = await self._claim(partition, name)

        await all_of(*(keep(partition) for partition in partitions))
        return found

    async def _claim(self, partition: TopicPartition, name: str) -> Committed:
        """Take the five steps at the head of this module."""
        async with self._started(f"{self._group}.{partition.topic}.{partition.partition}") as lock:
            found = await self._committed(partition)
            if found is not None and found.writer:
                await self._fenced(found.writer)
                found = await self._committed(partition)
            if found is None:
                found = Committed(await self._beginning(partition))
            offset = OffsetAndMetadata(int(found), beside(name, found.note))
            await lock.begin_transaction()
            await lock.send_offsets_to_transaction({partition: offset}, self._group)
            await lock.commit_transaction()
        return found

    async def _fenced(self, writer: str) -> None:
        if writer not in self._fences:
            self._fences[writer] = asyncio.create_task(self._fence(writer))
        await self._fences[writer]

    async def _fence(self, writer: str) -> None:
        async with self._started(writer):
            pass

    @asynccontextmanager
    async def _started(self, name: str) -> AsyncIterator[AIOKafkaProducer]:
        """Start a producer, which fences all others of its name, for a moment."""
        producer = self._make_producer(name)
        try:
            await producer.start()
            yield producer
        finally:
            await stop_quietly(producer, GIVE_UP_S)
