"""aiokafka's clients, as far as a lane uses them: each of their requests is one of the explorer's steps."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition
from aiokafka.errors import IllegalOperation, InvalidProducerEpoch, KafkaConnectionError, ProducerFenced
from aiokafka.producer.transaction_manager import TransactionManager
from aiokafka.structs import OffsetAndMetadata

from tests.model.broker import ModelBroker

if TYPE_CHECKING:
    from tests.model.model_worker import ModelWorker

PARTITION = TopicPartition("in", 0)


@dataclass
class ModelRecord:
    """An input."""

    offset: int
    value: bytes = b"x"
    topic: str = "in"
    partition: int = 0
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class ModelConsumer:
    """aiokafka's consumer: a position, and polls that end when the explorer says so."""

    def __init__(self, worker: "ModelWorker") -> None:
        self.position: int | None = None
        self.assigned = False
        self.generation = 0
        self._worker = worker
        self._coordinator = self
        self._polling: asyncio.Future[dict[TopicPartition, list[ModelRecord]]] | None = None

    @property
    def readable(self) -> bool:
        waiting = self._polling is not None and not self._polling.done()
        end = self._worker.world.bounds.inputs
        return waiting and self.assigned and self.position is not None and self.position < end

    def poll(self) -> None:
        """Let the poll that waits bring the next record."""
        assert self.position is not None
        assert self._polling is not None
        self._worker.learns(f"read {self.position}")
        self._polling.set_result({PARTITION: [ModelRecord(self.position)]})
        self.position += 1

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        self.assigned = False

    def subscribe(self, topics: list[str], listener: object) -> None:
        return

    async def topics(self) -> set[str]:
        return {"in"}

    def assignment(self) -> set[TopicPartition]:
        return {PARTITION} if self.assigned else set()

    async def getmany(self, **_: int) -> dict[TopicPartition, list[ModelRecord]]:
        self._polling = self._worker.world.loop.create_future()
        return await self._polling

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.position = offset

    async def seek_to_beginning(self, partition: TopicPartition) -> None:
        self.position = 0

    async def fetch_committed_offsets(
        self, partitions: list[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        broker = self._worker.world.broker
        found = await self._worker.ask("committed?", lambda: broker.offset, matters=lambda: False)
        return {} if found is None else {PARTITION: found}

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    async def commit(self, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        """Commit with the generation, as at_least_once does."""
        world, generation, offset = self._worker.world, self.generation, offsets[PARTITION]

        def effect() -> None:
            if generation != world.generation or world.owner is not self._worker:
                raise KafkaConnectionError("illegal generation")
            world.broker.commit(offset)

        await self._worker.ask(f"commit {offset.offset} of {generation}", effect)


class _Builder:
    def __init__(self) -> None:
        self.answers: list[int] = []

    def append(self, *, timestamp: None, key: bytes | None, value: bytes | None, headers: Any) -> object:
        self.answers.append(int(value or b"-1"))
        return self


@dataclass
class ModelProducer:
    """aiokafka's producer, with its own transaction manager; each request is one of the explorer's."""

    worker: "ModelWorker"
    transactional_id: str | None
    epoch: int = -1
    stopped: bool = False
    waiting: "list[asyncio.Future[Any]]" = field(default_factory=list)

    def __post_init__(self) -> None:
        self._txn_manager = TransactionManager(self.transactional_id, 60_000)
        self.client = self
        self._topics: set[str] = set()
        self.worker.producers.append(self)

    async def start(self) -> None:
        if self.transactional_id is not None:
            name, broker = self.transactional_id, self._broker
            self.epoch = await self._ask(f"init {name}", lambda: broker.initialise(name))
            self._txn_manager.set_pid_and_epoch(1, self.epoch)

    async def stop(self) -> None:
        self.stopped = True
        self.worker.unanswered.update(answer for answer in self.waiting if not answer.done())

    async def add_topic(self, topic: str) -> None:
        if self.worker.world.bounds.slow_metadata and topic not in self._topics:
            await self.worker.ask(f"metadata of {topic}", lambda: None, matters=lambda: False)
        self._topics.add(topic)

    async def partitions_for(self, topic: str) -> set[int]:
        return {0}

    def create_batch(self) -> _Builder:
        return _Builder()

    async def send_batch(self, builder: _Builder, topic: str, *, partition: int) -> "asyncio.Future[Any]":
        answers, broker, name, epoch = builder.answers, self._broker, self.transactional_id, self.epoch
        if name is None:
            return self._ask(f"produce {answers}", lambda: broker.append(answers))
        if not self._txn_manager.is_in_transaction():
            raise IllegalOperation("Can't send messages while not in transaction")
        return self._fatal_if_fenced(
            self._ask(f"produce {answers} @{name}:{epoch}", lambda: broker.produce(name, epoch, answers))
        )

    async def begin_transaction(self) -> None:
        self._txn_manager.begin_transaction()

    async def send_offsets_to_transaction(
        self, offsets: dict[TopicPartition, OffsetAndMetadata], group: str
    ) -> None:
        if not self._txn_manager.is_in_transaction():
            raise IllegalOperation("Not in the middle of a transaction")
        broker, name, epoch, found = self._broker, self._name, self.epoch, offsets[PARTITION]
        what = f"offset {found.offset} {found.metadata} @{name}:{epoch}"
        answer = self._ask(what, lambda: broker.add_offset(name, epoch, found))
        await asyncio.shield(self._fatal_if_fenced(answer))

    async def commit_transaction(self) -> None:
        self._txn_manager.committing_transaction()
        await self._end(commit=True)

    async def abort_transaction(self) -> None:
        self._txn_manager.aborting_transaction()
        await self._end(commit=False)

    async def _end(self, *, commit: bool) -> None:
        broker, name, epoch = self._broker, self._name, self.epoch
        what = "commit" if commit else "abort"
        answer = self._ask(f"{what} @{name}:{epoch}", lambda: broker.end(name, epoch, commit=commit))
        answer.add_done_callback(self._ended)
        await asyncio.shield(answer)

    def _ended(self, answer: "asyncio.Future[Any]") -> None:
        if answer.cancelled():
            return
        if (error := answer.exception()) is None:
            self._txn_manager.complete_transaction()
        else:
            self._txn_manager.fatal_error(error)

    def _fatal_if_fenced(self, answer: "asyncio.Future[Any]") -> "asyncio.Future[Any]":
        def look(answer: "asyncio.Future[Any]") -> None:
            if not answer.cancelled() and isinstance(
                error := answer.exception(), (InvalidProducerEpoch, ProducerFenced)
            ):
                self._txn_manager.fatal_error(error)
                self._txn_manager._transaction_waiter.exception()

        answer.add_done_callback(look)
        return answer

    def _ask(self, name: str, effect: Callable[[], Any]) -> "asyncio.Future[Any]":
        busy = self._broker.prepared
        answer = self.worker.ask(
            name,
            effect,
            lambda: self.transactional_id not in busy,
            lambda: not self.fenced or name.startswith("init"),
        )
        answer.add_done_callback(lambda done: None if done.cancelled() else done.exception())
        self.waiting.append(answer)
        return answer

    @property
    def fenced(self) -> bool:
        """Whether the broker takes nothing from it any more."""
        name = self.transactional_id
        return name is not None and self._broker.epochs.get(name, self.epoch) != self.epoch

    @property
    def _broker(self) -> ModelBroker:
        return self.worker.world.broker

    @property
    def _name(self) -> str:
        assert self.transactional_id is not None
        return self.transactional_id
