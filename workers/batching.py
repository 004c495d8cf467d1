"""A bounded batcher: a batch closes at a number of items, at a cost, or at a deadline from its first item."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class Batcher(Generic[ItemT]):
    """Items in, batches out, in order. It holds no task and no lock: one event loop owns it.

    Args:
        max_items: a batch closes at this many items.
        max_cost: a batch closes when its cost reaches this; an item that costs more stands alone.
        deadline_s: a batch closes this long after its first item came, however small it is.
        clock: seconds, monotonic; injected by tests.
    """

    def __init__(
        self,
        *,
        max_items: int,
        max_cost: int,
        deadline_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_items = max_items
        self._max_cost = max_cost
        self._deadline_s = deadline_s
        self._clock = clock
        self._items: deque[tuple[ItemT, int]] = deque()
        self._cost = 0
        self._arrivals: deque[tuple[float, int]] = deque()
        """(when, how many) of each `extend` that still has items here."""
        self._flushing = False

    def __len__(self) -> int:
        return len(self._items)

    def extend(self, items: Iterable[tuple[ItemT, int]]) -> None:
        """Add items that came together, each with its cost."""
        arrived = list(items)
        if arrived:
            self._items.extend(arrived)
            self._cost += sum(cost for _, cost in arrived)
            self._arrivals.append((self._clock(), len(arrived)))

    def flush(self) -> None:
        """Close what is here without waiting for the deadline, until it is empty."""
        self._flushing = True

    def due_in(self) -> float | None:
        """Seconds until a batch can be taken: 0 when one is ready, None when nothing is here."""
        if not self._items:
            self._flushing = False
            return None
        if self._flushing or len(self._items) >= self._max_items or self._cost >= self._max_cost:
            return 0.0
        return max(0.0, self._arrivals[0][0] + self._deadline_s - self._clock())

    def take(self) -> list[ItemT]:
        """Take the next batch: at least one item, and no more than the limits allow."""
        batch: list[ItemT] = []
        cost = 0
        while self._items and len(batch) < self._max_items:
            item, item_cost = self._items[0]
            if batch and cost + item_cost > self._max_cost:
                break
            self._items.popleft()
            batch.append(item)
            cost += item_cost
        self._cost -= cost
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
