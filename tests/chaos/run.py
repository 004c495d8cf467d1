"""The chaos run: `python -m tests.chaos.run --seed 7 --posts 1000000 --faults 100 --minutes 45`.

A real Kafka behind a proxy, a producer with a recorded history, workers of both lanes, faults drawn from the
seed, samples of committed offsets and memory all along, and an independent checker at the end. Status 0: no
invariant was broken.
"""

import argparse
import contextlib
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Consumer, KafkaError
from confluent_kafka.admin import AdminClient

from stream.local_kafka import LocalKafka, find_kafka_home
from tests.chaos.check import Checker
from tests.chaos.crew import Crew
from tests.chaos.faults import FAULTS, draw
from tests.chaos.feed import Feed
from tests.chaos.proxy import Proxy
from tests.chaos.report import Report, text
from tests.chaos.stage import (
    DRAIN_S,
    PAST_SESSION_S,
    REQUEST_TIMEOUT_S,
    SESSION_S,
    STOP_LIMIT_S,
    WATCHDOG_S,
    Stage,
    create_outputs,
    create_topics,
)
from tests.chaos.verdict import Topics
from tests.chaos.watch import Watch
from tests.chaos.worker import HUGE, RAISES

PARTITIONS = 4
TOPICS = ("posts", "images", "labels", "matches", "dead-letters")
PREFIX = "chaos."
GROUP = "chaos"
HEAL_LIMIT_S = WATCHDOG_S + 2 * SESSION_S + REQUEST_TIMEOUT_S + 20
"""After a fault: the watchdog may have to end a worker, a new one starts, joins and catches up."""

QUEUE_ITEMS = 20_000
BACK_TO_BACK = 0.25
"""Share of faults that do not wait until the one before has healed."""


def worker_settings(bootstrap: str, delivery: str) -> dict[str, Any]:
    """Timeouts short enough that faults heal fast; everything else as it ships."""
    return {
        "kafka": {
            "bootstrap": bootstrap,
            "group": GROUP,
            "session_timeout_ms": int(SESSION_S * 1_000),
            "heartbeat_interval_ms": 1_500,
            "request_timeout_ms": int(REQUEST_TIMEOUT_S * 1_000),
        },
        "topics": {"prefix": PREFIX},
        "lane": {
            "delivery": delivery,
            "watchdog_s": WATCHDOG_S,
            "drain_timeout_s": DRAIN_S,
            "transaction_timeout_ms": 15_000,
            "max_queue_items": QUEUE_ITEMS,
        },
        "metrics": {"port": 0, "interval_s": 1.0},
    }


@contextlib.contextmanager
def staged(options: argparse.Namespace, folder: Path, delivery: str) -> Iterator[Stage]:
    """Broker, proxy, topics, workers, feed and watch, all running."""
    home = find_kafka_home()
    if home is None:
        raise SystemExit(
            "no real Kafka: set FEEDSIGHT_KAFKA_HOME to a distribution's folder, and install Java 17"
        )
    proxy = Proxy()
    proxy.start()
    properties = {"auto.create.topics.enable": "false", "log.retention.ms": "-1"}
    broker = LocalKafka(home, folder / "kafka", properties, proxy_port=proxy.port)
    proxy.target_port = broker.behind_proxy_port
    broker.start()
    control = (PREFIX + "label-sets", PREFIX + "references")
    names = Topics(*(PREFIX + name for name in TOPICS), control)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
    create_outputs(admin, [names.labels, names.matches, names.dead_letters], PARTITIONS)
    create_topics(admin, [names.posts, names.images], PARTITIONS, {})
    create_topics(admin, [PREFIX + "metrics", PREFIX + "review"], 1, {})
    create_topics(admin, list(control), 1, {"cleanup.policy": "compact"})
    feed = Feed(
        broker.bootstrap,
        names.posts,
        names.images,
        partitions=PARTITIONS,
        seed=options.seed,
        rate=options.rate or options.posts / (options.minutes * 60) * 1.1,
        total=options.posts,
    )
    groups = {names.posts: f"{GROUP}.text", names.images: f"{GROUP}.image"}
    watch = Watch(broker.bootstrap, groups, PARTITIONS, feed.ends)
    crew = Crew(worker_settings(f"127.0.0.1:{proxy.port}", delivery), folder, options.workers)
    checker = Checker(broker.bootstrap, names, PARTITIONS, (RAISES, HUGE))
    stage = Stage(
        broker,
        proxy,
        crew,
        feed,
        watch,
        checker,
        admin,
        names,
        PARTITIONS,
        random.Random(options.seed),
        [],
        [],
    )
    try:
        crew.start()
        watch.start()
        feed.start()
        yield stage
    finally:
        crew.close()
        feed.stop()
        proxy.stop()
        broker.kill()


