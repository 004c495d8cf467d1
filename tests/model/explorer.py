"""Explores every order in which concurrent things may happen, by running the real code again and again.

A world is code on an event loop whose every wait is for something that the explorer decides: a request that
arrives or is lost, a partition assigned or taken away, a process killed, a timer that fires. Between two such
decisions the code runs until nothing more can happen by itself, so a list of decisions determines a run. The
explorer walks the tree of such lists depth first, and does not go on from a state that it has seen.
"""

import asyncio
import random
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

OWNER: ContextVar[Any] = ContextVar("OWNER", default=None)
"""Whose code runs: timers belong to somebody."""


class ModelLoop(asyncio.BaseEventLoop):
    """An event loop without a clock, without sockets and without threads: the explorer fires its timers."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[tuple[Any, asyncio.Task[Any]]] = []
        """Whose each task is, and the task; those that are over may stand here too."""

    def create_task(self, coro: Any, **options: Any) -> "asyncio.Task[Any]":  # type: ignore[override]
        task = super().create_task(coro, **options)
        self.tasks = [(owner, other) for owner, other in self.tasks if not other.done()]
        self.tasks.append((OWNER.get(), task))
        return task

    def time(self) -> float:
        return 0.0

    def is_running(self) -> bool:
        return True

    def settle(self) -> None:
        """Run all that can run by itself."""
        asyncio._set_running_loop(self)
        try:
            while self._ready:  # type: ignore[attr-defined]
                handle = self._ready.popleft()  # type: ignore[attr-defined]
                if not handle._cancelled:
                    handle._run()
        finally:
            asyncio._set_running_loop(None)

    def timers(self) -> list[asyncio.TimerHandle]:
        """Those that may fire."""
        pending = [timer for timer in self._scheduled if not timer._cancelled]  # type: ignore[attr-defined]
        self._scheduled[:] = pending  # type: ignore[attr-defined]
        return sorted(pending, key=lambda timer: timer.when())

    def fire(self, timer: asyncio.TimerHandle) -> None:
        """Let a timer's time come, before or after any other's: processes have clocks of their own."""
        self._scheduled.remove(timer)  # type: ignore[attr-defined]
        timer._scheduled = False  # type: ignore[attr-defined]
        self._ready.append(timer)  # type: ignore[attr-defined]

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        return

    def _write_to_self(self) -> None:
        return

    def abandon(self) -> None:
        """End all tasks; what they wait for never comes."""
        self.set_exception_handler(lambda *_: None)
        for _ in range(20):
            left = [task for _, task in self.tasks if not task.done()]
            if not left:
                return
            for task in left:
                task.cancel()
            self.settle()

    def _process_events(self, event_list: Any) -> None:
        return


@dataclass(frozen=True)
class Action:
    """One thing that may happen next.

    Attributes:
        name: stable from run to run.
        do: makes it happen.
        costs: the budget that it is taken from; None where it is the ordinary course of things.
    """

    name: str
    do: Callable[[], None]
    costs: str | None = None


class World(Protocol):
    """What is explored. A new one is made for each run."""

    loop: ModelLoop

    def actions(self) -> list[Action]:
        """What may happen next, in a stable order; none where all is over."""

    def key(self) -> Hashable:
        """The state: where two are equal, the same can happen from there on."""

    def check(self) -> None:
        """Raise AssertionError where a promise is broken."""

    def finish(self) -> None:
        """The end of a run: let everything heal, and raise AssertionError where it does not."""


class ViolationError(AssertionError):
    """A promise was broken; the message tells what had happened."""

    def __init__(self, error: AssertionError, steps: list[str]) -> None:
        super().__init__(f"{error}\nafter:\n  " + "\n  ".join(steps))
        self.steps = steps


@dataclass
class Explored:
    """How much was seen."""

    states: int = 0
    steps: int = 0
    ends: int = 0
    complete: bool = True


@contextmanager
def _run(make: Callable[[], World]) -> Iterator[World]:
    world = make()
    try:
        yield world
    finally:
        world.loop.abandon()


def _step(world: World, place: int, steps: list[str]) -> None:
    action = world.actions()[place]
    steps.append(action.name)
    action.do()
    world.loop.settle()


def _verified(check: Callable[[], None], steps: list[str]) -> None:
    try:
        check()
    except AssertionError as error:
        raise ViolationError(error, steps) from error


def explore(make: Callable[[], World], max_states: int = 10**9) -> Explored:
    """Visit every state that can be reached.

    Raises:
        ViolationError: a promise is broken in one of them.
    """
    found = Explored()
    seen: set[int] = set()
    branches: list[list[int]] = [[]]
    while branches:
        if found.states > max_states:
            found.complete = False
            return found
        path = branches.pop()
        with _run(make) as world:
            steps: list[str] = []
            for place in path:
                _step(world, place, steps)
            found.steps += len(path)
            while True:
                _verified(world.check, steps)
                key = hash(world.key())
                if key in seen:
                    break
                seen.add(key)
                found.states += 1
                choices = len(world.actions())
                if not choices:
                    found.ends += 1
                    _verified(world.finish, steps)
                    break
                branches.extend([*path, place] for place in range(choices - 1, 0, -1))
                path = [*path, 0]
                _step(world, 0, steps)
                found.steps += 1
    return found


def wander(make: Callable[[], World], seed: int, runs: int) -> Explored:
    """Take random ways to their ends: for worlds too large to be seen whole.

    Raises:
        ViolationError: a promise is broken on one of them.
    """
    found = Explored(complete=False)
    for run in range(runs):
        random_ = random.Random(f"{seed}.{run}")
        with _run(make) as world:
            steps: list[str] = []
            while actions := world.actions():
                # what costs nothing is the more likely: faults are spread over the whole run
                weights = [1.0 if action.costs is None else 0.15 for action in actions]
                _step(world, random_.choices(range(len(actions)), weights)[0], steps)
                found.steps += 1
                _verified(world.check, steps)
            _verified(world.finish, steps)
            found.ends += 1
    return found


__all__ = ["OWNER", "Action", "Explored", "ModelLoop", "ViolationError", "World", "explore", "wander"]
