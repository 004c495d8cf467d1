"""A lane: one input topic, one worker, one results topic, as a service of the Faust app.

It runs sessions one after the other. What is transient ends a session and a new one joins; what is fatal ends
the process with a status, nothing committed.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import mode
from aiokafka import AIOKafkaConsumer, TopicPartition

from config import Delivery, Settings
from stream import clients
from stream.assignment import Assignment
from stream.codec import Decoder, encode_result, result_headers
from stream.dead_letter import facts_of, to_record
from stream.delivery import PartitionDelivery
from stream.inference import Inference
from stream.metrics import LaneMetrics
from stream.outlet import IdempotentOutlet, Outlet, TransactionalOutlet, committed_reader
from stream.records import Item, OutputRecord
from stream.session import Session
from stream.soundness import flaw_of
from stream.watchdog import Watchdog
from workers.base import Worker
from workers.batching import Batcher
from workers.errors import FatalError, PipelineError, TransientError

logger = logging.getLogger(__name__)

FIRST_BACKOFF_S: Final = 0.5
MAX_BACKOFF_S: Final = 10.0

ABANDON_S: Final = 5.0
"""For the rest of the process to end, where the model's thread hangs and will not."""


@dataclass(frozen=True)
class LaneSpec:
    """What makes one lane differ from another.

    Attributes:
        name: `text` or `image`; part of the consumer group and of metrics.
        source: the input topic.
        sink: the results topic.
        dead_letters: the dead-letter topic.
        event_type: CloudEvents type of results.
        decode: reads one record.
        max_batch_items: a batch closes at this many messages.
        max_batch_cost: a batch closes at this cost, in tokens or pixels.
        batch_deadline_s: a batch closes this long after its first message.
    """

    name: str
    source: str
    sink: str
    dead_letters: str
    event_type: str
    decode: Decoder
    max_batch_items: int
    max_batch_cost: int
    batch_deadline_s: float