def chaos(options: argparse.Namespace, folder: Path) -> Report:
    """Run it."""
    report = Report(options.seed, options.delivery)
    began = time.monotonic()
    deadline = began + options.minutes * 60
    schedule = options.only.split(",") if options.only else draw(options.seed, options.faults)
    with staged(options, folder, options.delivery) as stage:
        while not all(member.grown for member in stage.crew.alive()):
            time.sleep(0.1)
        counted: Counter[str] = Counter()
        for number, name in enumerate(schedule, 1):
            if time.monotonic() > deadline:
                break
            counted[name] += 1
            _inflict(stage, name, report, f"{number}/{len(schedule)}", time.monotonic() - began)
        stage.watch.fault = "none"
        while not (options.until_faults or stage.feed.done) and time.monotonic() < deadline:
            time.sleep(0.5)
        stage.feed.stop()
        if not stage.settle(HEAL_LIMIT_S + 60):
            stage.violations.append(f"never caught up: {stage.watch.lagging(stage.feed.ends())}")
        report.minutes = round((time.monotonic() - began) / 60, 2)
        _sum_up(stage, report, counted, options.delivery == "at_least_once")
    return report


def _inflict(stage: Stage, name: str, report: Report, number: str, at_s: float) -> None:
    say(f"{at_s:7.1f} s  {number:>8}  {name}")
    stage.watch.fault = name
    FAULTS[name][0](stage)
    if stage.random.random() < BACK_TO_BACK:
        return
    healed = time.monotonic()
    if not stage.settle(HEAL_LIMIT_S):
        stage.violations.append(f"alive and idle after {name}: {stage.watch.lagging(stage.feed.ends())}")
        for member in stage.crew.alive():
            member.send(signal.SIGUSR1)  # its threads' tracebacks go to its log
    took = time.monotonic() - healed
    if took > report.slowest_heal_s:
        report.slowest_heal_s, report.slowest_heal_after = round(took, 1), name


def _sum_up(stage: Stage, report: Report, counted: Counter[str], repeats: bool) -> None:
    time.sleep(PAST_SESSION_S)  # a worker that is still on its way back into the group may drain in vain
    statuses = stage.crew.stop(STOP_LIMIT_S)
    if any(status != 0 for status in statuses):
        stage.violations.append(f"at the end SIGTERM gave {statuses}")
    time.sleep(2.0)
    stage.watch.stop()
    history = stage.feed.history
    report.sent, report.acknowledged = history.sent, history.ok
    report.failed, report.unknown = history.failed, history.unknown
    report.verdict = stage.checker.judge(history.acked, stage.watch.samples, repeats=repeats)
    report.faults = dict(counted.most_common())
    report.fault_count = counted.total()
    report.violations = stage.violations
    report.unreached = stage.unreached
    stall = stage.watch.stall
    report.longest_stall_s = round(stall.seconds, 1)
    by_fault = sorted(stage.watch.longest_by_fault.items(), key=lambda pair: -pair[1])
    report.longest_stall_by_fault_s = {name: round(seconds, 1) for name, seconds in by_fault}
    report.longest_stall_in = by_fault[0][0] if by_fault else ""
    report.exits = dict(stage.crew.statuses)
    report.worker_peak_mib = round(stage.crew.peak_rss_bytes / 2**20, 1)
    samples = [size for _, size in stage.crew.rss_samples if size]
    middle = len(samples) // 2
    report.worker_median_first_half_mib = _median_mib(samples[:middle])
    report.worker_median_second_half_mib = _median_mib(samples[middle:])
    report.most_in_flight, report.most_queue_bytes = queue_peaks(stage.broker.bootstrap)
    if report.most_in_flight > QUEUE_ITEMS:
        report.violations.append(f"{report.most_in_flight} in flight, {QUEUE_ITEMS} allowed")


def _median_mib(sizes: list[int]) -> float:
    return round(sorted(sizes)[len(sizes) // 2] / 2**20, 1) if sizes else 0.0


def queue_peaks(bootstrap: str) -> tuple[int, int]:
    """The most inputs, and bytes, in flight in any snapshot of any worker."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "chaos-metrics",
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
        }
    )
    most, most_bytes = 0, 0
    consumer.subscribe([PREFIX + "metrics"])
    while (message := consumer.poll(30)) is not None:
        if message.error() is None:
            snapshot = orjson.loads(message.value())
            most = max(most, snapshot.get("in_flight", 0))
            most_bytes = max(most_bytes, snapshot.get("queue_bytes", 0))
        elif message.error().code() == KafkaError._PARTITION_EOF:
            break
    consumer.close()
    return most, most_bytes


def say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.run", description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--posts", type=int, default=1_000_000)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=45.0, help="no fault starts later than this")
    parser.add_argument("--rate", type=float, default=0.0, help="posts a second; 0: all within the minutes")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--delivery", choices=["exactly_once", "at_least_once"], default="exactly_once")
    parser.add_argument(
        "--only", default="", help="faults by name, joined by commas, in place of a drawn schedule"
    )
    parser.add_argument(
        "--until-faults", action="store_true", help="end after the last fault, all posts sent or not"
    )
    parser.add_argument("--json", type=Path, help="write the report there too")
    parser.add_argument("--keep", type=Path, help="a folder to work in and to leave logs and data in")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the broker must not outlive the run
    folder = options.keep or Path(tempfile.mkdtemp(prefix="feedsight-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        report = chaos(options, folder)
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        options.json.write_bytes(orjson.dumps(asdict(report), option=orjson.OPT_INDENT_2))
    sys.stdout.write(text(report) + "\n")
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
