"""The lane's protocol in every order of events: answered once, none lost, committed never back.

The code that runs is the lane's own. Each promise is checked after each event, in every state that can be
reached; at the end of each run the faults stop, and all that is left must be answered. Mutants of the code,
each with one fault in its protocol, show that the model would notice. `MODEL_RUNS=20000` takes longer ways.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from aiokafka import TopicPartition
from aiokafka.producer.transaction_manager import TransactionManager

from stream import delivery as delivery_module
from stream.claims import Claims
from stream.delivery import PartitionDelivery
from stream.outlet import Committed
from stream.transactions import Transactions
from tests.model.explorer import Action, ViolationError, explore, wander
from tests.model.lane_world import Bounds, LaneWorld

RUNS = int(os.environ.get("MODEL_RUNS", "300"))


@pytest.fixture(autouse=True)
def _quick_and_quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(delivery_module, "FIRST_BACKOFF_S", 0)
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(
    "bounds",
    [
        pytest.param(Bounds(inputs=2, moves=1, faults=2, crashes=0), id="one worker, two faults"),
        pytest.param(Bounds(inputs=1, moves=2, faults=0, crashes=1), id="two owners, one of them dies"),
        pytest.param(Bounds(inputs=2, moves=2, faults=0, crashes=0), id="two owners, one of them a zombie"),
        pytest.param(
            Bounds(inputs=1, moves=2, faults=0, crashes=0, whole_session=True), id="two whole sessions"
        ),
        pytest.param(
            Bounds(inputs=1, moves=1, faults=1, crashes=1, whole_session=True, slow_metadata=True),
            id="a whole session, one fault",
        ),
    ],
)
def test_in_every_order_each_input_is_answered_once_and_none_is_lost(bounds: Bounds) -> None:
    found = explore(lambda: LaneWorld(bounds))
    assert found.complete
    assert found.ends
    assert found.states > 100


@pytest.mark.parametrize("whole_session", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_on_long_random_ways_each_input_is_answered_once_and_none_is_lost(
    seed: int, whole_session: bool
) -> None:
    bounds = Bounds(inputs=3, workers=3, moves=6, faults=4, crashes=2, whole_session=whole_session)
    assert wander(lambda: LaneWorld(bounds), seed, RUNS).ends == RUNS


def test_at_least_once_loses_nothing_in_any_order() -> None:
    bounds = Bounds(inputs=1, moves=2, faults=1, crashes=0, exactly_once=False)
    assert explore(lambda: LaneWorld(bounds)).complete


@pytest.mark.parametrize("bounds", [Bounds(1, 2, 2, 0, 0), Bounds(1, 1, 1, 2, 0)])
def test_the_short_way_to_tell_states_apart_reaches_all_that_the_long_one_does(bounds: Bounds) -> None:
    """States are told apart by where the code stands; by all that it has learnt there are many times more."""

    def reached(whole_history: bool) -> set[object]:
        seen: set[object] = set()

        class Watched(LaneWorld):
            def check(self) -> None:
                super().check()
                seen.add((self.broker.key(), tuple(sorted(self.left.items()))))

        sized = Bounds(
            bounds.inputs, bounds.workers, bounds.moves, bounds.faults, 0, whole_history=whole_history
        )
        assert explore(lambda: Watched(sized), max_states=60_000).complete
        return seen

    assert reached(True) == reached(False)


# Mutants: each has one fault in its protocol.


class SkipsTheLock(Claims):
    """Step 1 with a lock that is nobody else's: two may claim at once."""

    async def _claim(self, partition: TopicPartition, name: str) -> Committed:
        make = self._make_producer

        def own(wanted: str) -> Any:
            return make(f"{name}.{wanted}" if wanted.endswith("in.0") else wanted)

        with patch.object(self, "_make_producer", own):
            return await super()._claim(partition, name)


class ReadsBeforeItLocks(Claims):
    """Step 2 before step 1."""

    async def _claim(self, partition: TopicPartition, name: str) -> Committed:
        ask, early = self._committed, [await self._committed(partition)]

        async def first_from_memory(of: TopicPartition) -> Committed | None:
            return early.pop() if early else await ask(of)

        with patch.object(self, "_committed", first_from_memory):
            return await super()._claim(partition, name)


class LetsTheFormerWriterLive(Claims):
    """No step 3."""

    async def _fence(self, writer: str) -> None:
        return


class ReadsOnce(Claims):
    """No step 4: the former writer may have committed since step 2."""

    async def _claim(self, partition: TopicPartition, name: str) -> Committed:
        ask, known = self._committed, list[Committed | None]()

        async def remembered(of: TopicPartition) -> Committed | None:
            if not known:
                known.append(await ask(of))
            return known[0]

        with patch.object(self, "_committed", remembered):
            return await super()._claim(partition, name)


