"""Several worker processes in one consumer group, under one process that starts them again when they fall.

Nothing is shared between them but the group: Kafka deals out the partitions, and takes those of one that fell
to the others. Each has metrics on a port of its own, from the first one given upwards.
"""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Final, Protocol

logger = logging.getLogger("feedsight")

FIRST_BACKOFF_S: Final = 1.0
MAX_BACKOFF_S: Final = 30.0
STEADY_S: Final = 60.0
"""One that worked for so long before it fell starts with the first back-off again."""

POLL_S: Final = 0.2
EXIT_USAGE: Final = 2
PR_SET_PDEATHSIG: Final = 1
"""From linux/prctl.h: the signal that a process gets when its parent dies."""

THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
"""What libraries below the model take their number of threads from; for OpenBLAS see cli/worker.py."""


class Process(Protocol):
    """A started process; subprocess.Popen is one."""

    pid: int

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""

    def terminate(self) -> None:
        """Send SIGTERM."""


@dataclass
class Member:
    """One worker of the crew.

    Attributes:
        number: from 0.
        process: None while it waits to be started again.
        started: when, on the crew's clock.
        backoff_s: how long it waits the next time it falls.
        due: when it is started again.
        done: it ended with status 0, by a signal that somebody sent it: it stays away.
    """

    number: int
    process: Process | None = None
    started: float = 0.0
    backoff_s: float = FIRST_BACKOFF_S
    due: float = 0.0
    done: bool = False


class Crew:
    """Starts members, and starts those again that fall.

    Args:
        size: how many.
        start: starts the process of a member, by its number.
        clock: seconds, monotonic; injected by tests.
    """

    def __init__(
        self, size: int, start: Callable[[int], Process], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._start = start
        self._clock = clock
        self._members = [Member(number) for number in range(size)]
        self._stopping = False
        self._status = 0

    def stop(self, status: int = 0) -> None:
        """Tell all to end, and start none again; the crew's status will be this one."""
        if self._stopping:
            return
        self._stopping, self._status = True, status
        for member in self._members:
            if member.process is not None:
                member.process.terminate()

    def step(self) -> int | None:
        """Start whom it is time to start, and see who ended.

        Returns:
            The exit status once nobody is left: 0 after `stop`, 2 where a member found its settings wrong;
            None as long as there is somebody.
        """
        for member in self._members:
            self._look_at(member)
        if any(member.process is not None for member in self._members):
            return None
        if self._stopping or all(member.done for member in self._members):
            return self._status
        return None

    def _look_at(self, member: Member) -> None:
        now = self._clock()
        if member.process is None:
            if not (self._stopping or member.done) and now >= member.due:
                member.process, member.started = self._start(member.number), now
            return
        status = member.process.poll()
        if status is None:
            return
        member.process = None
        if status == EXIT_USAGE:
            self.stop(EXIT_USAGE)  # it would end the others too, sooner or later
        elif status == 0:
            member.done = True
        elif not self._stopping:
            if now - member.started >= STEADY_S:
                member.backoff_s = FIRST_BACKOFF_S
            member.due = now + member.backoff_s
            logger.warning(
                "worker %d ended with status %d; starting it again in %g s",
                member.number,
                status,
                member.backoff_s,
            )
            member.backoff_s = min(2 * member.backoff_s, MAX_BACKOFF_S)


def lead(size: int, arguments: Sequence[str], *, threads: int, metrics_port: int) -> int:
    """Run a crew until it is told to stop by SIGTERM or SIGINT, which it passes on as SIGTERM.

    Args:
        size: processes.
        arguments: of the command line, from `worker` on; what is added here overrides what stands there.
        threads: of all members together.
        metrics_port: the first one's; 0 is off for all.

    Returns:
        The exit status.
    """
    share = max(1, threads // size)

    def start(number: int) -> Process:
        port = metrics_port + number if metrics_port else 0
        more = ("--processes", "1", "--threads", str(share), "--metrics-port", str(port))
        code = f"from cli.crew import member; member({os.getpid()})"
        # A session of its own: Ctrl-C reaches the crew alone, which passes it on once.
        return subprocess.Popen(  # noqa: S603 - our own command line
            [sys.executable, "-c", code, *arguments, *more],
            env={**dict.fromkeys(THREAD_VARIABLES, str(share)), **os.environ},
            start_new_session=True,
        )

    crew = Crew(size, start)

    def told(_signal: int, _frame: FrameType | None) -> None:
        crew.stop()

    former = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        while (status := crew.step()) is None:
            time.sleep(POLL_S)
        return status
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def member(parent: int) -> None:
    """Be one of the crew: end when it dies, however it dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the line above
            raise SystemExit(1)
    from cli.main import main

    main()
