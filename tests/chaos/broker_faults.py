"""Faults of the broker, the network, the topics and what is sent."""

import time

from confluent_kafka import Producer

from tests.chaos.stage import (
    PAST_SESSION_S,
    REQUEST_TIMEOUT_S,
    Stage,
    create_outputs,
    create_topics,
    end,
)


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
    end(stage, comer, {0, -15})


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


def control_topics_gone(stage: Stage) -> None:
    """The control topics are deleted under the workers, one of which starts without them; then made again."""
    names = list(stage.topics.control)
    for future in stage.admin.delete_topics(names).values():
        future.result(20)
    time.sleep(2.0)
    if victim := stage.victim():
        stage.crew.kill(victim)
    time.sleep(5.0)
    create_topics(stage.admin, names, 1, {"cleanup.policy": "compact"})
    producer = Producer({"bootstrap.servers": stage.broker.bootstrap})
    for name in names:
        producer.produce(name, b"{}", key=b"a-set")
    producer.flush(20)
