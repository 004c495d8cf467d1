"""The faults: each does its harm, waits as long as it lasts, and undoes what has to be undone.

After a fault the run waits until everything is answered that was acknowledged by then, or notes that the
workers are alive and idle.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka.admin import AdminClient, NewTopic

from stream.local_kafka import LocalKafka
from tests.chaos.check import Checker, Topics
from tests.chaos.crew import Crew, Member
from tests.chaos.feed import Feed
from tests.chaos.proxy import Proxy
from tests.chaos.watch import Watch
from tests.chaos.worker import POINTS

SESSION_S = 6.0
PAST_SESSION_S = 9.0
REQUEST_TIMEOUT_S = 10.0
WATCHDOG_S = 25.0
DRAIN_S = 5.0
STOP_LIMIT_S = DRAIN_S + 10 + 15
"""A SIGTERM must end a worker within its drain limit, ten seconds and what a busy machine needs."""

OUTPUT_CONFIG = {"message.timestamp.type": "LogAppendTime", "retention.ms": "-1"}


@dataclass
class Stage:
    """Everything that a fault can touch."""

    broker: LocalKafka
    proxy: Proxy
    crew: Crew
    feed: Feed
    watch: Watch
    checker: Checker
    admin: AdminClient
    topics: Topics
    partitions: int
    random: random.Random
    violations: list[str]

    def victim(self) -> Member | None:
        """A worker that has started; where all have just begun, one of these."""
        alive = [member for member in self.crew.alive() if not member.frozen]
        alive = [member for member in alive if member.grown] or alive
        return self.random.choice(alive) if alive else None

    def settle(self, limit_s: float) -> bool:
        """Wait until everything acknowledged by now is committed; False where it is not in time."""
        wanted = self.feed.ends()
        deadline = time.monotonic() + limit_s
        while self.watch.lagging(wanted):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True


Fault = Callable[[Stage], None]


# Workers


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
            stage.violations.append(f"the worker never came to {point!r}")
            stage.crew.kill(victim)

    return fault


def terminate(stage: Stage) -> None:
    """SIGTERM under load: drains and ends with status 0."""
    if victim := stage.victim():
        _end(stage, victim, {0})


def terminate_hung(stage: Stage) -> None:
    """SIGTERM while an inference hangs: ends all the same."""
    if victim := stage.victim():
        victim.tell("hang")
        time.sleep(1.0)
        victim.expected |= {1}
        _end(stage, victim, {0, 1})


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
                _end(stage, comer, {0, -15})


def rolling_restart(stage: Stage) -> None:
    """Each worker is told to stop, one after the other."""
    for member in stage.crew.alive():
        _end(stage, member, {0})
        time.sleep(1.5)


def more_than_partitions(stage: Stage) -> None:
    """More workers than partitions: some have nothing to do, and stay."""
    comers = [stage.crew.hire() for _ in range(stage.partitions + 2 - len(stage.crew.alive()))]
    time.sleep(8.0)
    for comer in comers:
        if not comer.alive():
            stage.violations.append(f"a worker without partitions ended: {comer.process.returncode}")
        _end(stage, comer, {0, -15})


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


# Broker


def crash_broker(stage: Stage) -> None:
    """SIGKILL, and up again at once."""
    stage.broker.kill()
    stage.broker.start()


def broker_away(stage: Stage) -> None:
    """SIGKILL, and away for longer than session and request timeouts."""
    stage.broker.kill()
    time.sleep(REQUEST_TIMEOUT_S + 3)
    stage.broker.start()


def restart_broker(stage: Stage) -> None:
    """A shutdown in good order, and up again."""
    stage.broker.stop()
    stage.broker.start()


def pause_broker(stage: Stage) -> None:
    """Frozen past the session: connections stay, nobody answers."""
    stage.broker.pause()
    time.sleep(PAST_SESSION_S + stage.random.random() * 4)
    stage.broker.resume()


def broker_down_at_start(stage: Stage) -> None:
    """Workers start while there is no broker."""
    stage.broker.kill()
    for member in stage.crew.alive():
        stage.crew.kill(member)
    time.sleep(8.0)
    stage.broker.start()


def broker_bounced_in_rebalance(stage: Stage) -> None:
    """The broker crashes while the group rebalances."""
    if victim := stage.victim():
        stage.crew.kill(victim)
    comer = stage.crew.hire()
    time.sleep(1.5 + stage.random.random())
    stage.broker.kill()
    stage.broker.start()
    time.sleep(1.0)
    _end(stage, comer, {0, -15})


# Network


def slow_network(stage: Stage) -> None:
    """A second more for each round trip."""
    stage.proxy.delay_s = 0.5
    time.sleep(8.0)
    stage.proxy.delay_s = 0.0


def cut_connections(stage: Stage) -> None:
    """All connections break, a few times in a row."""
    for _ in range(stage.random.randrange(1, 5)):
        stage.proxy.cut()
        time.sleep(stage.random.random() * 0.7)


def silent_network(stage: Stage) -> None:
    """Nothing comes through past the session; nothing breaks."""
    stage.proxy.silence()
    time.sleep(PAST_SESSION_S)
    stage.proxy.speak()


# Messages and topics


def oversize(stage: Stage) -> None:
    """A result, and a dead letter, that are larger than the broker takes."""
    stage.feed.oversize()
    time.sleep(1.0)


def poison(stage: Stage) -> None:
    """Malformed messages of all kinds, and posts that make the model raise, in one go."""
    stage.feed.poison(200)
    time.sleep(1.0)


def burst(stage: Stage) -> None:
    """Ten times the rate for five seconds."""
    rate, stage.feed.rate = stage.feed.rate, stage.feed.rate * 10
    time.sleep(5.0)
    stage.feed.rate = rate


def dead_letters_gone(stage: Stage) -> None:
    """The dead-letter topic is deleted while dead letters are due, and made again."""
    stage.feed.pause_poison()
    time.sleep(2.0)
    if not stage.settle(60):  # what was read before it is deleted is complete
        stage.feed.resume_poison()
        return
    stage.checker.keep_dead_letters()
    for future in stage.admin.delete_topics([stage.topics.dead_letters]).values():
        future.result(20)
    stage.feed.resume_poison()
    stage.feed.poison(20)
    time.sleep(6.0)
    create_outputs(stage.admin, [stage.topics.dead_letters], stage.partitions)


def create_outputs(admin: AdminClient, names: list[str], partitions: int) -> None:
    """Topics whose records carry the broker's own time of writing."""
    wanted = [NewTopic(name, partitions, 1, config=dict(OUTPUT_CONFIG)) for name in names]
    deadline = time.monotonic() + 30
    while True:
        try:
            for future in admin.create_topics(wanted).values():
                future.result(20)
            return
        except Exception:  # a deletion of the same name is not through yet
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)


