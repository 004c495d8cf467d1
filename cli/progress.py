"""Progress on stderr, on a terminal only."""

import sys
import time
from types import TracebackType
from typing import Final, Self

INTERVAL_S: Final = 0.5


def say(what: str) -> None:
    """Tell a person who watches what takes its time."""
    if sys.stderr.isatty():
        sys.stderr.write(what + "\n")
        sys.stderr.flush()


class Progress:
    """Counts what is done and says so now and then, where a person can see it.

    Args:
        what: the plural of what is counted.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = sys.stderr.isatty()
        self._done = 0
        self._started = self._last = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def advance(self, count: int) -> None:
        """Count more that is done."""
        self._done += count
        now = time.monotonic()
        if self._shown and now - self._last >= INTERVAL_S:
            self._last = now
            self._write()

    def _write(self) -> None:
        rate = self._done / max(1e-9, time.monotonic() - self._started)
        sys.stderr.write(f"\r{self._done} {self._what}, {rate:.0f}/s ")
        sys.stderr.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            self._write()
            sys.stderr.write("\n")
