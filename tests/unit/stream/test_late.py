"""Messages that may work later: they hold back what follows in their partition, and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio
from aiokafka import TopicPartition

from stream.delivery import PartitionDelivery
from stream.inference import Inference
from stream.late import MAX_LATE_GROUPS, Outcomes
from stream.records import Item, OutputRecord
from tests.unit.stream.fakes import FakeOutlet, Record
from workers.errors import FatalError, MessageError, PipelineError, TransientError


class Away:
    """Answers in capitals; claim checks named in `away` can't be reached."""

    model = "away"
    version = "1"

    def __init__(self) -> None:
        self.away: set[str] = set()
        self.fatal = False

    def load(self) -> None:
        return

    def cost(self, message: str) -> int:
        return 1

    def prepare(self, batch: Sequence[str]) -> Sequence[str]:
        return batch

    def run(self, prepared: Sequence[str | PipelineError]) -> Sequence[str | PipelineError]:
        if self.fatal:
            raise FatalError("gone")
        late = TransientError("away", reason="claim_check_unreachable")
        return [late if one in self.away else str(one).upper() for one in prepared]


class World:
    """Two partitions' deliveries, and waits that last until they are let go."""

    def __init__(self) -> None:
        self.worker = Away()
        self.waits = asyncio.Semaphore(0)
        self.errors: list[BaseException] = []
        self.inference = Inference(self.worker, retries=2, sleep=self._sleep)
        self.outcomes = Outcomes(self.inference, self.errors.append)
        self.outlets = [FakeOutlet(), FakeOutlet()]
        self.deliveries = [
            PartitionDelivery(TopicPartition("in", n), outlet, self._build, lambda _: None, max_items=100)
            for n, outlet in enumerate(self.outlets)
        ]
        self._taken = [0, 0]

    async def _sleep(self, seconds: float) -> None:
        await self.waits.acquire()

    @staticmethod
    def _build(answers: Sequence[Item], omit_large: bool) -> list[OutputRecord]:
        said = [
            one.outcome.reason if isinstance(one.outcome, PipelineError) else one.outcome for one in answers
        ]
        return [OutputRecord("out", None, text.encode(), []) for text in said]

    async def batch(self, *messages: tuple[int, str]) -> None:
        """Infer on (partition, message) pairs and hand their outcomes over."""
        items = []
        for place, message in messages:
            delivery, offset = self.deliveries[place], self._taken[place]
            self._taken[place] += 1
            delivery.took(1, 1, offset + 1)
            items.append(Item(Record(offset=offset, partition=place), message, 1, delivery))
        self.outcomes.give(items, await self.inference.run([m for _, m in messages], None))

    def answers(self, place: int) -> list[str]:
        return [(record.value or b"").decode() for record in self.outlets[place].records]

    async def until(self, place: int, *expected: str) -> None:
        async with asyncio.timeout(30):
            while self.answers(place) != list(expected):  # noqa: ASYNC110 - all runs in this loop
                await asyncio.sleep(0)


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    tasks = []
    for delivery in made.deliveries:
        await delivery.open()
        tasks.append(asyncio.create_task(delivery.run()))
    yield made
    await made.outcomes.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    made.inference.close()


async def test_neighbours_and_the_next_batch_do_not_wait_for_a_missing_claim_check(world: World):
    world.worker.away = {"late"}
    await world.batch((0, "a"), (0, "late"), (1, "b"))
    await world.batch((1, "c"), (0, "d"))
    await world.until(1, "B", "C")
    await world.until(0, "A")  # d stands behind it
    world.worker.away = set()
    world.waits.release()
    await world.until(0, "A", "LATE", "D")
    assert world.outlets[0].committed == 3


async def test_what_stays_away_is_given_up_after_the_retries_and_what_is_behind_it_goes_out(world: World):
    world.worker.away = {"late"}
    await world.batch((0, "late"), (0, "a"))
    world.waits.release()
    world.waits.release()
    await world.until(0, "claim_check_unreachable", "A")


async def test_only_some_groups_are_late_at_a_time(world: World):
    world.worker.away = {"late"}
    for _ in range(MAX_LATE_GROUPS):
        await world.batch((0, "late"))
    room = asyncio.create_task(world.outcomes.room())
    await asyncio.sleep(0)
    assert not room.done()
    world.worker.away = set()
    world.waits.release()
    async with asyncio.timeout(30):
        await room


async def test_an_error_that_ends_the_worker_while_it_tries_again_ends_the_session(world: World):
    world.worker.away = {"late"}
    await world.batch((0, "late"))
    world.worker.fatal = True
    world.waits.release()
    async with asyncio.timeout(30):
        while not world.errors:  # noqa: ASYNC110 - all runs in this loop
            await asyncio.sleep(0)
    assert isinstance(world.errors[0], FatalError)
    assert world.answers(0) == []


async def test_a_message_that_could_not_be_decoded_is_not_tried_again(world: World):
    delivery = world.deliveries[0]
    delivery.took(1, 1, 1)
    world.outcomes.give([Item(Record(), MessageError("no", reason="not_json"), 1, delivery)], [])
    await world.until(0, "not_json")


@pytest.mark.parametrize("closed", [True, False])
async def test_what_is_late_for_a_partition_that_was_let_go_is_dropped(world: World, closed: bool):
    world.worker.away = {"late"}
    await world.batch((0, "late"), (1, "b"))
    if closed:
        await world.deliveries[0].close()
    world.worker.away = set()
    world.waits.release()
    await world.until(1, "B")
    await world.until(0, *([] if closed else ["LATE"]))
