"""One membership in the consumer group: from joining it to leaving it, or to the first failure.

A session that fails is thrown away whole and a new one joins: it starts from the committed offsets, so there
is one way to recover and it is used every day.
"""

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from config import LaneSettings
from stream.assignment import Assignment
from stream.clients import stop_quietly
from stream.codec import Decoder, undecodable
from stream.inference import Inference
from stream.late import Outcomes
from stream.metrics import LaneMetrics
from stream.outlet import translated
from stream.quarantine import Quarantine
from stream.records import InputRecord, Item
from workers.base import Worker
from workers.batching import Batcher
from workers.errors import FatalError, PipelineError

logger = logging.getLogger(__name__)

MAX_POLL_RECORDS = 4_000
POLL_TIMEOUT_MS = 200

NO_FAULT_OF_INPUTS = frozenset({"fenced", "timeout", "delivery"})
"""Reasons of fatal errors over which the notes of stream/quarantine.py are left as they stand."""


class Prepared(NamedTuple):
    """A batch on its way from one thread to the other.

    Attributes:
        items: with their messages and errors.
        messages: of the items that hold one.
        prepared: what the worker made of the messages; None where it has to be tried again.
        cost: of the batch.
        seconds: that preparing took.
    """

    items: list[Item]
    messages: list[Any]
    prepared: Sequence[Any] | None
    cost: int
    seconds: float


