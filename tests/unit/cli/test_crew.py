"""A crew of worker processes: who is started, who is started again, and with which status it ends."""

from cli.crew import FIRST_BACKOFF_S, MAX_BACKOFF_S, STEADY_S, Crew


class FakeProcess:
    """A process whose end tests decide."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.status: int | None = None
        self.told = 0

    def poll(self) -> int | None:
        return self.status

    def terminate(self) -> None:
        self.told += 1


class Started:
    """Starts fakes and keeps them, by member."""

    def __init__(self) -> None:
        self.now = 0.0
        self.by_member: dict[int, list[FakeProcess]] = {}

    def __call__(self, number: int) -> FakeProcess:
        made = FakeProcess(number)
        self.by_member.setdefault(number, []).append(made)
        return made

    def last(self, number: int) -> FakeProcess:
        return self.by_member[number][-1]

    def counts(self) -> list[int]:
        return [len(self.by_member[number]) for number in sorted(self.by_member)]


def crew_of(size: int) -> tuple[Crew, Started]:
    started = Started()
    return Crew(size, started, lambda: started.now), started


def test_every_member_is_started_once() -> None:
    crew, started = crew_of(3)
    assert crew.step() is None
    assert crew.step() is None
    assert started.counts() == [1, 1, 1]


def test_one_that_falls_is_started_again_after_a_while_and_the_others_go_on() -> None:
    crew, started = crew_of(2)
    crew.step()
    started.last(1).status = 1
    crew.step()
    crew.step()
    assert started.counts() == [1, 1]
    started.now += FIRST_BACKOFF_S
    crew.step()
    assert started.counts() == [1, 2]
    assert started.last(0).told == 0


def test_one_that_is_killed_is_started_again_too() -> None:
    crew, started = crew_of(1)
    crew.step()
    started.last(0).status = -9
    crew.step()
    started.now += FIRST_BACKOFF_S
    assert crew.step() is None
    assert started.counts() == [2]


def test_one_that_falls_again_and_again_waits_longer_each_time_up_to_a_limit() -> None:
    crew, started = crew_of(1)
    waits = []
    for _ in range(8):
        crew.step()
        count = started.counts()[0]
        started.last(0).status = 1
        crew.step()
        fell = started.now
        while started.counts()[0] == count:
            started.now += FIRST_BACKOFF_S
            crew.step()
        waits.append(started.now - fell)
    assert waits == [1, 2, 4, 8, 16, MAX_BACKOFF_S, MAX_BACKOFF_S, MAX_BACKOFF_S]


def test_one_that_worked_for_long_before_it_fell_is_back_soon() -> None:
    crew, started = crew_of(1)
    for _ in range(4):
        crew.step()
        started.last(0).status = 1
        crew.step()
        started.now += MAX_BACKOFF_S
    crew.step()
    count = started.counts()[0]
    started.now += STEADY_S
    started.last(0).status = 1
    crew.step()
    started.now += FIRST_BACKOFF_S
    crew.step()
    assert started.counts() == [count + 1]


def test_told_to_stop_it_tells_all_once_and_ends_with_0_when_they_have() -> None:
    crew, started = crew_of(2)
    crew.step()
    crew.stop()
    crew.stop()
    assert [started.last(n).told for n in (0, 1)] == [1, 1]
    started.last(0).status = 0
    assert crew.step() is None
    started.last(1).status = 1  # it did not drain in time
    assert crew.step() == 0
    assert started.counts() == [1, 1]


def test_wrong_settings_of_one_end_all_with_2() -> None:
    crew, started = crew_of(2)
    crew.step()
    started.last(0).status = 2
    assert crew.step() is None
    assert started.last(1).told == 1
    started.last(1).status = 0
    assert crew.step() == 2


def test_stopped_while_one_waits_it_is_not_started_again() -> None:
    crew, started = crew_of(2)
    crew.step()
    started.last(0).status = 1
    crew.step()
    crew.stop()
    started.last(1).status = 0
    started.now += MAX_BACKOFF_S
    assert crew.step() == 0
    assert started.counts() == [1, 1]


def test_members_that_somebody_else_ended_in_order_stay_away() -> None:
    crew, started = crew_of(2)
    crew.step()
    started.last(0).status = 0
    started.now += MAX_BACKOFF_S
    assert crew.step() is None
    assert started.counts() == [1, 1]
    started.last(1).status = 0
    assert crew.step() == 0
