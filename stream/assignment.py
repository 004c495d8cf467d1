"""The partitions that a session owns: each opened, delivered and closed by itself."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.delivery import PartitionDelivery

MakeDelivery = Callable[[TopicPartition, Callable[[], None]], PartitionDelivery]
"""Makes a partition's delivery; it calls the second argument after each commit."""


class Assignment:
    """Deliveries by partition. One event loop owns it.

    Args:
        make_delivery: makes the delivery of a partition, not yet open.
    """

    def __init__(self, make_delivery: MakeDelivery) -> None:
        self.deliveries: dict[TopicPartition, PartitionDelivery] = {}
        """Open deliveries; a partition that is being opened is not here yet."""
        self.settled = False
        """Whether all partitions of the latest assignment, which may be none, are open."""
        self.on_failure: Callable[[BaseException], None] = _raise
        self._make_delivery = make_delivery
        self._tasks: dict[TopicPartition, asyncio.Task[None]] = {}
        self._progress = asyncio.Event()

    @property
    def pending(self) -> int:
        """Inputs taken in and not yet committed."""
        return sum(delivery.pending for delivery in self.deliveries.values())

    @property
    def pending_bytes(self) -> int:
        """Their size."""
        return sum(delivery.pending_bytes for delivery in self.deliveries.values())

    @property
    def writing_since(self) -> float | None:
        """When the delivery that writes longest began to, on the monotonic clock."""
        since = (delivery.writing_since for delivery in self.deliveries.values())
        return min((one for one in since if one is not None), default=None)

    async def assign(self, partitions: set[TopicPartition], consumer: AIOKafkaConsumer) -> None:
        """Open partitions side by side, and start each from its committed offset.

        Raises:
            PipelineError: one could not be opened.
        """
        await self.close()
        await asyncio.gather(*(self._open(partition, consumer) for partition in sorted(partitions)))
        self.settled = True

    async def revoke(self, partitions: set[TopicPartition]) -> None:
        """Let go of partitions; what is not committed is given up."""
        self.settled = False
        await asyncio.gather(*(self._close(partition) for partition in partitions))

    async def close(self) -> None:
        """Let go of all."""
        await self.revoke(set(self.deliveries))

    async def blameless(self) -> None:
        """Say of each partition that its inputs are not why this process ends."""
        await asyncio.gather(*(self._blameless(partition) for partition in set(self.deliveries)))

    async def drained(self, timeout_s: float) -> bool:
        """Wait until all that was taken in is committed; False where the time was too short."""
        waiting = [asyncio.ensure_future(d.drained()) for d in self.deliveries.values()]
        if not waiting:
            return True
        _, late = await asyncio.wait(waiting, timeout=timeout_s)
        for task in late:
            task.cancel()
        return not late

    async def wait_for_progress(self, timeout_s: float) -> None:
        """Wait until something is committed, or for the time given."""
        self._progress.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._progress.wait()

    async def _open(self, partition: TopicPartition, consumer: AIOKafkaConsumer) -> None:
        delivery = self._make_delivery(partition, self._progress.set)
        try:
            committed = await delivery.open()
            if committed is None:
                await consumer.seek_to_beginning(partition)
            else:
                consumer.seek(partition, committed)
        except BaseException:
            await delivery.close()
            raise
        self.deliveries[partition] = delivery
        task = asyncio.create_task(delivery.run(), name=f"deliver {partition.topic}-{partition.partition}")
        task.add_done_callback(self._ended)
        self._tasks[partition] = task

    async def _close(self, partition: TopicPartition) -> None:
        delivery = self.deliveries.pop(partition, None)
        task = self._tasks.pop(partition, None)
        if delivery is None or task is None:
            return
        delivery.closed = True  # what is still being inferred for it is dropped
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await delivery.close()

    async def _blameless(self, partition: TopicPartition) -> None:
        task = self._tasks[partition]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self.deliveries[partition].blameless()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()):
            self.on_failure(error)


def _raise(error: BaseException) -> None:
    raise error
