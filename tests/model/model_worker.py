"""A worker process: the real Assignment, PartitionDelivery and outlets, and on demand the real Session."""

import asyncio
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition

from config import LaneSettings
from stream.assignment import Assignment
from stream.delivery import PartitionDelivery
from stream.outlet import IdempotentOutlet, Outlet, beginning_reader, committed_reader
from stream.records import Item, OutputRecord
from stream.session import Session
from stream.transactions import TransactionalOutlet
from tests.model.clients import PARTITION, ModelConsumer, ModelProducer
from tests.model.explorer import OWNER, Action
from workers.batching import Batcher

if TYPE_CHECKING:
    from tests.model.lane_world import LaneWorld

GROUP = "group.text"


@dataclass
class Request:
    """One request on its way.

    Attributes:
        name: of the request, with what makes it differ from others.
        effect: what the broker does; it may raise.
        answer: where the client waits.
        owner: whose it is.
        allowed: whether the broker takes it now; clients of a busy coordinator ask again and again.
        matters: whether the broker would change by it.
    """

    name: str
    effect: Callable[[], Any]
    answer: "asyncio.Future[Any]"
    owner: "ModelWorker"
    allowed: Callable[[], bool]
    matters: Callable[[], bool]

    @property
    def orphan(self) -> bool:
        """Nobody waits for its answer any more; it may arrive all the same."""
        return self.answer.done() or self.owner.dead or self.answer in self.owner.unanswered


class ShortSession:
    """What a Session does for the protocol, without its batches and threads: fewer waits, more to be seen."""

    def __init__(self, consumer: "ModelConsumer", assignment: Assignment) -> None:
        self._consumer = consumer
        self._assignment = assignment
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        self._assignment.on_failure = self._fail
        reading = asyncio.create_task(self._read())
        try:
            await self._failure
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await self._assignment.close()
            await self._consumer.stop()

    async def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        try:
            await self._assignment.assign(set(assigned), self._consumer)
        except Exception as error:
            self._fail(error)

    async def on_partitions_revoked(self, revoked: list[TopicPartition]) -> None:
        try:
            await self._assignment.drained(LaneSettings().drain_timeout_s)
            await self._assignment.revoke(set(revoked))
        except Exception as error:
            self._fail(error)

    async def _read(self) -> None:
        while True:
            for partition, records in (await self._consumer.getmany()).items():
                delivery = self._assignment.deliveries.get(partition)
                for record in records:
                    if delivery is not None and record.offset >= delivery.next_offset:
                        delivery.took(1, 1, record.offset + 1)
                        delivery.answer([Item(record, record.offset, 1, delivery, outcome=record.offset)])

    def _fail(self, error: BaseException) -> None:
        if not self._failure.done():
            self._failure.set_exception(error)


class _Answers:
    """A model that answers at once, and metrics that nobody reads."""

    retries = 0

    def cost(self, message: Any) -> int:
        return 1

    async def prepare(self, messages: Sequence[Any]) -> Sequence[Any]:
        return messages

    async def run(self, messages: Sequence[Any], prepared: Sequence[Any]) -> list[Any]:
        return list(messages)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


