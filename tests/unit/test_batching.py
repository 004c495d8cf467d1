"""The batcher: when a batch closes, and what is in it."""

import math
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.batching import EARLY, EARLY_S, Batcher


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def batcher(
    clock: Clock, *, max_items: int = 4, max_cost: int = 100, deadline_s: float = 2.0
) -> Batcher[str]:
    return Batcher(max_items=max_items, max_cost=max_cost, deadline_s=deadline_s, clock=clock)


def put(batcher: Batcher[Any], pairs: Iterable[tuple[Any, int]]) -> None:
    """Add items, each with its cost."""
    came = list(pairs)
    batcher.extend([item for item, _ in came], [cost for _, cost in came])


def light(names: str) -> list[tuple[str, int]]:
    return [(name, 1) for name in names]


def test_nothing_is_due_while_nothing_is_here():
    empty = batcher(Clock())
    assert empty.due_in() is None
    put(empty, [])
    assert empty.due_in() is None


def test_a_batch_closes_at_its_number_of_items_and_the_rest_waits():
    filled = batcher(Clock())
    put(filled, light("abc"))
    assert filled.due_in() == 2.0
    put(filled, light("def"))
    assert filled.due_in() == 0
    assert filled.take() == list("abcd")
    assert len(filled) == 2
    assert filled.due_in() == 2.0


def test_a_batch_closes_at_its_cost_before_the_item_that_would_exceed_it():
    costly = batcher(Clock())
    put(costly, [("a", 60)])
    assert costly.due_in() == 2.0
    put(costly, [("b", 50)])
    assert costly.due_in() == 0
    assert costly.take() == ["a"]
    assert costly.due_in() == 2.0


def test_a_batch_may_cost_just_the_limit():
    costly = batcher(Clock())
    put(costly, [("a", 60), ("b", 40), ("c", 1)])
    assert costly.take() == ["a", "b"]


def test_an_item_that_costs_more_than_a_batch_may_stands_alone():
    costly = batcher(Clock())
    put(costly, [("a", 1), ("huge", 5_000), ("b", 1)])
    assert [costly.take(), costly.take(), costly.take()] == [["a"], ["huge"], ["b"]]


def test_the_deadline_counts_from_the_first_item_and_not_from_the_last():
    clock = Clock()
    waiting = batcher(clock)
    put(waiting, light("a"))
    clock.now += 1.5
    put(waiting, light("b"))
    assert waiting.due_in() == 0.5
    clock.now += 0.5
    assert waiting.due_in() == 0
    assert waiting.take() == ["a", "b"]
    assert waiting.due_in() is None


def test_what_is_left_of_an_arrival_keeps_its_deadline():
    clock = Clock()
    waiting = batcher(clock)
    put(waiting, light("abcde"))
    clock.now += 1.0
    put(waiting, light("f"))
    assert waiting.take() == list("abcd")
    assert waiting.due_in() == 1.0  # of e, which came first


def test_the_next_deadline_counts_from_the_first_item_that_is_left():
    clock = Clock()
    waiting = batcher(clock)
    put(waiting, light("abcd"))
    clock.now += 1.0
    put(waiting, light("e"))
    assert waiting.take() == list("abcd")
    assert waiting.due_in() == 2.0


def test_a_deadline_long_past_is_due_now():
    clock = Clock()
    late = batcher(clock)
    put(late, light("a"))
    clock.now += 60
    assert late.due_in() == 0


def test_flush_closes_what_is_here_and_ends_when_it_is_empty():
    clock = Clock()
    flushed = batcher(clock)
    put(flushed, light("abcdef"))
    flushed.flush()
    assert flushed.due_in() == 0
    assert flushed.take() == list("abcd")
    assert flushed.due_in() == 0
    assert flushed.take() == list("ef")
    assert flushed.due_in() is None
    put(flushed, light("g"))
    assert flushed.due_in() == 2.0


ARRIVALS = st.lists(
    st.tuples(st.lists(st.integers(0, 150), max_size=9), st.floats(0, 3), st.booleans()), max_size=20
)


@settings(max_examples=200, deadline=None)
@given(ARRIVALS, st.integers(1, 6), st.integers(1, 200))
def test_every_item_comes_out_once_in_order_in_batches_within_the_limits(arrivals, max_items, max_cost):
    clock = Clock()
    tried: Batcher[tuple[int, int]] = Batcher(
        max_items=max_items, max_cost=max_cost, deadline_s=2.0, clock=clock
    )
    sent: list[tuple[int, int]] = []
    batches: list[list[tuple[int, int]]] = []
    for costs, wait_s, flush in arrivals:
        came = [(len(sent) + place, cost) for place, cost in enumerate(costs)]
        sent += came
        put(tried, ((item, item[1]) for item in came))
        if flush:
            tried.flush()
        clock.now += wait_s
        while tried.due_in() == 0:
            batches.append(tried.take())
        due_s = tried.due_in()
        assert due_s is None or 0 < due_s <= 2.0
    tried.flush()
    while tried.due_in() == 0:
        batches.append(tried.take())
    assert [item for batch in batches for item in batch] == sent
    assert len(tried) == 0
    assert tried.due_in() is None
    for batch in batches:
        assert 1 <= len(batch) <= max_items
        assert len(batch) == 1 or sum(cost for _, cost in batch) <= max_cost


