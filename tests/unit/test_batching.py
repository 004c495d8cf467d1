"""The batcher: when a batch closes, and what is in it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from workers.batching import Batcher


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


def light(names: str) -> list[tuple[str, int]]:
    return [(name, 1) for name in names]


def test_nothing_is_due_while_nothing_is_here():
    empty = batcher(Clock())
    assert empty.due_in() is None
    empty.extend([])
    assert empty.due_in() is None


def test_a_batch_closes_at_its_number_of_items_and_the_rest_waits():
    filled = batcher(Clock())
    filled.extend(light("abc"))
    assert filled.due_in() == 2.0
    filled.extend(light("def"))
    assert filled.due_in() == 0
    assert filled.take() == list("abcd")
    assert len(filled) == 2
    assert filled.due_in() == 2.0


def test_a_batch_closes_at_its_cost_before_the_item_that_would_exceed_it():
    costly = batcher(Clock())
    costly.extend([("a", 60)])
    assert costly.due_in() == 2.0
    costly.extend([("b", 50)])
    assert costly.due_in() == 0
    assert costly.take() == ["a"]
    assert costly.due_in() == 2.0


def test_a_batch_may_cost_just_the_limit():
    costly = batcher(Clock())
    costly.extend([("a", 60), ("b", 40), ("c", 1)])
    assert costly.take() == ["a", "b"]


def test_an_item_that_costs_more_than_a_batch_may_stands_alone():
    costly = batcher(Clock())
    costly.extend([("a", 1), ("huge", 5_000), ("b", 1)])
    assert [costly.take(), costly.take(), costly.take()] == [["a"], ["huge"], ["b"]]


def test_the_deadline_counts_from_the_first_item_and_not_from_the_last():
    clock = Clock()
    waiting = batcher(clock)
    waiting.extend(light("a"))
    clock.now += 1.5
    waiting.extend(light("b"))
    assert waiting.due_in() == 0.5
    clock.now += 0.5
    assert waiting.due_in() == 0
    assert waiting.take() == ["a", "b"]
    assert waiting.due_in() is None


def test_what_is_left_of_an_arrival_keeps_its_deadline():
    clock = Clock()
    waiting = batcher(clock)
    waiting.extend(light("abcde"))
    clock.now += 1.0
    waiting.extend(light("f"))
    assert waiting.take() == list("abcd")
    assert waiting.due_in() == 1.0  # of e, which came first


def test_the_next_deadline_counts_from_the_first_item_that_is_left():
    clock = Clock()
    waiting = batcher(clock)
    waiting.extend(light("abcd"))
    clock.now += 1.0
    waiting.extend(light("e"))
    assert waiting.take() == list("abcd")
    assert waiting.due_in() == 2.0


def test_a_deadline_long_past_is_due_now():
    clock = Clock()
    late = batcher(clock)
    late.extend(light("a"))
    clock.now += 60
    assert late.due_in() == 0


def test_flush_closes_what_is_here_and_ends_when_it_is_empty():
    clock = Clock()
    flushed = batcher(clock)
    flushed.extend(light("abcdef"))
    flushed.flush()
    assert flushed.due_in() == 0
    assert flushed.take() == list("abcd")
    assert flushed.due_in() == 0
    assert flushed.take() == list("ef")
    assert flushed.due_in() is None
    flushed.extend(light("g"))
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
        tried.extend((item, item[1]) for item in came)
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
