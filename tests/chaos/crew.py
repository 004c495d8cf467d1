"""The workers of a run: started, told what to do, killed, and started again when they end by themselves."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import psutil

ROOT = Path(__file__).resolve().parents[2]
RESTART_AFTER_S = 0.5
"""As an orchestrator would."""

LANE_STARTS = b"Lane]: Starting"
"""In a worker's log, once its signal handlers are there."""


@dataclass
class Member:
    """One worker process."""

    name: str
    log: Path
    process: "subprocess.Popen[bytes]"
    expected: set[int] = field(default_factory=set)
    """Statuses that it may end with; none: it should not end."""
    frozen: bool = False
    rss_bytes: int = 0

    @property
    def grown(self) -> bool:
        """Whether it has started so far that it knows what to do with a SIGTERM."""
        return LANE_STARTS in self.log.read_bytes()

    def alive(self) -> bool:
        return self.process.poll() is None

    def tell(self, command: str) -> None:
        """Give a command; see tests/chaos/worker.py. A worker that is gone hears nothing."""
        with contextlib.suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.write(command.encode() + b"\n")
            self.process.stdin.flush()

    def send(self, signum: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signum)

    def freeze(self) -> None:
        self.frozen = True
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.send(signal.SIGCONT)
        self.frozen = False


class Crew:
    """Keeps a number of workers alive. A thread of its own restarts them and samples their memory.

    Args:
        settings: of the workers, as sections.
        folder: for their logs.
        size: workers that should be there.
    """

    def __init__(self, settings: dict[str, Any], folder: Path, size: int) -> None:
        self.size = size
        self.members: list[Member] = []
        self.statuses: Counter[str] = Counter()
        """How workers ended: `expected 0`, `by itself 1`, `by itself -9` …"""
        self.peak_rss_bytes = 0
        self.rss_samples: list[tuple[float, int]] = []
        """(seconds since the start, the largest worker's resident bytes)."""
        self._settings = orjson.dumps(settings).decode()
        self._folder = folder
        self._hired = 0
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._keep, name="crew", daemon=True)

    def start(self) -> None:
        while len(self.members) < self.size:
            self.hire()
        self._thread.start()

    def hire(self) -> Member:
        """Start one worker more."""
        with self._lock:
            self._hired += 1
            name = f"worker-{self._hired:04d}"
            path = self._folder / f"{name}.log"
            with path.open("wb") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "tests.chaos.worker", self._settings],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    cwd=ROOT,
                    env={**os.environ, "OMP_NUM_THREADS": "1"},
                )
            member = Member(name, path, process)
            self.members.append(member)
            return member

    def alive(self) -> list[Member]:
        with self._lock:
            return [member for member in self.members if member.alive()]

    def terminate(self, member: Member, timeout_s: float) -> int | None:
        """SIGTERM; the status, or None where it does not end in time: then it is killed."""
        member.expected.add(0)
        member.send(signal.SIGTERM)
        try:
            return member.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            member.send(signal.SIGUSR1)  # its threads' tracebacks go to its log
            time.sleep(0.5)
            self.kill(member)
            return None

    def kill(self, member: Member) -> None:
        member.expected.add(-signal.SIGKILL)
        member.send(signal.SIGKILL)
        member.process.wait(10)

    def stop(self, timeout_s: float) -> list[int | None]:
        """SIGTERM all once they have started, and give their statuses."""
        while not all(member.grown for member in self.alive()):
            time.sleep(0.1)
        self._stopping.set()
        self._thread.join(10)
        members = self.alive()
        for member in members:
            member.thaw()
            member.expected.add(0)
            member.send(signal.SIGTERM)
        return [self.terminate(member, timeout_s) for member in members]

    def close(self) -> None:
        """Kill what is left."""
        self._stopping.set()
        for member in self.members:
            if member.alive():
                member.process.kill()
                member.process.wait(10)

    def _keep(self) -> None:
        while not self._stopping.wait(RESTART_AFTER_S):
            with self._lock:
                gone = [member for member in self.members if not member.alive()]
                for member in gone:
                    self.members.remove(member)
                    self._count(member)
                while len(self.members) < self.size:
                    self.hire()
            self._sample()

    def _count(self, member: Member) -> None:
        status = member.process.returncode
        self.statuses[f"{'expected' if status in member.expected else 'by itself'} {status}"] += 1
        if member.process.stdin is not None:
            with contextlib.suppress(OSError):
                member.process.stdin.close()

    def _sample(self) -> None:
        largest = 0
        for member in self.alive():
            with contextlib.suppress(psutil.Error):
                member.rss_bytes = psutil.Process(member.process.pid).memory_info().rss
                largest = max(largest, member.rss_bytes)
        self.peak_rss_bytes = max(self.peak_rss_bytes, largest)
        self.rss_samples.append((time.monotonic() - self._began, largest))