class Lane(mode.Service):  # type: ignore[misc]
    """Runs sessions until it is stopped.

    Args:
        spec: what the lane moves.
        worker: labels or matches.
        settings: all settings.
        metrics: counts what happens.
        watchdog: ends the process when there is work and no progress.
    """

    def __init__(
        self,
        spec: LaneSpec,
        worker: Worker[Any, Any, Any],
        settings: Settings,
        metrics: LaneMetrics,
        watchdog: Watchdog,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.spec = spec
        self.worker = worker
        self.metrics = metrics
        self.fatal: FatalError | None = None
        """Why the lane ended the process, if it did."""
        self._settings = settings
        self._watchdog = watchdog
        self._group = f"{settings.kafka.group}.{spec.name}"
        self._owner = uuid.uuid4().hex[:16]
        self._inference = Inference(
            worker,
            retries=settings.lane.retries,
            timeout_s=settings.lane.inference_timeout_s,
            flaw=flaw_of,
        )
        self._consumer: AIOKafkaConsumer | None = None
        self._assignment: Assignment | None = None
        self._session: Session | None = None
        self._finished = asyncio.Event()

    async def on_stop(self) -> None:
        """Drain within the time limit."""
        if self._session is not None:
            self._session.stop()
        try:
            limit_s = self._settings.lane.drain_timeout_s + 10
            async with asyncio.timeout(limit_s):
                await self._finished.wait()
        except TimeoutError:
            logger.error("lane %s did not drain in time", self.spec.name)
        self._inference.close()
        if self._inference.stuck:
            # A thread that hangs would hold the interpreter's exit up for ever: the watchdog's timer ends it.
            self._watchdog.end_within(ABANDON_S)
        else:
            self._watchdog.stop(self.spec.name)

    @mode.Service.task  # type: ignore[untyped-decorator]
    async def _work(self) -> None:
        backoff_s = FIRST_BACKOFF_S
        try:
            while not self.should_stop:
                started = time.monotonic()
                try:
                    await self._one_session()
                except (FatalError, TransientError) as error:
                    if isinstance(error, FatalError) and error.reason != "fenced":
                        self.fatal = error
                        raise
                    logger.warning("lane %s joins anew: %s", self.spec.name, error)
                    if time.monotonic() - started > MAX_BACKOFF_S:
                        backoff_s = FIRST_BACKOFF_S
                    await self.sleep(backoff_s)
                    backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)
        finally:
            self._finished.set()

    async def _one_session(self) -> None:
        self._consumer = clients.lane_consumer(self._settings.kafka, self._group)
        self._assignment = Assignment(self._make_delivery)
        session = Session(
            topic=self.spec.source,
            consumer=self._consumer,
            assignment=self._assignment,
            decode=self.spec.decode,
            worker=self.worker,
            inference=self._inference,
            batcher=Batcher[Item](
                max_items=self.spec.max_batch_items,
                max_cost=self.spec.max_batch_cost,
                deadline_s=self.spec.batch_deadline_s,
            ),
            settings=self._settings.lane,
            metrics=self.metrics,
        )
        self._session = session
        self.metrics.joined()
        if self.should_stop:
            session.stop()
        await session.run()

    def _make_delivery(self, partition: TopicPartition, progressed: Callable[[], None]) -> PartitionDelivery:
        def done(answers: Sequence[Item]) -> None:
            self.metrics.committed(answers)
            self._watchdog.progressed(self.spec.name)
            progressed()

        return PartitionDelivery(
            partition,
            self._make_outlet(partition),
            self._build,
            done,
            max_items=self._settings.lane.max_transaction_items,
            owner=self._owner,
        )

    def _make_outlet(self, partition: TopicPartition) -> Outlet:
        kafka, lane = self._settings.kafka, self._settings.lane
        if self._consumer is None:
            raise FatalError("a partition was assigned before the consumer was made", reason="delivery")
        consumer = self._consumer
        committed = committed_reader(consumer)
        if lane.delivery is Delivery.AT_LEAST_ONCE:
            return IdempotentOutlet(
                partition, consumer, lambda: clients.idempotent_producer(kafka), committed
            )
        transactional_id = f"{self._group}.{partition.topic}.{partition.partition}"
        return TransactionalOutlet(
            partition,
            self._group,
            lambda: clients.transactional_producer(kafka, transactional_id, lane.transaction_timeout_ms),
            committed,
        )

    def _build(self, answers: Sequence[Item], omit_large: bool) -> list[OutputRecord]:
        """Turn answers into results and dead letters."""
        common = result_headers(self.spec.event_type, f"/feedsight/{self._group}")
        records: list[OutputRecord] = []
        for answer in answers:
            record, outcome = answer.record, answer.outcome
            if isinstance(outcome, PipelineError):
                facts = facts_of(record, outcome, stage=self.spec.name)
                too_large = omit_large and answer.size_bytes > clients.MAX_BATCH_BYTES // 2
                records.append(to_record(record, facts, self.spec.dead_letters, omit_value=too_large))
            else:
                records.append(encode_result(record, outcome, self.spec.sink, common))
        return records

    # Looking on

    @mode.Service.task  # type: ignore[untyped-decorator]
    async def _watch(self) -> None:
        """Arm the watchdog every second while there is progress, or nothing to do."""
        self._watchdog.progressed(self.spec.name)
        while not self.should_stop:
            if self.idle:
                self._watchdog.progressed(self.spec.name)
            self._watchdog.check()
            await self.sleep(1.0)

    @property
    def state(self) -> str:
        """`joining`, `running` or `failed`."""
        if self.fatal is not None or self.crashed:
            return "failed"
        return "running" if self._assignment and self._assignment.deliveries else "joining"

    @property
    def paused(self) -> bool:
        """Whether the consumer is held back because too much is in flight."""
        return self._session is not None and self._session.paused

    @property
    def idle(self) -> bool:
        """Nothing in flight and nothing to read, as far as the broker has said."""
        assignment, consumer = self._assignment, self._consumer
        if assignment is None or consumer is None:
            return False
        return not assignment.pending and self.lag == 0

    @property
    def lag(self) -> int:
        """Inputs on the broker that could be read and are not yet committed, over the partitions owned."""
        assignment, consumer = self._assignment, self._consumer
        if assignment is None or consumer is None:
            return 0
        lag = 0
        for partition, delivery in assignment.deliveries.items():
            lag += delivery.pending + _unread(consumer, partition, delivery.next_offset)
        return lag

    def snapshot(self) -> Any:
        """Close the metrics interval; see LaneMetrics.snapshot."""
        assignment = self._assignment
        return self.metrics.snapshot(
            in_flight=assignment.pending if assignment else 0,
            queue_bytes=assignment.pending_bytes if assignment else 0,
            lag=self.lag,
            paused=self.paused,
            model=self.worker.model,
            version=self.worker.version,
        )


def _unread(consumer: AIOKafkaConsumer, partition: TopicPartition, next_offset: int) -> int:
    """Offsets between what was taken in and what may be read.

    Markers and aborted records of transactional senders fill offsets that hold no input: the consumer's
    position has passed them, `next_offset` never does. An open transaction's records can't be read yet.
    """
    if not consumer._subscription.is_assigned(partition):
        return 0
    state = consumer._subscription.subscription.assignment.state_value(partition)
    end = state.highwater or 0
    if state.lso is not None and state.lso >= 0:
        end = min(end, state.lso)
    read_to = state.position if state.has_valid_position else 0
    return max(0, end - max(next_offset, read_to))