def _end(stage: Stage, member: Member, statuses: set[int]) -> None:
    """SIGTERM a worker; it must end in time, with one of the statuses.

    One that has hardly started may not have its signal handler yet: then SIGTERM's own status is all right.
    """
    young = not member.grown
    member.expected.add(-15)
    status = stage.crew.terminate(member, STOP_LIMIT_S)
    if status is None:
        stage.violations.append(f"SIGTERM did not end {member.name} within {STOP_LIMIT_S:.0f} s")
    elif status not in statuses and not (young and status == -15):
        stage.violations.append(f"SIGTERM ended {member.name} with status {status}")


FAULTS: dict[str, tuple[Fault, int]] = {
    "SIGKILL": (kill, 3),
    "SIGKILL of all": (kill_all, 1),
    **{f"SIGKILL {point}": (die_at(point), 1) for point in POINTS},
    "SIGTERM under load": (terminate, 3),
    "SIGTERM with hung inference": (terminate_hung, 1),
    "hung inference": (hang, 1),
    "GIL held past the session": (hold_gil, 1),
    "SIGSTOP past the session": (freeze, 3),
    "SIGSTOP of all": (freeze_all, 1),
    "join and leave storm": (storm, 2),
    "rolling restart": (rolling_restart, 1),
    "more workers than partitions": (more_than_partitions, 1),
    "model busy": (busy_model, 1),
    "model slow": (slow_model, 1),
    "clock jump": (clock_jump, 1),
    "broker crash": (crash_broker, 2),
    "broker away past all timeouts": (broker_away, 1),
    "broker restart": (restart_broker, 1),
    "broker paused": (pause_broker, 2),
    "broker down at start": (broker_down_at_start, 1),
    "broker bounced in a rebalance": (broker_bounced_in_rebalance, 1),
    "network slow": (slow_network, 2),
    "connections cut": (cut_connections, 3),
    "network silent": (silent_network, 2),
    "output too large": (oversize, 2),
    "poison": (poison, 2),
    "burst": (burst, 2),
    "dead-letter topic gone": (dead_letters_gone, 1),
}
"""By name: the fault, and how often it is drawn beside the others."""


def draw(seed: int, count: int) -> list[str]:
    """A schedule: every kind once where there is room, then by weight, in an order that the seed draws."""
    source = random.Random(seed)
    names = list(FAULTS)
    source.shuffle(names)
    weights = [FAULTS[name][1] for name in names]
    drawn = names[:count] + source.choices(names, weights, k=max(0, count - len(names)))
    source.shuffle(drawn)
    return drawn
