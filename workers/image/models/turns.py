"""Turns at a model that several threads share: who matches goes before who enrols."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

PATIENCE_S: Final = 1.0
"""After so long a thread that lets others go first insists, lest a stream without a gap end enrolment."""

_present = threading.local()


def let_others_first() -> None:
    """Have the present thread wait at every model until no other thread does."""
    _present.yields = True


def lets_others_first() -> bool:
    """Whether the present thread does."""
    return bool(getattr(_present, "yields", False))


class Turns:
    """A lock that threads which let others first take only where nobody else waits for it.

    Args:
        patience_s: how long they wait for others at most.
    """

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._taken = False
        self.wanted = 0
        """Threads that wait and let nobody first."""

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold the turn."""
        with self._changed:
            if lets_others_first():
                self._changed.wait_for(lambda: not self._taken and not self.wanted, self._patience_s)
            self._wait_for(lambda: not self._taken)
            self._taken = True
        try:
            yield
        finally:
            with self._changed:
                self._taken = False
                self._changed.notify_all()

    def _wait_for(self, free: Callable[[], bool]) -> None:
        self.wanted += 1
        try:
            self._changed.wait_for(free)
        finally:
            self.wanted -= 1
