"""The watchdog: when the timer that ends the process is armed, and for how long."""

from typing import Any

import pytest

from stream.watchdog import Watchdog


class FakeTimer:
    """Ends nothing; remembers when it would."""

    def __init__(self) -> None:
        self.armed_for: list[float] = []
        self.exits: list[bool] = []

    def dump_traceback_later(self, timeout: float, **kwargs: Any) -> None:
        self.armed_for.append(timeout)
        self.exits.append(kwargs.get("exit", False))

    def cancel_dump_traceback_later(self) -> None:
        self.armed_for.append(float("inf"))


class World:
    """A watchdog of 10 seconds, its clock and its timer."""

    def __init__(self) -> None:
        self.now = 50.0
        self.timer = FakeTimer()
        self.watchdog = Watchdog(10, clock=lambda: self.now, timer=self.timer)

    def left_s(self) -> float:
        self.watchdog.check()
        return self.timer.armed_for[-1]


@pytest.fixture
def world() -> World:
    return World()


def test_the_timer_is_armed_with_what_is_left_and_ends_the_process(world: World):
    world.watchdog.progressed("text")
    assert world.left_s() == 10
    world.now += 4
    assert world.left_s() == 6
    assert all(world.timer.exits)


def test_progress_gives_the_whole_time_again(world: World):
    world.watchdog.progressed("text")
    world.now += 9
    world.watchdog.progressed("text")
    assert world.left_s() == 10


def test_a_stalled_lane_fires_at_once(world: World):
    world.watchdog.progressed("text")
    world.now += 11
    assert world.watchdog.stalled_s() == 11
    assert 0 < world.left_s() <= 0.01


def test_a_loop_that_hangs_leaves_the_timer_running(world: World):
    """Nothing disarms it: `check` is not called any more, and the time goes on."""
    world.watchdog.progressed("text")
    world.watchdog.check()
    world.now += 100
    assert world.timer.armed_for == [10]


def test_an_idle_lane_does_not_cover_for_one_that_hangs(world: World):
    world.watchdog.progressed("text")
    for _ in range(8):
        world.now += 1
        world.watchdog.progressed("image")
    assert world.left_s() == 2


def test_nothing_fires_while_no_lane_is_watched(world: World):
    world.now += 100
    assert world.watchdog.stalled_s() == 0
    assert world.left_s() == 10


def test_a_lane_that_stopped_is_forgotten_and_the_last_one_disarms(world: World):
    world.watchdog.progressed("text")
    world.watchdog.progressed("image")
    world.now += 8
    world.watchdog.progressed("image")
    world.watchdog.stop("text")
    assert world.left_s() == 10
    world.watchdog.stop("image")
    assert world.timer.armed_for[-1] == float("inf")


def test_a_write_that_hangs_is_not_excused_by_what_other_partitions_commit(world: World):
    world.watchdog.writing("text", since=world.now)
    for _ in range(8):
        world.now += 1
        world.watchdog.progressed("text")
    assert world.left_s() == 2


def test_a_write_that_ended_is_forgotten(world: World):
    world.watchdog.writing("text", since=world.now)
    world.now += 8
    world.watchdog.writing("text", since=None)
    world.watchdog.progressed("text")
    assert world.left_s() == 10
