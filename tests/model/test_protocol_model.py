"""The lane's protocol in every order of events: answered once, none lost, committed never back.

The code that runs is the lane's own. Each promise is checked after each event, in every state that can be
reached; at the end of each run the faults stop, and all that is left must be answered. Mutants of the code,
each with one fault in its protocol, show that the model would notice. `MODEL_RUNS=20000` takes longer ways.
"""

import logging
import os
from collections.abc import Iterator, Sequence

import pytest
from aiokafka.producer.transaction_manager import TransactionManager

from stream import delivery as delivery_module
from stream.delivery import PartitionDelivery
from stream.outlet import TransactionalOutlet
from stream.records import OutputRecord
from tests.model.explorer import Action, ViolationError, explore, wander
from tests.model.lane_world import Bounds, LaneWorld
from tests.model.model_worker import GROUP

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


class ReadsBeforeItFences(TransactionalOutlet):
    """The bug that the order of `open` is there for: a zombie may commit between the two."""

    async def open(self) -> int | None:
        await self.close()
        found = await self._committed(self._partition)
        self._producer = self._make_producer()
        await self._producer.start()
        return found


class KeepsItsProducer(TransactionalOutlet):
    """After an unknown outcome it asks what was committed, but does not fence its own past."""

    async def open(self) -> int | None:
        if self._producer is None:
            return await super().open()
        self._in_transaction = False
        manager = self._producer._txn_manager = TransactionManager("any", 60_000)
        manager.set_pid_and_epoch(1, self._producer.epoch)  # type: ignore[attr-defined]
        return await self._committed(self._partition)


class CommitsTheOffsetFirst(TransactionalOutlet):
    """Two transactions in place of one."""

    async def write(self, records: Sequence[OutputRecord], next_offset: int, note: str = "") -> None:
        await super().write([], next_offset, note)
        await super().write(records, next_offset, note)


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


class LeavesNotes(PartitionDelivery):
    """What this model once found in stream/delivery.py: a note under way outlived its delivery."""

    async def note(self, text: str, first_offset: int) -> None:
        await self._note(text, first_offset)


ONE_WORKER = Bounds(inputs=2, workers=1, moves=1, faults=1, crashes=0)
TWO_WORKERS = Bounds(inputs=2, workers=2, moves=2, faults=0, crashes=0)


@pytest.mark.parametrize(
    ("bounds", "outlet", "broken"),
    [
        (TWO_WORKERS, ReadsBeforeItFences, "answered twice|out of order"),
        (ONE_WORKER, KeepsItsProducer, "answered twice|committed 1 with"),
        (Bounds(1, 1, 1, 0, 1), CommitsTheOffsetFirst, r"committed 1 with \[\] answered"),
    ],
)
def test_an_outlet_with_a_fault_in_its_protocol_is_found_out(
    bounds: Bounds, outlet: type[TransactionalOutlet], broken: str
) -> None:
    with pytest.raises(ViolationError, match=broken):
        explore(lambda: LaneWorld(bounds, outlet_type=outlet))


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


def test_a_session_that_waits_for_a_note_that_nobody_answers_is_found_out() -> None:
    bounds = Bounds(inputs=1, workers=1, moves=3, faults=1, crashes=0, whole_session=True)
    with pytest.raises(ViolationError, match="owns the partition and is idle"):
        explore(lambda: LaneWorld(bounds, delivery_type=LeavesNotes))


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


def test_workers_that_do_not_fence_each_other_are_found_out() -> None:
    with pytest.raises(ViolationError, match=r"answered twice|went back"):
        explore(lambda: LaneWorld(TWO_WORKERS, transactional_id=lambda worker: f"{GROUP}.{worker}"))
