"""One membership in the group: what is read, held back, answered and given up, with a consumer of our own."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import TopicPartition

from config import LaneSettings
from stream.assignment import Assignment
from stream.delivery import PartitionDelivery
from stream.inference import Inference
from stream.metrics import Exposition, LaneMetrics
from stream.outlet import FencedError
from stream.records import Item, OutputRecord
from stream.session import Session
from tests.unit.stream.fakes import FakeOutlet, Fault, Record
from workers.batching import Batcher
from workers.errors import FatalError, MessageError, PipelineError, TransientError

PARTITION = TopicPartition("in", 3)


class FakeConsumer:
    """Joins at the first poll, then gives one list of records a poll while it is not paused."""

    def __init__(self, polls: Sequence[Sequence[Record]]) -> None:
        self.polls = [list(records) for records in polls]
        self.listener: Session | None = None
        self.joined = False
        self.started_from: int | str | None = None
        self.held: list[str] = []
        self.is_paused = False
        self.stopped = False

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        self.stopped = True

    def subscribe(self, topics: list[str], listener: Session) -> None:
        assert topics == ["in"]
        self.listener = listener

    async def getmany(self, **limits: int) -> dict[TopicPartition, list[Record]]:
        await asyncio.sleep(0)
        if not self.joined and self.listener is not None:
            self.joined = True
            await self.listener.on_partitions_assigned([PARTITION])
        assert not (self.is_paused and self.polls), "polled while paused"
        return {PARTITION: self.polls.pop(0)} if self.polls else {}

    async def topics(self) -> set[str]:
        return {"in"}

    def assignment(self) -> set[TopicPartition]:
        return {PARTITION}

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.started_from = offset

    async def seek_to_beginning(self, partition: TopicPartition) -> None:
        self.started_from = "beginning"

    def pause(self, *partitions: TopicPartition) -> None:
        self.is_paused = True
        self.held.append("pause")

    def resume(self, *partitions: TopicPartition) -> None:
        self.is_paused = False
        self.held.append("resume")


class Gate:
    """A worker that answers in capitals, once its gate is open."""

    model = "gate"
    version = "1"

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.error: Exception | None = None
        self.sizes: list[int] = []

    def load(self) -> None:
        return

    def cost(self, message: str) -> int:
        return 1

    def prepare(self, batch: Sequence[str]) -> Sequence[str | PipelineError]:
        return batch

    def run(self, prepared: Sequence[str | PipelineError]) -> Sequence[str | PipelineError]:
        self.sizes.append(len(prepared))
        assert self.open.wait(60)
        if self.error is not None:
            raise self.error
        return [str(message).upper() for message in prepared]


def decode(record: Any) -> str:
    text: str = record.value.decode()
    if text == "bad":
        raise MessageError("no", reason="not_json")
    if text == "odd":
        raise ZeroDivisionError
    return text


class World:
    """A session with its surroundings."""

    def __init__(
        self,
        *polls: Sequence[Record],
        committed: int | None = None,
        batcher: Batcher[Item] | None = None,
        **lane: Any,
    ) -> None:
        self.consumer = FakeConsumer(polls)
        self.outlet = FakeOutlet(committed=committed)
        self.worker = Gate()
        self.task: asyncio.Task[None] | None = None
        self.assignment = Assignment(self._delivery)
        self.inference = Inference(self.worker)
        settings = LaneSettings(**lane)
        self.session = Session(
            topic="in",
            consumer=self.consumer,
            assignment=self.assignment,
            decode=decode,
            worker=self.worker,
            inference=self.inference,
            batcher=Batcher(max_items=2, max_cost=100, deadline_s=0) if batcher is None else batcher,
            settings=settings,
            metrics=LaneMetrics("text", "w", Exposition()),
        )

    def _delivery(self, partition: TopicPartition, progressed: Callable[[], None]) -> PartitionDelivery:
        def build(answers: Sequence[Item], omit_large: bool) -> list[OutputRecord]:
            return [OutputRecord("out", None, self._told(item).encode(), []) for item in answers]

        return PartitionDelivery(partition, self.outlet, build, lambda _: progressed(), max_items=100)

    @staticmethod
    def _told(item: Item) -> str:
        return item.outcome.reason if isinstance(item.outcome, PipelineError) else str(item.outcome)

    @property
    def answers(self) -> list[str]:
        return [(record.value or b"").decode() for record in self.outlet.records]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                if self.task is not None and self.task.done():
                    self.task.result()
                await asyncio.sleep(0)


@asynccontextmanager
async def running(world: World) -> AsyncIterator["asyncio.Task[None]"]:
    task = world.task = asyncio.create_task(world.session.run())
    try:
        yield task
    finally:
        world.worker.open.set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        world.inference.close()


def records(*texts: str, start: int = 0) -> list[Record]:
    return [Record(text.encode(), offset=start + place) for place, text in enumerate(texts)]


async def test_every_record_is_answered_in_order_and_committed():
    world = World(records("a", "b", "c"), records("d", start=3))
    async with running(world):
        await world.until(lambda: world.outlet.committed == 4)
    assert world.answers == ["A", "B", "C", "D"]


async def test_what_can_not_be_decoded_is_answered_in_its_place():
    world = World(records("a", "bad", "odd", "b"))
    async with running(world):
        await world.until(lambda: world.outlet.committed == 4)
    assert world.answers == ["A", "not_json", "unexpected", "B"]


async def test_records_that_were_committed_before_are_not_answered_again():
    """The first poll may still bring what was fetched before the consumer was set to its offset."""
    world = World(records("a", "b", "c"), committed=2)
    async with running(world):
        await world.until(lambda: world.outlet.committed == 3)
    assert world.answers == ["C"]
    assert world.consumer.started_from == 2


async def test_without_a_committed_offset_it_starts_at_the_beginning():
    world = World(records("a"))
    async with running(world):
        await world.until(lambda: world.outlet.committed == 1)
    assert world.consumer.started_from == "beginning"


@pytest.mark.parametrize("limit", [{"max_queue_items": 4}, {"max_queue_bytes": 1_024}])
async def test_the_consumer_is_held_back_while_too_much_is_in_flight_and_let_go_below_half(limit):
    text = "x" * 300
    world = World(records(*[text] * 4), records(*[text] * 4, start=4), **limit)
    world.worker.open.clear()
    async with running(world):
        await world.until(lambda: world.session.paused)
        assert world.assignment.pending == 4
        assert world.answers == []
        world.worker.open.set()
        await world.until(lambda: world.outlet.committed == 8)
    assert world.consumer.held[:2] == ["pause", "resume"]
    assert len(world.answers) == 8


async def test_with_a_target_what_comes_while_the_model_works_goes_together_when_it_is_free():
    batcher = Batcher[Item](max_items=100, max_cost=100, deadline_s=0, target_s=60)
    batcher.worked(1, 6.0)  # it believes that the model takes its time
    world = World(
        records("a"), *(records(text, start=1 + n) for n, text in enumerate("bcdef")), batcher=batcher
    )
    world.worker.open.clear()
    async with running(world):
        await world.until(lambda: world.assignment.pending == 6)
        world.worker.open.set()
        await world.until(lambda: world.outlet.committed == 6)
    assert world.worker.sizes == [1, 5]


async def test_told_to_stop_it_finishes_what_is_in_flight_and_leaves():
    world = World(records("a", "b", "c"), drain_timeout_s=60)
    world.worker.open.clear()
    async with running(world) as task:
        await world.until(lambda: world.assignment.pending == 3)
        world.session.stop()
        world.worker.open.set()
        await task
    assert world.outlet.committed == 3
    assert world.outlet.closed
    assert world.consumer.stopped


async def test_what_takes_longer_than_the_drain_may_is_given_up_and_not_committed():
    world = World(records("a"), drain_timeout_s=0.01)
    world.worker.open.clear()
    async with running(world) as task:
        await world.until(lambda: world.assignment.pending == 1)
        world.session.stop()
        await task
    assert world.outlet.committed is None
    assert world.answers == []
    assert world.outlet.closed


async def test_a_partition_that_is_taken_away_is_drained_first():
    world = World(records("a", "b"))
    async with running(world):
        await world.until(lambda: world.assignment.pending == 2 or world.outlet.committed == 2)
        await world.session.on_partitions_revoked([PARTITION])
        assert world.outlet.committed == 2
        assert world.assignment.deliveries == {}


async def test_answers_for_a_partition_that_was_lost_meanwhile_are_dropped():
    world = World(records("a", "b"), drain_timeout_s=0.01)
    world.worker.open.clear()
    async with running(world) as task:
        await world.until(lambda: world.assignment.pending == 2)
        await world.session.on_partitions_revoked([PARTITION])
        world.worker.open.set()
        world.session.stop()
        await task
    assert world.answers == []
    assert world.outlet.committed is None


@pytest.mark.parametrize("error", [FencedError("gone"), FatalError("no", reason="delivery")])
async def test_a_delivery_that_fails_ends_the_session_with_its_error(error: FatalError):
    world = World(records("a"))
    world.outlet.faults = [Fault(error)]
    async with running(world) as task:
        with pytest.raises(type(error)) as raised:
            await task
    assert raised.value is error
    assert world.outlet.closed
    assert world.consumer.stopped


async def test_a_fatal_error_of_the_worker_ends_the_session_and_commits_nothing():
    world = World(records("a"))
    world.worker.error = FatalError("the model is gone", reason="model_failed")
    async with running(world) as task:
        with pytest.raises(FatalError, match="the model is gone"):
            await task
    assert world.outlet.committed is None


async def test_a_partition_that_can_not_be_opened_ends_the_session():
    world = World(records("a"))

    async def refuse() -> int | None:
        raise TransientError("no coordinator", reason="delivery")

    world.outlet.open = refuse  # type: ignore[method-assign]
    async with running(world) as task:
        with pytest.raises(TransientError, match="no coordinator"):
            await task
    assert world.outlet.closed
