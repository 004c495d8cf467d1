"""Ends a process that is alive and makes no progress.

`faulthandler`'s timer runs in a C thread of its own: it fires even while native code holds the GIL, prints
every thread's traceback, and exits with status 1, so that an orchestrator starts the worker again.
"""

import faulthandler
import sys
import time
from collections.abc import Callable
from typing import Protocol, TextIO


class Timer(Protocol):
    """A timer that ends the process unless it is armed again; faulthandler is one."""

    def dump_traceback_later(
        self,
        timeout: float,
        repeat: bool = False,
        file: TextIO = sys.stderr,
        exit: bool = False,  # noqa: A002
    ) -> None:
        """Arm, or arm again."""

    def cancel_dump_traceback_later(self) -> None:
        """Disarm."""


class Watchdog:
    """Feeds the timer as long as all lanes of the process make progress.

    A process has one timer, so its lanes share a watchdog; an idle lane does not cover for one that hangs.

    Args:
        limit_s: time without progress after which the process ends.
        clock: seconds, monotonic.
        timer: ends the process; faulthandler unless a test injects one.
    """

    def __init__(
        self,
        limit_s: float,
        clock: Callable[[], float] = time.monotonic,
        timer: Timer = faulthandler,
    ) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._timer = timer
        self._last_progress: dict[str, float] = {}
        self._writing_since: dict[str, float] = {}
        self._ending = False

    def progressed(self, lane: str) -> None:
        """Something was committed in a lane, or it has nothing to do. The lane is watched from now on."""
        self._last_progress[lane] = self._clock()

    def writing(self, lane: str, since: float | None) -> None:
        """Say when a lane's oldest write under way began: no other partition's commits excuse it."""
        if since is None:
            self._writing_since.pop(lane, None)
        else:
            self._writing_since[lane] = since

    def stalled_s(self) -> float:
        """Seconds since the last progress, or the oldest write, of the lane that waits longest."""
        now = self._clock()
        return now - min([*self._last_progress.values(), *self._writing_since.values()], default=now)

    def check(self) -> None:
        """Arm the timer for what is left. Called every second; a loop that hangs stops calling it."""
        left = self._limit_s - self.stalled_s()
        if self._ending:
            return
        self._timer.dump_traceback_later(max(left, 0.001), exit=True)

    def end_within(self, seconds: float) -> None:
        """Let the process end by itself for so long, then end it: something in it hangs."""
        self._ending = True
        self._timer.dump_traceback_later(seconds, exit=True)

    def stop(self, lane: str) -> None:
        """Watch a lane no longer; disarmed after the last."""
        self._last_progress.pop(lane, None)
        self._writing_since.pop(lane, None)
        if not self._last_progress and not self._ending:
            self._timer.cancel_dump_traceback_later()
