"""Delivery of a partition: a fault at each of its numbered steps, and what is committed after it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from aiokafka import TopicPartition

from stream import delivery as delivery_module
from stream.delivery import ATTEMPTS, PartitionDelivery
from stream.outlet import FencedError, RecordTooLargeError
from stream.records import Item, OutputRecord
from tests.unit.stream.fakes import FakeOutlet, Fault, items, lost_connection
from workers.errors import FatalError, TransientError

PARTITION = TopicPartition("in", 3)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_module, "FIRST_BACKOFF_S", 0)


class Told:
    """What the delivery built and what it said was done."""

    def __init__(self) -> None:
        self.done: list[list[int]] = []
        self.omitted: list[bool] = []

    def build(self, answers: Sequence[Item], omit_large: bool) -> list[OutputRecord]:
        self.omitted.append(omit_large)
        return [OutputRecord("out", None, b"%d" % item.record.offset, []) for item in answers]

    def is_done(self, answers: Sequence[Item]) -> None:
        self.done.append([item.record.offset for item in answers])


def make(outlet: FakeOutlet, told: Told, max_items: int = 100) -> PartitionDelivery:
    return PartitionDelivery(PARTITION, outlet, told.build, told.is_done, max_items=max_items)


@asynccontextmanager
async def running(delivery: PartitionDelivery) -> AsyncIterator["asyncio.Task[None]"]:
    await delivery.open()
    task = asyncio.create_task(delivery.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await delivery.close()


def written(outlet: FakeOutlet) -> list[int]:
    return [int(record.value or b"-1") for record in outlet.records]


async def deliver(outlet: FakeOutlet, told: Told, *offsets: int, max_items: int = 100) -> PartitionDelivery:
    """Hand over answers and wait until they are committed."""
    delivery = make(outlet, told, max_items)
    async with running(delivery) as task:
        delivery.took(len(offsets), 10 * len(offsets), offsets[-1] + 1)
        delivery.answer(items(delivery, *offsets))
        drained = asyncio.create_task(delivery.drained())
        await asyncio.wait({drained, task}, return_when=asyncio.FIRST_COMPLETED)
        drained.cancel()
        if task.done():
            task.result()
    return delivery


async def test_answers_are_written_in_order_with_the_offset_after_the_last():
    outlet, told = FakeOutlet(), Told()
    delivery = await deliver(outlet, told, 0, 1, 2)
    assert written(outlet) == [0, 1, 2]
    assert outlet.committed == 3
    assert told.done == [[0, 1, 2]]
    assert (delivery.pending, delivery.pending_bytes) == (0, 0)


async def test_chunks_are_no_larger_than_allowed_and_keep_the_order():
    outlet, told = FakeOutlet(), Told()
    await deliver(outlet, told, *range(7), max_items=3)
    assert told.done == [[0, 1, 2], [3, 4, 5], [6]]
    assert written(outlet) == list(range(7))


async def test_it_starts_from_the_committed_offset():
    delivery = make(FakeOutlet(committed=40), Told())
    assert await delivery.open() == 40
    assert delivery.next_offset == 40


async def test_without_a_committed_offset_nothing_is_skipped():
    delivery = make(FakeOutlet(), Told())
    assert await delivery.open() is None
    assert delivery.next_offset == 0


async def test_drained_waits_for_what_was_taken_in_and_not_yet_answered():
    outlet, told = FakeOutlet(), Told()
    delivery = make(outlet, told)
    async with running(delivery):
        delivery.took(2, 20, 2)
        delivery.answer(items(delivery, 0))
        drained = asyncio.create_task(delivery.drained())
        while not told.done:  # noqa: ASYNC110 - the delivery runs in this loop
            await asyncio.sleep(0)
        assert not drained.done()
        assert (delivery.pending, delivery.pending_bytes) == (1, 10)
        delivery.answer(items(delivery, 1))
        await drained
    assert outlet.committed == 2


async def test_step_3_failing_before_the_commit_is_written_once_more():
    outlet, told = FakeOutlet([Fault(lost_connection())]), Told()
    await deliver(outlet, told, 0, 1)
    assert len(outlet.writes) == 2
    assert written(outlet) == [0, 1]
    assert outlet.committed == 2
    assert outlet.opened == 2
    assert told.done == [[0, 1]]


async def test_step_3_whose_answer_was_lost_after_the_commit_is_not_written_again():
    outlet, told = FakeOutlet([Fault(lost_connection(), committed=True)]), Told()
    await deliver(outlet, told, 0, 1)
    assert len(outlet.writes) == 1
    assert written(outlet) == [0, 1]
    assert told.done == [[0, 1]]


async def test_the_chunk_after_a_lost_answer_is_held_against_the_new_offset():
    faults = [Fault(lost_connection(), committed=True), Fault(lost_connection()), None]
    outlet, told = FakeOutlet(faults), Told()
    await deliver(outlet, told, 0, 1, max_items=1)
    assert written(outlet) == [0, 1]
    assert outlet.committed == 2


@pytest.mark.parametrize("moved_to", [1, 7])
async def test_step_4_finding_another_offset_gives_the_session_up(moved_to: int):
    outlet, told = FakeOutlet([Fault(lost_connection(), moved_to=moved_to)]), Told()
    with pytest.raises(FencedError, match="another worker was here"):
        await deliver(outlet, told, 0, 1)
    assert told.done == []
    assert written(outlet) == []


async def test_a_fence_in_step_3_gives_the_session_up_without_another_try():
    outlet, told = FakeOutlet([Fault(FencedError("another worker owns the partition now"))]), Told()
    with pytest.raises(FencedError):
        await deliver(outlet, told, 0)
    assert len(outlet.writes) == 1
    assert outlet.opened == 1
    assert told.done == []


async def test_a_broker_that_stays_away_is_tried_a_few_times_and_nothing_is_said_to_be_done():
    outlet, told = FakeOutlet([Fault(lost_connection())] * 50), Told()
    with pytest.raises(TransientError, match="the connection is gone"):
        await deliver(outlet, told, 0)
    assert len(outlet.writes) == ATTEMPTS
    assert told.done == []


async def test_step_4_that_can_not_ask_what_was_committed_gives_the_session_up():
    outlet, told = FakeOutlet([Fault(lost_connection())]), Told()
    outlet.open_faults = [TransientError("no coordinator", reason="delivery")]
    with pytest.raises(TransientError, match="no coordinator"):
        await deliver(outlet, told, 0)
    assert told.done == []
    assert written(outlet) == []


async def test_what_is_too_large_is_written_without_its_value():
    outlet, told = FakeOutlet([Fault(RecordTooLargeError("too large"))]), Told()
    await deliver(outlet, told, 0)
    assert told.omitted == [False, True]
    assert written(outlet) == [0]


class SmallOutlet(FakeOutlet):
    """A broker that takes few records at a time, and one record never, until it is made smaller."""

    def __init__(self, told: Told, most: int, never: bytes) -> None:
        super().__init__()
        self._told, self._most, self._never = told, most, never

    async def write(self, records: Sequence[OutputRecord], next_offset: int, note: str = "") -> None:
        refused = any(record.value == self._never for record in records) and not self._told.omitted[-1]
        if refused or len(records) > self._most:
            raise RecordTooLargeError("too large")
        await super().write(records, next_offset, note)


async def test_only_what_is_too_large_by_itself_is_made_smaller():
    told = Told()
    outlet = SmallOutlet(told, most=3, never=b"5")
    delivery = await deliver(outlet, told, *range(8))
    assert written(outlet) == list(range(8))
    assert told.omitted.count(True) == 1
    assert told.done == [list(range(8))]
    assert (outlet.committed, delivery.pending) == (8, 0)


async def test_the_next_chunk_keeps_its_values():
    outlet, told = FakeOutlet([Fault(RecordTooLargeError("too large"))]), Told()
    await deliver(outlet, told, 0, 1, max_items=1)
    assert told.omitted == [False, True, False]


async def test_what_is_too_large_even_without_its_value_stops_the_worker():
    outlet, told = FakeOutlet([Fault(RecordTooLargeError("too large"))] * 3), Told()
    with pytest.raises(FatalError, match="even the facts"):
        await deliver(outlet, told, 0)
    assert told.done == []


async def test_what_turns_out_too_large_in_the_last_attempt_is_never_said_to_be_done():
    faults = [Fault(lost_connection())] * (ATTEMPTS - 1) + [Fault(RecordTooLargeError("too large"))]
    outlet, told = FakeOutlet(faults), Told()
    with pytest.raises(TransientError):
        await deliver(outlet, told, 0)
    assert told.done == []
    assert written(outlet) == []


async def test_step_2_failing_commits_nothing():
    def build(answers: Sequence[Item], omit_large: bool) -> list[OutputRecord]:
        raise RuntimeError("a result that can't be encoded")

    outlet = FakeOutlet()
    delivery = PartitionDelivery(PARTITION, outlet, build, lambda _: None, max_items=10)
    async with running(delivery) as task:
        delivery.took(1, 10, 1)
        delivery.answer(items(delivery, 0))
        with pytest.raises(RuntimeError):
            await task
    assert outlet.committed is None


async def test_closing_gives_up_what_is_not_committed():
    outlet, told = FakeOutlet(), Told()
    delivery = make(outlet, told)
    await delivery.open()
    delivery.took(1, 10, 1)
    delivery.answer(items(delivery, 0))
    await delivery.close()
    assert delivery.closed
    assert outlet.closed
    assert (outlet.committed, told.done) == (None, [])


Scenario = Callable[[], list[Fault | None]]


@pytest.mark.parametrize(
    "faults",
    [
        lambda: [None, Fault(lost_connection()), Fault(lost_connection(), committed=True), None],
        lambda: [Fault(lost_connection())] * 4,
        lambda: [Fault(lost_connection(), committed=True)] * 9,
        lambda: [Fault(RecordTooLargeError("x")), Fault(lost_connection()), None, Fault(lost_connection())],
    ],
)
async def test_whatever_fails_on_the_way_each_input_is_written_once_and_in_order(faults: Scenario):
    outlet, told = FakeOutlet(faults()), Told()
    await deliver(outlet, told, *range(10), max_items=2)
    assert written(outlet) == list(range(10))
    assert [offset for chunk in told.done for offset in chunk] == list(range(10))
    assert outlet.committed == 10
