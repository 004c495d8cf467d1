"""What a fault can touch, and the timeouts that it has to outlast."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from stream.local_kafka import LocalKafka
from tests.chaos.check import Checker
from tests.chaos.crew import Crew, Member
from tests.chaos.feed import Feed
from tests.chaos.proxy import Proxy
from tests.chaos.verdict import Topics
from tests.chaos.watch import Watch

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
    unreached: list[str]

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
"""Does its harm, waits as long as that lasts, and undoes what has to be undone."""


def create_outputs(admin: AdminClient, names: list[str], partitions: int) -> None:
    """Topics whose records carry the broker's own time of writing."""
    create_topics(admin, names, partitions, OUTPUT_CONFIG)


def create_topics(admin: AdminClient, names: list[str], partitions: int, config: dict[str, str]) -> None:
    """Create topics, of which there may have been some of the same name a moment ago."""
    deadline = time.monotonic() + 30
    left = list(names)
    while left:
        wanted = NewTopic(left[0], partitions, 1, config=dict(config))
        try:
            admin.create_topics([wanted])[left[0]].result(20)
            left.pop(0)
        except KafkaException:  # a deletion of the same name is not through yet
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)


def end(stage: Stage, member: Member, statuses: set[int]) -> None:
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
