"""A lane: one input topic, one worker, one results topic, as a service of the Faust app.

It runs sessions one after the other. What is transient ends a session and a new one joins; what is fatal ends
the process with a status, nothing committed.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import mode
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from config import Delivery, Settings
from stream import clients
from stream.assignment import Assignment
from stream.claims import Claims
from stream.control import Control
from stream.delivery import PartitionDelivery
from stream.inference import Inference
from stream.lag import has_heard, unread
from stream.lane_spec import LaneSpec
from stream.metrics import LaneMetrics
from stream.outlet import IdempotentOutlet, Outlet, beginning_reader, committed_reader
from stream.records import Item
from stream.result_records import AnswerRecords
from stream.session import Session
from stream.soundness import flaw_of
from stream.transactions import TransactionalOutlet, Transactions
from stream.watch import LOOK_EVERY_S, StreamWatch
from stream.watchdog import Watchdog
from workers.base import Controllable, Worker
from workers.batching import Batcher
from workers.errors import FatalError, TransientError

logger = logging.getLogger(__name__)

FIRST_BACKOFF_S: Final = 0.5
MAX_BACKOFF_S: Final = 10.0

ABANDON_S: Final = 5.0
"""For the rest of the process to end, where the model's thread hangs and will not."""


class Lane(mode.Service):  # type: ignore[misc]
    """Runs sessions until it is stopped.

    Args:
        spec: what the lane moves.
        worker: labels or matches.
        settings: all settings.
        metrics: counts what happens.
        watchdog: ends the process when there is work and no progress.
        control: keeps the worker's labels or references; no input is taken before it is ready.
        watch: looks on at what was committed.
    """

    def __init__(
        self,
        spec: LaneSpec,
        worker: Worker[Any, Any, Any],
        settings: Settings,
        metrics: LaneMetrics,
        watchdog: Watchdog,
        control: Control | None = None,
        watch: StreamWatch | None = None,
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
        self._control = control
        self._looking_on = watch
        if control is not None:
            control.on_hold = self._hold
        self._group = f"{settings.kafka.group}.{spec.name}"
        self._owner = uuid.uuid4().hex[:16]
        self._inference = Inference(
            worker,
            retries=settings.lane.retries,
            timeout_s=settings.lane.inference_timeout_s,
            flaw=flaw_of,
        )
        self._consumer: AIOKafkaConsumer | None = None
        self._transactions: Transactions | None = None
        self._assignment: Assignment | None = None
        self._session: Session | None = None
        self._finished = asyncio.Event()
        self._records = AnswerRecords(
            spec.name,
            f"/feedsight/{self._group}",
            sink=spec.sink,
            review=spec.review,
            dead_letters=spec.dead_letters,
            event_type=spec.event_type,
            routes=lambda: self.routes,
        )

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
        if self._looking_on is not None:
            self._looking_on.look()
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
                if not self.ready:
                    await self._wait_until_ready()
                    continue
                try:
                    await self._one_session()
                except (FatalError, TransientError) as error:
                    if isinstance(error, FatalError) and error.reason != "fenced":
                        self.fatal = error
                        raise
                    logger.warning("lane %s joins anew: %s", self.spec.name, error)
                    if self._session is None or not self._session.connected:
                        # There is no broker: to end the process would not help.
                        self._watchdog.progressed(self.spec.name)
                    if time.monotonic() - started > MAX_BACKOFF_S:
                        backoff_s = FIRST_BACKOFF_S
                    await self.sleep(backoff_s)
                    backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)
        finally:
            self._finished.set()

    @property
    def ready(self) -> bool:
        """Whether the worker's labels or references are known and there is something to work with."""
        return self._control is None or self._control.ready

    async def _wait_until_ready(self) -> None:
        self._assignment = self._session = None
        if self._control is not None:
            await self._control.changed(timeout_s=0.5)

    def _hold(self) -> None:
        """Take nothing more until there is something to work with again; the partitions go to others."""
        if self._session is not None:
            self._session.stop()

    @property
    def why_ended(self) -> FatalError | None:
        """What ended the process, of the lane or of its control topic."""
        return self.fatal or (self._control.fatal if self._control is not None else None)

    @property
    def routes(self) -> Mapping[str, str]:
        """Further topics by label set, for those that have one and that the broker has."""
        return self._control.routes if self._control is not None else getattr(self.worker, "routes", {})

    async def _one_session(self) -> None:
        self._consumer = clients.lane_consumer(self._settings.kafka, self._group)
        self._transactions = self._make_transactions(self._consumer)
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
                target_s=self.spec.target_latency_s,
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
            if self._looking_on is not None:
                self._looking_on.committed(answers)
            self._watchdog.progressed(self.spec.name)
            progressed()

        return PartitionDelivery(
            partition,
            self._make_outlet(partition),
            self._records.build,
            done,
            max_items=self._settings.lane.max_transaction_items,
            owner=self._owner,
        )

    def _make_outlet(self, partition: TopicPartition) -> Outlet:
        if self._consumer is None:
            raise FatalError("a partition was assigned before the consumer was made", reason="delivery")
        if self._transactions is not None:
            return TransactionalOutlet(partition, self._transactions)
        kafka = self._settings.kafka
        return IdempotentOutlet(
            partition,
            self._consumer,
            lambda: clients.idempotent_producer(kafka),
            committed_reader(self._consumer),
        )

    def _make_transactions(self, consumer: AIOKafkaConsumer) -> Transactions | None:
        kafka, lane = self._settings.kafka, self._settings.lane
        if lane.delivery is Delivery.AT_LEAST_ONCE:
            return None

        def make_producer(name: str) -> AIOKafkaProducer:
            return clients.transactional_producer(kafka, name, lane.transaction_timeout_ms)

        claims = Claims(self._group, make_producer, committed_reader(consumer), beginning_reader(consumer))
        return Transactions(self._group, make_producer, claims)

    # Looking on

    @mode.Service.task  # type: ignore[untyped-decorator]
    async def _look_on(self) -> None:
        """Look for bursts and drift, whatever is in flight."""
        while self._looking_on is not None and not self.should_stop:
            await self.sleep(LOOK_EVERY_S)
            self._looking_on.look()

    @mode.Service.task  # type: ignore[untyped-decorator]
    async def _watch(self) -> None:
        """Arm the watchdog every second while there is progress, or nothing to do."""
        self._watchdog.progressed(self.spec.name)
        while not self.should_stop:
            if self.idle or (self._control is not None and not self._control.ready):
                self._watchdog.progressed(self.spec.name)
            self._watchdog.writing(
                self.spec.name, self._assignment.writing_since if self._assignment else None
            )
            self._watchdog.check()
            await self.sleep(1.0)

    @property
    def state(self) -> str:
        """`waiting` for labels or references, `joining`, `running` or `failed`."""
        if self.fatal is not None or self.crashed:
            return "failed"
        if not self.ready and self._session is None:
            return "waiting"
        return "running" if self._assignment and self._assignment.deliveries else "joining"

    @property
    def paused(self) -> bool:
        """Whether the consumer is held back because too much is in flight."""
        return self._session is not None and self._session.paused

    @property
    def idle(self) -> bool:
        """A member of the group with nothing in flight and nothing to read, as the broker has said."""
        assignment, consumer = self._assignment, self._consumer
        if assignment is None or consumer is None:
            return False
        heard = all(has_heard(consumer, partition) for partition in assignment.deliveries)
        return assignment.settled and heard and not assignment.pending and self.lag == 0

    @property
    def lag(self) -> int:
        """Inputs on the broker that could be read and are not yet committed, over the partitions owned."""
        assignment, consumer = self._assignment, self._consumer
        if assignment is None or consumer is None:
            return 0
        lag = 0
        for partition, delivery in assignment.deliveries.items():
            lag += delivery.pending + unread(consumer, partition, delivery.next_offset)
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
            in_force=dict(self.worker.in_force) if isinstance(self.worker, Controllable) else None,
            readings=self._looking_on.readings() if self._looking_on is not None else None,
        )