class ClaimsForNobody(Claims):
    """No step 5 that anybody could see: its name stands nowhere until it writes."""

    async def _claim(self, partition: TopicPartition, name: str) -> Committed:
        return await super()._claim(partition, "nobody")


class StartsItsNameLate(Transactions):
    """Claims under a name that others may have ended before it is started."""

    async def _open_all(self) -> None:
        make, late = self._make_producer, list[Any]()

        async def nothing() -> None:
            return

        def make_late(name: str) -> Any:
            producer = make(name)
            if not late:
                late.append(producer.start)
                producer.start = nothing
            return producer

        with patch.object(self, "_make_producer", make_late):
            await super()._open_all()
        await late[0]()


class KeepsItsProducer(Transactions):
    """After an unknown outcome it asks what was committed, but does not fence its own past."""

    async def _open_all(self) -> None:
        producer = self._producer
        if producer is None:
            return await super()._open_all()
        await self._end_running()
        manager = producer._txn_manager = TransactionManager("any", 60_000)
        manager.set_pid_and_epoch(1, producer.epoch)
        self._broken = False
        for partition in self._owners:
            found = await self._claims._committed(partition)
            self._claimed[partition] = found or Committed(0)
        return None


class CommitsTheOffsetFirst(Transactions):
    """Two transactions in place of one."""

    async def _transact(self, requests: Sequence[Any]) -> None:
        await super()._transact([replace(request, records=[]) for request in requests])
        await super()._transact(requests)


class NeverAsks(PartitionDelivery):
    """Takes an unknown outcome for a failure."""

    async def _was_committed(self, next_offset: int) -> bool:
        await super()._was_committed(next_offset)
        return False


class Hopes(PartitionDelivery):
    """Takes an unknown outcome for a success."""

    async def _was_committed(self, next_offset: int) -> bool:
        await self._outlet.open()
        return True


class ForgetsAnother(PartitionDelivery):
    """Goes on although another worker has been here."""

    async def _was_committed(self, next_offset: int) -> bool:
        return await self._outlet.open() == next_offset


ONE_WORKER = Bounds(inputs=2, workers=1, moves=1, faults=1, crashes=0)
TWO_WORKERS = Bounds(inputs=2, workers=2, moves=2, faults=0, crashes=0)


@pytest.mark.parametrize(
    "claims", [SkipsTheLock, ReadsBeforeItLocks, LetsTheFormerWriterLive, ReadsOnce, ClaimsForNobody]
)
def test_a_claim_with_a_step_left_out_is_found_out(claims: type[Claims]) -> None:
    with pytest.raises(ViolationError, match=r"answered twice|out of order|went back|committed \d with"):
        explore(lambda: LaneWorld(TWO_WORKERS, claims_type=claims))


@pytest.mark.parametrize(
    ("bounds", "writer", "broken"),
    [
        (TWO_WORKERS, StartsItsNameLate, r"answered twice|out of order|went back|committed \d with"),
        (ONE_WORKER, KeepsItsProducer, "answered twice|committed 1 with"),
        (Bounds(1, 1, 1, 0, 1), CommitsTheOffsetFirst, r"committed 1 with \[\] answered"),
    ],
)
def test_a_writer_with_a_fault_in_its_protocol_is_found_out(
    bounds: Bounds, writer: type[Transactions], broken: str
) -> None:
    with pytest.raises(ViolationError, match=broken):
        explore(lambda: LaneWorld(bounds, transactions_type=writer))


@pytest.mark.parametrize(
    ("bounds", "delivery", "broken"),
    [
        (ONE_WORKER, NeverAsks, "answered twice"),
        (ONE_WORKER, Hopes, "says that|committed"),
    ],
)
def test_a_delivery_with_a_fault_in_its_protocol_is_found_out(
    bounds: Bounds, delivery: type[PartitionDelivery], broken: str
) -> None:
    with pytest.raises(ViolationError, match=broken):
        explore(lambda: LaneWorld(bounds, delivery_type=delivery))


class SlowZombie(LaneWorld):
    """Worker 0 stands still from its first write until worker 1 has answered everything."""

    def actions(self) -> list[Action]:
        found = super().actions()
        if self.broker.committed == self.bounds.inputs:
            return found
        if self.workers[1].used:
            return [action for action in found if "worker 0" not in action.name and action.costs is None]
        if any("produce" in request.name for request in self.network):
            return [action for action in found if action.name == "worker 1 gets the partition"]
        return [
            action for action in found if action.costs is None or action.name.endswith("gets the partition")
        ]


def test_a_delivery_that_goes_on_where_another_worker_was_is_found_out() -> None:
    bounds = Bounds(inputs=2, workers=2, moves=2, faults=2, crashes=0)  # two: one that arrives is fenced
    explore(lambda: SlowZombie(bounds))
    with pytest.raises(ViolationError, match=r"answered twice|out of order|went back"):
        explore(lambda: SlowZombie(bounds, delivery_type=ForgetsAnother))