class Session(ConsumerRebalanceListener):  # type: ignore[misc]
    """Reads, batches, infers and hands answers to the deliveries.

    Args:
        topic: the input topic.
        consumer: not yet started.
        assignment: opens and closes the deliveries of partitions.
        decode: reads one record.
        worker: says what a message costs.
        inference: runs the worker.
        batcher: forms batches across partitions.
        settings: queue and drain limits.
        metrics: counts what is read and inferred.
    """

    def __init__(
        self,
        *,
        topic: str,
        consumer: AIOKafkaConsumer,
        assignment: Assignment,
        decode: Decoder,
        worker: Worker[Any, Any, Any],
        inference: Inference,
        batcher: Batcher[Item],
        settings: LaneSettings,
        metrics: LaneMetrics,
    ) -> None:
        self._topic = topic
        self._consumer = consumer
        self._assignment = assignment
        self._decode = decode
        self._worker = worker
        self._inference = inference
        self._batcher = batcher
        self._settings = settings
        self._metrics = metrics
        self._arrived = asyncio.Event()
        self._stopping = asyncio.Event()
        self._prepared: asyncio.Queue[Prepared] = asyncio.Queue(maxsize=1)
        self._ahead = 0
        """Batches taken from the batcher and not yet through the model; with none it has nothing to do."""
        self._free_at = math.inf
        """When the model will be through its batch, on the monotonic clock; infinite while it has none."""
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.connected = False
        """Whether a broker has answered."""
        self._paused = False
        self._quarantine = Quarantine()
        self._outcomes = Outcomes(inference, self._fail)

    @property
    def paused(self) -> bool:
        """Whether the consumer is paused because too much is in flight."""
        return self._paused

    async def run(self) -> None:
        """Work until `stop` or a failure.

        Raises:
            FatalError: the worker must end.
            TransientError: a new session may do better.
        """
        tasks: list[asyncio.Task[None]] = []
        try:
            await self._start_consumer()
            tasks = [asyncio.create_task(step()) for step in (self._read, self._prepare, self._infer)]
            for task in tasks:
                task.add_done_callback(self._ended)
            await self._failure
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._outcomes.close()
            if self._ends_the_process():
                await self._assignment.blameless()
            await self._assignment.close()
            await stop_quietly(self._consumer)

    def _ends_the_process(self) -> bool:
        """Whether an error of the worker's own ends the process, in order: no input is to be suspected."""
        if not self._failure.done() or self._failure.cancelled():
            return False
        error = self._failure.exception()
        return isinstance(error, FatalError) and error.reason not in NO_FAULT_OF_INPUTS

    def stop(self) -> None:
        """Take nothing more, finish what is in flight within the time limit, then leave the group."""
        self._stopping.set()

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Fence the former owners, then start from what they committed. Called by aiokafka."""
        try:
            await self._assignment.assign(set(assigned), self._consumer)
        except Exception as error:  # aiokafka would log it and go on without the partition
            self._fail(error)

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Finish what is in flight, or give it up; then let go. Called by aiokafka before it rejoins."""
        try:
            await self._drain()
            await self._assignment.revoke(set(revoked))
        except Exception as error:
            self._fail(error)

    async def _start_consumer(self) -> None:
        try:
            await self._consumer.start()
            self.connected = True
            self._assignment.on_failure = self._fail
            self._consumer.subscribe([self._topic], listener=self)
            if self._topic not in await self._consumer.topics():
                logger.warning("topic %s does not exist yet; waiting for it", self._topic)
        except (KafkaError, OSError) as error:
            raise translated(error) from error

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self._fail(task.exception())

    def _fail(self, error: BaseException | None) -> None:
        if self._failure.done():
            return
        if error is None:
            self._failure.set_result(None)
        elif isinstance(error, KafkaError):
            self._failure.set_exception(translated(error))
        else:
            self._failure.set_exception(error)

    async def _drain(self) -> None:
        self._batcher.flush()
        self._arrived.set()
        if not await self._assignment.drained(self._settings.drain_timeout_s):
            logger.warning("gave up %d inputs in flight; they will be read again", self._assignment.pending)

    # Reading

    async def _read(self) -> None:
        while not self._stopping.is_set():
            self._pause_or_resume()
            if self._paused:
                await self._assignment.wait_for_progress(POLL_TIMEOUT_MS / 1_000)
                continue
            room = self._settings.max_queue_items - self._assignment.pending
            found = await self._consumer.getmany(
                timeout_ms=POLL_TIMEOUT_MS, max_records=max(1, min(room, MAX_POLL_RECORDS))
            )
            for partition, records in found.items():
                self._take_in(partition, records)
            # getmany does not yield while it has prefetched records.
            await asyncio.sleep(0)
        await self._drain()

    def _pause_or_resume(self) -> None:
        """Hold the broker back by what is in flight: pause above the limit, resume below half of it."""
        load = max(
            self._assignment.pending_bytes / self._settings.max_queue_bytes,
            self._assignment.pending / self._settings.max_queue_items,
        )
        partitions = self._consumer.assignment()
        if load >= 1 and not self._paused:
            self._consumer.pause(*partitions)
            self._paused = True
        elif load < 0.5 and self._paused:
            self._consumer.resume(*partitions)
            self._paused = False

    def _take_in(self, partition: TopicPartition, records: Sequence[InputRecord]) -> None:
        delivery = self._assignment.deliveries.get(partition)
        if delivery is None:
            return  # not opened yet: it seeks to the committed offset when it is
        items: list[Item] = []
        costs: list[int] = []
        total_bytes = 0
        decode, cost_of, next_offset = self._decode, self._worker.cost, delivery.next_offset
        for record in records:
            if record.offset < next_offset:
                continue  # read before the seek
            cost = 0
            try:
                message = decode(record)
                cost = cost_of(message)
            except PipelineError as error:
                message = error
            except Exception as error:
                message = undecodable(record, error)
            size = len(record.value) if record.value else 0
            total_bytes += size
            items.append(Item(record, message, size, delivery))
            costs.append(cost)
        if items:
            self._metrics.read(len(items))
            delivery.took(len(items), total_bytes, records[-1].offset + 1)
            self._batcher.extend(items, costs)
            self._arrived.set()

    # Inferring

    async def _prepare(self) -> None:
        while True:
            batch = [item for item in await self._next_batch() if not item.delivery.closed]
            cost, count = self._batcher.taken_cost, max(1, len(batch))
            self._ahead += 1
            async for piece in self._quarantine.pieces(batch):
                messages = [item.message for item in piece if not isinstance(item.message, PipelineError)]
                started = time.monotonic()
                prepared = await self._inference.prepare(messages)
                seconds = time.monotonic() - started
                self._ahead += 1
                await self._prepared.put(
                    Prepared(piece, messages, prepared, cost * len(piece) // count, seconds)
                )
            self._ahead -= 1

    async def _next_batch(self) -> list[Item]:
        while True:
            due_s = self._batcher.due_in(self._free_in_s())
            if due_s == 0:
                return self._batcher.take()
            self._arrived.clear()
            with suppress(TimeoutError):
                # not wait_for: on Python 3.11 it may swallow a cancellation, and the session would never end
                async with asyncio.timeout(None if due_s == math.inf else due_s):
                    await self._arrived.wait()

    def _free_in_s(self) -> float:
        """Until the model has nothing to do, as far as one knows."""
        if not self._ahead:
            return 0.0
        if self._ahead > 1:
            return math.inf  # the next one is on its way to it
        return self._free_at - time.monotonic()

    async def _infer(self) -> None:
        while True:
            batch, messages, prepared, cost, preparing_s = await self._prepared.get()
            started = time.monotonic()
            self._free_at = started + self._batcher.works_for(cost)
            self._arrived.set()  # from now on one knows when the next batch is wanted
            outcomes = await self._inference.run(messages, prepared)
            seconds = time.monotonic() - started
            self._free_at = math.inf
            self._metrics.inferred(len(messages), seconds)
            self._batcher.worked(cost, seconds, preparing_s=preparing_s)
            self._ahead -= 1
            self._arrived.set()  # what has gathered may go now
            self._outcomes.give(batch, outcomes)
            await self._outcomes.room()
