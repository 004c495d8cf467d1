"""One transaction takes what all partitions have ready, and none of them suffers from another."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError

from stream.claims import Claims
from stream.outlet import WRITER, Committed, FencedError, RecordTooLargeError
from stream.records import OutputRecord
from stream.transactions import TransactionalOutlet, Transactions
from workers.errors import TransientError

PARTITIONS = [TopicPartition("in", number) for number in range(3)]
TOO_LARGE = b"too large"


class Broker:
    """What was committed, and by whom; `fails` is raised by the next commit."""

    def __init__(self) -> None:
        self.offsets: dict[TopicPartition, tuple[int, str]] = {}
        self.committed: list[dict[TopicPartition, int]] = []
        self.values: list[bytes | None] = []
        self.fails: BaseException | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def offset(self, partition: TopicPartition) -> Committed | None:
        if partition not in self.offsets:
            return None
        offset, beside = self.offsets[partition]
        found = Committed(offset)
        found.writer, _, found.note = beside.removeprefix(WRITER).partition(" ")
        return found


class Producer:
    """A producer whose writes the broker takes as they come."""

    _sender = None

    def __init__(self, broker: Broker, name: str) -> None:
        self.name = name
        self.client = self
        self._broker = broker
        self._offsets: dict[TopicPartition, Any] = {}
        self._values: list[bytes | None] = []

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        return

    async def close(self) -> None:
        return

    async def add_topic(self, topic: str) -> None:
        return

    async def partitions_for(self, topic: str) -> set[int]:
        return {0}

    def create_batch(self) -> "Producer":
        return self

    def append(self, *, value: bytes | None, **_: Any) -> object:
        self._values.append(value)
        return self

    async def send_batch(self, builder: Any, topic: str, *, partition: int) -> Any:
        sent = asyncio.get_running_loop().create_future()
        if TOO_LARGE in self._values:
            sent.set_exception(MessageSizeTooLargeError("too large"))
        else:
            sent.set_result(None)
        return sent

    async def begin_transaction(self) -> None:
        self._offsets, self._values = {}, []

    async def send_offsets_to_transaction(self, offsets: dict[TopicPartition, Any], group: str) -> None:
        self._offsets = offsets

    async def commit_transaction(self) -> None:
        if "writer" in self.name:
            await self._broker.gate.wait()
            self._broker.committed.append({one: found.offset for one, found in self._offsets.items()})
            self._broker.values += self._values
        self._broker.offsets.update((one, (o.offset, o.metadata)) for one, o in self._offsets.items())
        if (error := self._broker.fails) is not None and "writer" in self.name:
            self._broker.fails = None
            raise error

    async def abort_transaction(self) -> None:
        return


class World:
    """Three partitions with one writer."""

    def __init__(self) -> None:
        self.broker = Broker()
        self.names: list[str] = []

        async def beginning(_: TopicPartition) -> int:
            return 0

        def make(name: str) -> Any:
            return Producer(self.broker, name)

        claims = Claims("g", make, self.broker.offset, beginning)
        self.transactions = Transactions("g", make, claims, self._new_name)
        self.outlets = [TransactionalOutlet(partition, self.transactions) for partition in PARTITIONS]

    def _new_name(self) -> str:
        self.names.append(f"writer.{len(self.names)}")
        return self.names[-1]

    async def open(self) -> Sequence[int]:
        return await asyncio.gather(*(outlet.open() for outlet in self.outlets))

    async def write(self, values: Sequence[bytes]) -> list[BaseException | None]:
        """Write a value of each partition, side by side."""
        return await asyncio.gather(
            *(outlet.write(_records(value), 1) for outlet, value in zip(self.outlets, values, strict=True)),
            return_exceptions=True,
        )


def _records(value: bytes) -> list[OutputRecord]:
    return [OutputRecord("out", None, value, [])]


async def test_what_all_partitions_have_ready_goes_into_one_transaction() -> None:
    world = World()
    assert await world.open() == [0, 0, 0]
    assert len(world.names) == 1, "claimed together"
    assert await world.write([b"a", b"b", b"c"]) == [None] * 3
    assert world.broker.committed == [dict.fromkeys(PARTITIONS, 1)]


async def test_what_comes_while_a_transaction_is_under_way_goes_into_the_next() -> None:
    world = World()
    await world.open()
    world.broker.gate.clear()
    tasks = [asyncio.ensure_future(world.outlets[0].write(_records(b"a"), 1))]
    await _a_few_turns()
    tasks += [asyncio.ensure_future(outlet.write(_records(b"b"), 1)) for outlet in world.outlets[1:]]
    await _a_few_turns()
    world.broker.gate.set()
    await asyncio.gather(*tasks)
    assert [len(one) for one in world.broker.committed] == [1, 2]


async def _a_few_turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_writer_that_failed_takes_a_new_name_and_claims_all_its_partitions_once() -> None:
    world = World()
    await world.open()
    world.broker.fails = KafkaConnectionError("the answer was lost")
    outcomes = await world.write([b"a", b"b", b"c"])
    assert [type(outcome) for outcome in outcomes] == [TransientError] * 3
    assert await world.open() == [1, 1, 1], "it had been committed"
    assert world.names == ["writer.0", "writer.1"]
    assert {beside.split(" ")[0] for _, beside in world.broker.offsets.values()} == {"writer=writer.1"}


async def _one_that_failed() -> World:
    """A world whose first partition's write was committed, and its answer lost."""
    world = World()
    await world.open()
    world.broker.fails = KafkaConnectionError("gone")
    with pytest.raises(TransientError):
        await world.outlets[0].write(_records(b"a"), 1)
    return world


