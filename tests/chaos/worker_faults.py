"""Faults of workers: killed, frozen, hung, slow, coming and going."""

import time

from tests.chaos.stage import PAST_SESSION_S, WATCHDOG_S, Fault, Stage, end


def kill(stage: Stage) -> None:
    """SIGKILL at a random moment."""
    if victim := stage.victim():
        stage.crew.kill(victim)


def kill_all(stage: Stage) -> None:
    """SIGKILL all at once."""
    for member in stage.crew.alive():
        stage.crew.kill(member)


def die_at(point: str) -> Fault:
    """SIGKILL at a point of the delivery; those at a fence or at letting go need a rebalance to be passed."""

    def fault(stage: Stage) -> None:
        victim = stage.victim()
        if victim is None:
            return
        victim.expected.add(-9)
        victim.tell(f"die {point}")
        deadline = time.monotonic() + 20
        provoke_at = time.monotonic() + 2
        while victim.alive() and time.monotonic() < deadline:
            if time.monotonic() > provoke_at:
                provoke_at = deadline
                if (other := stage.victim()) and other is not victim:
                    stage.crew.kill(other)  # a rebalance: partitions are let go and fenced
                else:
                    stage.crew.hire()
            time.sleep(0.05)
        if victim.alive():
            stage.unreached.append(point)
            stage.crew.kill(victim)

    return fault


def terminate(stage: Stage) -> None:
    """SIGTERM under load: drains and ends with status 0."""
    if victim := stage.victim():
        end(stage, victim, {0})


def terminate_hung(stage: Stage) -> None:
    """SIGTERM while an inference hangs: ends all the same."""
    if victim := stage.victim():
        victim.tell("hang")
        time.sleep(1.0)
        victim.expected |= {1}
        end(stage, victim, {0, 1})


def hang(stage: Stage) -> None:
    """An inference hangs: the watchdog ends the process with status 1."""
    if victim := stage.victim():
        victim.expected.add(1)
        victim.tell("hang")
        deadline = time.monotonic() + WATCHDOG_S + 15
        while victim.alive() and time.monotonic() < deadline:
            time.sleep(0.1)
        if victim.alive():
            stage.violations.append("a worker whose model hangs was not ended by its watchdog")
            stage.crew.kill(victim)


def hold_gil(stage: Stage) -> None:
    """Native code holds the interpreter's lock past the session."""
    if victim := stage.victim():
        victim.expected.add(1)
        victim.tell(f"gil {PAST_SESSION_S}")
        time.sleep(PAST_SESSION_S + 1)


def freeze(stage: Stage) -> None:
    """SIGSTOP past the session, then SIGCONT: the zombie is fenced."""
    if victim := stage.victim():
        victim.expected.add(1)
        victim.freeze()
        time.sleep(PAST_SESSION_S + stage.random.random() * 3)
        victim.thaw()
        time.sleep(1.0)


def freeze_all(stage: Stage) -> None:
    """All frozen past their sessions, then all thawed at once."""
    members = stage.crew.alive()
    for member in members:
        member.expected.add(1)
        member.freeze()
    time.sleep(PAST_SESSION_S)
    for member in members:
        member.thaw()
    time.sleep(1.0)


def storm(stage: Stage) -> None:
    """Workers come and go, some drained and some killed, while the group still rebalances."""
    for _ in range(3):
        comers = [stage.crew.hire() for _ in range(2)]
        time.sleep(1.5 + stage.random.random() * 3)
        for comer in comers:
            if stage.random.random() < 0.5:
                stage.crew.kill(comer)
            else:
                end(stage, comer, {0, -15})


def rolling_restart(stage: Stage) -> None:
    """Each worker is told to stop, one after the other."""
    for member in stage.crew.alive():
        end(stage, member, {0})
        time.sleep(1.5)


def more_than_partitions(stage: Stage) -> None:
    """More workers than partitions: some have nothing to do, and stay."""
    comers = [stage.crew.hire() for _ in range(stage.partitions + 2 - len(stage.crew.alive()))]
    time.sleep(8.0)
    for comer in comers:
        if not comer.alive():
            stage.violations.append(f"a worker without partitions ended: {comer.process.returncode}")
        end(stage, comer, {0, -15})


def busy_model(stage: Stage) -> None:
    """The model says `later` for two seconds."""
    for member in stage.crew.alive():
        member.tell("busy 2")
    time.sleep(2.0)


def slow_model(stage: Stage) -> None:
    """Each batch takes a second and a half."""
    for member in stage.crew.alive():
        member.tell("slow 1.5")
    time.sleep(6.0)
    for member in stage.crew.alive():
        member.tell("slow 0")


def clock_jump(stage: Stage) -> None:
    """A worker's wall clock jumps by up to a day, forth or back."""
    if victim := stage.victim():
        victim.tell(f"clock {stage.random.choice((-1, 1)) * stage.random.randrange(60, 86_400)}")
        time.sleep(2.0)