# With a target latency. A unit of cost is a millisecond of work wherever `paced` taught the batcher.


def adaptive(clock: Clock, *, max_items: int = 1_000, max_cost: int = 1_000) -> Batcher[str]:
    return Batcher(max_items=max_items, max_cost=max_cost, deadline_s=0.02, target_s=0.09, clock=clock)


def paced(batcher: Batcher[str], ms_per_cost: float = 1.0, preparing_ms: float = 0.0) -> Batcher[str]:
    for _ in range(60):
        batcher.worked(10, 10 * ms_per_cost / 1_000, preparing_s=10 * preparing_ms / 1_000)
    return batcher


def test_on_a_quiet_feed_a_message_goes_at_once():
    quiet = paced(adaptive(Clock()))
    put(quiet, light("a"))
    assert quiet.due_in(0.0) == 0
    assert quiet.take() == ["a"]


def test_without_a_target_the_deadline_holds_even_while_the_model_is_idle():
    filled = batcher(Clock())
    put(filled, light("a"))
    assert filled.due_in(0.0) == 2.0


def test_while_the_model_works_messages_gather_until_it_is_nearly_free():
    busy = paced(adaptive(Clock()), preparing_ms=0.2)
    put(busy, light("x" * 10))
    assert busy.due_in() == math.inf
    assert busy.due_in(0.05) == pytest.approx(0.05 - EARLY * 0.002 - EARLY_S)
    put(busy, light("x" * 10))  # more to prepare: taken earlier
    assert busy.due_in(0.05) == pytest.approx(0.05 - EARLY * 0.004 - EARLY_S)
    assert busy.due_in(EARLY * 0.004 + EARLY_S) == pytest.approx(0.0, abs=1e-9)


def test_what_fills_a_batch_need_not_wait_for_the_model():
    full = paced(adaptive(Clock()))
    put(full, light("x" * 53))
    assert full.due_in() == math.inf
    put(full, light("x"))
    assert full.due_in() == 0


def test_a_batcher_knows_how_long_the_model_will_take():
    known = paced(adaptive(Clock()), ms_per_cost=2.0, preparing_ms=1.0)
    assert known.works_for(30) == pytest.approx(0.06)
    assert adaptive(Clock()).works_for(30) == 0


def test_a_batch_takes_three_fifths_of_the_target():
    held = paced(adaptive(Clock()))
    put(held, light("x" * 60))  # 60 ms of work wait, less than the target of 90
    assert held.due_in() == 0
    assert len(held.take()) == 54


def test_preparing_counts_as_work():
    held = paced(adaptive(Clock()), ms_per_cost=0.75, preparing_ms=0.25)
    put(held, light("x" * 60))
    assert len(held.take()) == 54


def test_batches_grow_with_the_backlog_up_to_the_limit():
    sizes = []
    for backlog in (45, 90, 180, 900, 2_700, 9_000):
        grown = paced(adaptive(Clock(), max_items=10_000))
        put(grown, light("x" * backlog))
        sizes.append(len(grown.take()))
    assert sizes == [45, 54, 108, 540, 1_000, 1_000]


def test_batches_shrink_again_when_the_burst_is_over():
    burst = paced(adaptive(Clock()))
    put(burst, light("x" * 600))
    sizes = []
    while len(burst):
        sizes.append(len(burst.take()))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes == [360, 144, 58, 38]


def test_a_slower_model_gets_smaller_batches():
    slow = paced(paced(adaptive(Clock())), ms_per_cost=3.0)
    put(slow, light("x" * 29))
    assert len(slow.take()) == 18


def test_a_model_too_slow_for_the_target_works_on_one_after_the_other_and_never_stops():
    slow = paced(adaptive(Clock()), ms_per_cost=500.0)
    put(slow, light("a"))
    assert slow.due_in() == 0
    assert slow.take() == ["a"]


def test_an_unknown_pace_leaves_the_limits_as_they_are():
    fresh = adaptive(Clock(), max_cost=40)
    put(fresh, light("x" * 50))
    assert fresh.limit == 40
    assert len(fresh.take()) == 40


def test_a_batch_knows_what_it_cost():
    costly = batcher(Clock())
    put(costly, [("a", 60), ("b", 30), ("c", 30)])
    costly.take()
    assert costly.taken_cost == 90


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=30), st.floats(0.05, 4.0))
def test_a_target_loses_nothing_and_keeps_the_limits(arrivals, ms_per_cost):
    """A model at a steady pace, with new messages coming while it works."""
    clock = Clock()
    tried = adaptive(clock, max_items=50, max_cost=60)
    sent: list[str] = []
    came: list[str] = []
    for count in arrivals:
        new = [str(len(sent) + place) for place in range(count)]
        sent += new
        put(tried, ((name, 1) for name in new))
        while tried.due_in(0.0) == 0:
            batch = tried.take()
            assert 1 <= len(batch) <= 50
            came += batch
            seconds = len(batch) * ms_per_cost / 1_000
            clock.now += seconds
            tried.worked(tried.taken_cost, seconds)
    assert came == sent