class ModelWorker:
    """A process. Its state is a function of what it has learnt from outside, and of nothing else."""

    def __init__(self, world: "LaneWorld", number: int) -> None:
        self.world = world
        self.number = number
        self.dead = False
        self.busy = False
        """A callback of the coordinator is running."""
        self.owns = False
        self.session: Session | ShortSession | None = None
        self.ended_with: BaseException | None = None
        self.told: set[int] = set()
        self.learnt: list[str] = []
        """What came from outside since its last chunk was done; before that, its objects tell it all."""
        self.history: list[str] = []
        self.producers: list[ModelProducer] = []
        self.consumer: ModelConsumer | None = None
        self.used = False
        self._names = 0
        self.unanswered: set[asyncio.Future[Any]] = set()
        """What a client that was stopped had asked: nobody will ever tell."""

    def __str__(self) -> str:
        return f"worker {self.number}"

    def learns(self, what: str) -> None:
        self.learnt.append(what)
        self.history.append(what)

    def key(self, relative: Callable[[str], str]) -> Hashable:
        if self.dead:
            return "dead"
        if self.world.bounds.whole_history:
            return tuple(self.history), self.busy, self.owns
        return tuple(sorted(map(relative, self.learnt))), self.busy, self.owns, self._local()

    def _local(self) -> Hashable:
        """Where its tasks stand, and what its objects hold."""
        if self.session is None or self.consumer is None:
            return None
        deliveries = [
            (
                *(each.next_offset, each.pending, each.closed, each._committed),
                tuple(item.record.offset for item in each._ready),
            )
            for each in self.assignment.deliveries.values()
        ]
        age = self.world.broker.age
        producers = [
            (p.transactional_id, age(p.transactional_id or "", p.epoch), p._txn_manager.state.value)
            for p in self.producers
            if not p.stopped
        ]
        tasks = sorted(
            tuple(_stack(task)) for owner, task in self.world.loop.tasks if owner is self and not task.done()
        )
        lag = self.world.generation - self.consumer.generation
        writer = self.transactions
        held = (
            *(writer._name, writer._broken, writer._apart),
            *(tuple(writer._standing.items()), tuple((k, int(v)) for k, v in writer._claimed.items())),
            *(
                tuple((r.next_offset, r.done.done()) for r in rs)
                for rs in (writer._waiting, writer._in_flight)
            ),
        )
        return self.consumer.position, lag, held, tuple(deliveries), tuple(producers), tuple(tasks)

    def actions(self) -> list[Action]:
        if self.dead:
            return []
        found = []
        consumer = self.consumer
        if consumer is not None and consumer.readable:
            found.append(Action(f"{self} reads {consumer.position}", consumer.poll))
        if not self.busy:
            if self.owns:
                zombie = self.world.owner is not self
                found.append(Action(f"{self} is told to let go", self.let_go, None if zombie else "move"))
            elif self.number == 0 or self.world.workers[self.number - 1].used:
                # workers are alike: it does not matter which of those never used comes first
                found.append(Action(f"{self} gets the partition", self.take, "move"))
        if self.session is not None:
            found.append(Action(f"{self} is killed", self.die, "crash"))
        return found

    def take(self) -> None:
        """Get the partition, in a new session where the last one ended."""
        self.world.left["move"] -= 1
        self.world.owner = self
        self.world.generation += 1
        self.owns = self.busy = self.used = True
        self._spawn(self._taken())

    def let_go(self) -> None:
        """Lose the partition, and know it."""
        self.learns("let go")
        if self.world.owner is self:
            self.world.left["move"] -= 1
            self.world.owner = None
        self.busy = True
        self._spawn(self._released())

    def die(self) -> None:
        """SIGKILL. Requests that were sent may still arrive."""
        self.world.left["crash"] -= 1
        self.dead = True
        self.owns = False

    def ask(
        self,
        name: str,
        effect: Callable[[], Any],
        allowed: Callable[[], bool] = lambda: True,
        matters: Callable[[], bool] = lambda: True,
    ) -> "asyncio.Future[Any]":
        """Send a request; give the future of its answer."""
        answer: asyncio.Future[Any] = self.world.loop.create_future()
        if not self.dead:
            self.world.network.append(Request(f"{self}: {name}", effect, answer, self, allowed, matters))
        return answer

    async def _taken(self) -> None:
        if self.session is None:
            self._new_session()
        assert self.session is not None
        assert self.consumer is not None
        self.learns("gets the partition")
        self.consumer.assigned = True
        self.consumer.generation = self.world.generation
        await self.session.on_partitions_assigned([PARTITION])
        self.busy = False

    async def _released(self) -> None:
        assert self.session is not None
        await self.session.on_partitions_revoked([PARTITION])
        if self.consumer is not None:
            self.consumer.assigned = False
            self.consumer.position = None
        self.busy = self.owns = False

    def _new_session(self) -> None:
        self.consumer = consumer = ModelConsumer(self)
        claims = self.world.claims_type(
            GROUP,
            lambda name: ModelProducer(self, name),
            committed_reader(consumer),
            beginning_reader(consumer),
        )
        self.transactions = self.world.transactions_type(
            GROUP, lambda name: ModelProducer(self, name), claims, self._new_name
        )
        self.assignment = Assignment(lambda partition, progressed: self._delivery(consumer, progressed))
        if not self.world.bounds.whole_session:
            self.session = ShortSession(consumer, self.assignment)
            self._spawn(self._run(self.session))
            return
        self.session = Session(
            topic="in",
            consumer=consumer,
            assignment=self.assignment,
            decode=lambda record: record.offset,
            worker=_Answers(),
            inference=_Answers(),
            batcher=Batcher[Item](max_items=1, max_cost=1, deadline_s=0, clock=lambda: 0.0),
            settings=LaneSettings(),
            metrics=_Answers(),
        )
        self._spawn(self._run(self.session))

    async def _run(self, session: Session | ShortSession) -> None:
        try:
            await session.run()
        except Exception as error:
            self.ended_with = error
        # Nothing of it is left, and the coordinator knows.
        self.learnt.clear()
        self.history.clear()
        self.session = self.consumer = None
        self.owns = self.busy = False

    def _delivery(self, consumer: "ModelConsumer", progressed: Callable[[], None]) -> PartitionDelivery:
        def done(answers: Sequence[Item]) -> None:
            self.told.update(answer.record.offset for answer in answers)
            self.learnt.clear()
            progressed()

        return self.world.delivery_type(
            PARTITION, self._outlet(consumer), _build, done, max_items=1, owner=str(self)
        )

    def _outlet(self, consumer: "ModelConsumer") -> Outlet:
        if self.world.bounds.exactly_once:
            return TransactionalOutlet(PARTITION, self.transactions)
        committed = committed_reader(consumer)
        return IdempotentOutlet(PARTITION, consumer, lambda: ModelProducer(self, None), committed)

    def _new_name(self) -> str:
        self._names += 1
        return f"writer.{self.number}.{self._names}"

    def _spawn(self, coroutine: Any) -> None:
        token = OWNER.set(self)
        try:
            self.world.loop.create_task(coroutine)
        finally:
            OWNER.reset(token)


def _stack(task: "asyncio.Task[Any]") -> Iterator[tuple[str, int]]:
    """The functions in which a task waits, and where in them."""
    awaited: Any = task.get_coro()
    while awaited is not None and (frame := getattr(awaited, "cr_frame", None)) is not None:
        yield awaited.__qualname__, frame.f_lasti
        awaited = awaited.cr_await


def _build(answers: Sequence[Item], omit_large: bool) -> list[OutputRecord]:
    return [OutputRecord("out", None, b"%d" % answer.record.offset, []) for answer in answers]