async def test_a_partition_that_did_not_fail_goes_on_after_another_did() -> None:
    world = await _one_that_failed()
    await world.outlets[1].write(_records(b"b"), 1)
    assert await world.outlets[0].open() == 1
    assert len(world.names) == 2


async def test_a_partition_that_another_worker_wrote_is_given_up_when_all_are_claimed_again() -> None:
    world = await _one_that_failed()
    world.broker.offsets[PARTITIONS[1]] = (7, "writer=another ")
    with pytest.raises(FencedError, match="7"):
        await world.outlets[1].write(_records(b"b"), 1)


async def test_neighbours_of_a_record_that_is_too_large_are_written() -> None:
    world = World()
    await world.open()
    assert [type(o) for o in await world.write([b"a", TOO_LARGE, b"c"])] == [TransientError] * 3
    await world.open()

    async def refused() -> None:
        with pytest.raises(RecordTooLargeError):
            await world.outlets[1].write(_records(TOO_LARGE), 1)
        await world.outlets[1].open()  # as a delivery does, before it makes the record smaller

    first, third = (world.outlets[number].write(_records(b"x"), 1) for number in (0, 2))
    await asyncio.gather(first, refused(), third)
    assert world.broker.values == [b"x", b"x"]
    await world.outlets[1].write(_records(b"smaller"), 1)
    assert world.broker.committed == [{one: 1} for one in (PARTITIONS[0], PARTITIONS[2], PARTITIONS[1])]


async def test_of_two_who_opened_a_partition_only_the_later_one_writes() -> None:
    world = World()
    await world.open()
    later = TransactionalOutlet(PARTITIONS[0], world.transactions)
    await later.open()
    with pytest.raises(TransientError, match="closed"):
        await world.outlets[0].write(_records(b"a"), 1)
    await later.write(_records(b"b"), 1)
    await world.outlets[0].close()  # not its any more: nothing ends
    await later.write(_records(b"c"), 2)
    assert world.broker.values == [b"b", b"c"]


async def test_what_waits_is_not_written_once_its_partition_was_let_go() -> None:
    world = World()
    await world.open()
    world.broker.gate.clear()
    first = asyncio.ensure_future(world.outlets[0].write(_records(b"a"), 1))
    await _a_few_turns()
    second = asyncio.ensure_future(world.outlets[1].write(_records(b"b"), 1))
    await _a_few_turns()
    await world.outlets[1].close()
    world.broker.gate.set()
    await first
    assert [type(one) for one in await asyncio.gather(second, return_exceptions=True)] == [TransientError]
    assert world.broker.values == [b"a"]


async def test_what_waits_is_written_though_all_were_claimed_again_before_its_transaction_began() -> None:
    world = World()
    await world.open()

    async def writes() -> "asyncio.Future[None]":
        return asyncio.ensure_future(world.outlets[1].write(_records(b"b"), 1))

    writing = asyncio.ensure_future(writes())
    # Its turns of the loop fall just between the request and the first step of the task that would write it.
    await asyncio.ensure_future(TransactionalOutlet(PARTITIONS[0], world.transactions).open())
    async with asyncio.timeout(5):
        await (await writing)
    assert world.broker.values == [b"b"]
