"""A bounded batcher: a batch closes at a number of items, at a cost, or at a deadline from its first item.

With a target latency it adapts instead. What comes while the model has nothing to do is taken at once, so
that a quiet feed never waits for company. What comes while it works gathers until the model is nearly free,
just so long before that the next batch is prepared in time: closed earlier, a batch would be smaller, each
message in it would cost more, and it would only wait in the next queue. A batch takes at most three fifths of
the target, or of the time that all that waits will take where that is longer: in a burst, when the target
can't be held, batches grow to their limits for throughput.
"""

import math
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, islice
from typing import Final, Generic, TypeVar

ItemT = TypeVar("ItemT")

SHARE: Final = 0.6
"""Of the target latency, for one batch at most. With two fifths batches could not always grow to where the
model keeps up with half of its load: a queue stood that was never worked off."""

EARLY: Final = 1.5
"""A batch is taken so many times what it takes to prepare it before the model is free."""

EARLY_S: Final = 0.001
"""And so much earlier still, for the turns of two threads."""

MEMORY: Final = 0.9
"""What a batch leaves of the weight of those before it: the pace is that of about the last ten."""


class Pace:
    """How long a unit of cost takes, learnt from the batches that went through; the last ones count most."""

    def __init__(self) -> None:
        self._cost = 0.0
        self._seconds = 0.0

    def learn(self, cost: int, seconds: float) -> None:
        """A batch of this cost took so long."""
        self._cost = MEMORY * self._cost + max(cost, 1)
        self._seconds = MEMORY * self._seconds + seconds

    def seconds(self, cost: float) -> float:
        """How long this much work will take; 0 while nothing is known."""
        return cost * self._seconds / self._cost if self._cost else 0.0


class Batcher(Generic[ItemT]):
    """Items in, batches out, in order. It holds no task and no lock: one event loop owns it.

    Args:
        max_items: a batch closes at this many items.
        max_cost: a batch closes when its cost reaches this; an item that costs more stands alone.
        deadline_s: a batch closes this long after its first item came, however small it is.
        target_s: the latency to hold; None closes by the three limits alone.
        clock: seconds, monotonic; injected by tests.
    """

    def __init__(
        self,
        *,
        max_items: int,
        max_cost: int,
        deadline_s: float,
        target_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_items = max_items
        self._max_cost = max_cost
        self._deadline_s = deadline_s
        self._target_s = target_s
        self._clock = clock
        self._preparing = Pace()
        self._working = Pace()
        self.taken_cost = 0
        """The cost of the batch that was taken last."""
        self._items: list[ItemT] = []
        self._ends: list[int] = []
        """The cost of all items up to and with each, so that a batch is a slice and not a loop."""
        self._head = 0
        """The first item that is still here; those before it are dropped many at a time."""
        self._base = 0
        """The cost of all items before it."""
        self._arrivals: deque[tuple[float, int]] = deque()
        """(when, how many) of each `extend` that still has items here."""
        self._flushing = False

    def __len__(self) -> int:
        return len(self._items) - self._head

    @property
    def cost(self) -> int:
        """Of all that waits."""
        return (self._ends[-1] if self._ends else 0) - self._base

    @property
    def limit(self) -> int:
        """The cost at which a batch closes now, at most `max_cost`."""
        if self._target_s is None:
            return self._max_cost
        unit_s = self._preparing.seconds(1) + self._working.seconds(1)
        if not unit_s:
            return self._max_cost
        horizon_s = max(self._target_s, self.cost * unit_s)
        return max(1, round(min(self._max_cost, SHARE * horizon_s / unit_s)))

    def extend(self, items: Sequence[ItemT], costs: Iterable[int]) -> None:
        """Add items that came together, and the cost of each."""
        if items:
            self._items.extend(items)
            before = self._ends[-1] if self._ends else self._base
            self._ends.extend(islice(accumulate(costs, initial=before), 1, None))
            self._arrivals.append((self._clock(), len(items)))

    def worked(self, cost: int, seconds: float, *, preparing_s: float = 0.0) -> None:
        """Learn how long the model took for a batch that was taken from here, and how long preparing took."""
        self._working.learn(cost, seconds)
        self._preparing.learn(cost, preparing_s)

    def works_for(self, cost: int) -> float:
        """How many seconds the model will take for a batch; 0 while nothing is known."""
        return self._working.seconds(cost)

    def flush(self) -> None:
        """Close what is here without waiting for the deadline, until it is empty."""
        self._flushing = True

    def due_in(self, free_in_s: float = math.inf) -> float | None:
        """Seconds until a batch can be taken: 0 when one is ready, None when nothing is here.

        Args:
            free_in_s: until the model has nothing to do, as far as one knows; infinite while there is enough
                for it to go on with. Without a target latency it makes no difference.
        """
        count = len(self)
        if not count:
            self._flushing = False
            return None
        if self._flushing or count >= self._max_items or self.cost >= self.limit:
            return 0.0  # it would not grow
        if self._target_s is not None:
            return max(0.0, free_in_s - EARLY * self._preparing.seconds(self.cost) - EARLY_S)
        return max(0.0, self._arrivals[0][0] + self._deadline_s - self._clock())

    def take(self) -> list[ItemT]:
        """Take the next batch: at least one item, and no more than the limits allow."""
        first = self._head
        if first == len(self._items):
            return []
        last = min(len(self._items), first + self._max_items)
        end = max(first + 1, bisect_right(self._ends, self._base + self.limit, first, last))
        batch = self._items[first:end]
        self.taken_cost = self._ends[end - 1] - self._base
        self._head, self._base = end, self._ends[end - 1]
        if 2 * end >= len(self._items):  # each item is moved once at most, on average
            del self._items[:end], self._ends[:end]
            self._head = 0
        self._forget_arrivals(len(batch))
        return batch

    def _forget_arrivals(self, taken: int) -> None:
        while taken:
            when, count = self._arrivals[0]
            if count > taken:
                self._arrivals[0] = (when, count - taken)
                return
            self._arrivals.popleft()
            taken -= count
