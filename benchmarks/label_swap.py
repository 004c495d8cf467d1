"""Label sets changed under load: how long until each is in force everywhere, and what the stream notices.

    python benchmarks/label_swap.py [--rate 5000] [--workers 3] [--applies 50] [--model static]

Starts a Kafka of its own (FEEDSIGHT_KAFKA_HOME or ../shared/kafka) and workers as separate processes; sends
generated posts at the rate; first without a change, then with one version after the other. Each change adds
words to a label, so that a head is really fitted anew. At the end every post must have exactly one result,
and versions must not go back within a partition.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import orjson

from config import load_settings
from schemas import Label, LabelSet
from stream.client import Outgoing, Publisher, read
from stream.in_force import InForce
from stream.label_sets import publish
from stream.local_kafka import LocalKafka, find_kafka_home
from stream.topics import create_topics

LABELS = {
    "sports": "Sports, matches, teams and players",
    "business": "Companies, markets, profits and the economy",
    "weather": "Rain, sun, wind and storms",
    "music": "Songs, concerts, bands and festivals",
}
_TEXT = (
    "the a on in after before match storm bank band team rain market song goal wind price concert player sun "
    "profit festival coach flood shares tour win snow deal album city people today tonight again big new"
)
WORDS = _TEXT.split()


def label_set(version: int) -> LabelSet:
    labels = tuple(
        Label(name=name, description=f"{text}, {WORDS[version % len(WORDS)]} {version}")
        for name, text in LABELS.items()
    )
    return LabelSet(name="swap", version=version, labels=labels)


async def send(settings, rate: int, done: asyncio.Event) -> int:
    rng = np.random.default_rng(0)
    sent = 0
    started = time.monotonic()
    async with Publisher(settings.kafka) as publisher:
        while not done.is_set():
            due = int((time.monotonic() - started) * rate) - sent
            if due > 0:
                words = rng.integers(0, len(WORDS), (due, 14))
                records = [
                    Outgoing(
                        b"%d" % (sent + n), orjson.dumps({"id": f"p{sent + n}", "text": _text(words[n])})
                    )
                    for n in range(due)
                ]
                sent += await publisher.publish(settings.topics.prefix + "posts", records)
            await asyncio.sleep(0.02)
    return sent


def _text(row: np.ndarray) -> str:
    return " ".join(WORDS[i] for i in row)


async def apply_all(settings, first: int, count: int, pause_s: float) -> list[float]:
    took = []
    async with InForce(settings, "text") as watch:
        for version in range(first, first + count):
            published_ms = await publish(settings, label_set(version), by="benchmark")
            answers = await watch.until("swap", published_ms, timeout_s=30)
            if any(answer.kind != "in_force" for answer in answers):
                raise SystemExit(f"version {version}: {answers}")
            took.append(max(answer.after_s for answer in answers))
            await asyncio.sleep(pause_s)
    return took


async def run(settings, args: argparse.Namespace, workers: list[subprocess.Popen]) -> dict:
    await publish(settings, label_set(1))
    async with InForce(settings, "text") as watch:
        while len(watch.workers) < len(workers):
            await watch._listen(0.2)
    done = asyncio.Event()
    sending = asyncio.create_task(send(settings, args.rate, done))
    await asyncio.sleep(args.settle)
    quiet_from = time.time()
    await asyncio.sleep(args.quiet)
    quiet_to = time.time()
    took = await apply_all(settings, 2, args.applies, args.pause)
    busy_to = time.time()
    done.set()
    sent = await sending
    results = await collect(settings, sent)
    stamps = np.array([stamp for _, stamp, *_ in results]) / 1_000
    ids = Counter(identity for identity, *_ in results)

    def rate(start: float, end: float) -> float:
        return float(((stamps >= start) & (stamps < end)).sum() / (end - start))

    return {
        "sent": sent,
        "lost": sent - len(ids),
        "double": sum(count - 1 for count in ids.values()),
        "versions_back": _backwards(results),
        "in_force_s": {
            name: round(float(np.percentile(took, q)), 4)
            for name, q in (("p50", 50), ("p99", 99), ("max", 100))
        },
        "applies": len(took),
        "rate_without_changes": round(rate(quiet_from, quiet_to)),
        "rate_with_changes": round(rate(quiet_to, busy_to)),
        "dip": round(1 - rate(quiet_to, busy_to) / max(rate(quiet_from, quiet_to), 1e-9), 4),
        "workers": len(workers),
        "model": args.model,
        "cores": os.cpu_count(),
    }


async def collect(settings, sent: int) -> list[tuple[str, int, int, int, int]]:
    """(id, milliseconds, partition, offset, version) of every result, once all are there."""
    found: list[tuple[str, int, int, int, int]] = []
    deadline = time.monotonic() + 120
    while len(found) < sent and time.monotonic() < deadline:
        found = []
        topic = settings.topics.prefix + "labels"
        async for record in read(settings.kafka, topic, from_start=True, until_end=True):
            result = orjson.loads(record.value)
            source = result["source"]
            found.append(
                (
                    result["id"],
                    record.timestamp_ms,
                    source["partition"],
                    source["offset"],
                    int(result["version"]),
                )
            )
    return found


def _backwards(results: list[tuple[str, int, int, int, int]]) -> int:
    count = 0
    newest: dict[int, int] = {}
    for _, _, partition, _, version in sorted(results, key=lambda found: (found[2], found[3])):
        count += version < newest.get(partition, 0)
        newest[partition] = max(version, newest.get(partition, 0))
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=int, default=5_000)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--applies", type=int, default=50)
    parser.add_argument("--model", default="static")
    parser.add_argument("--settle", type=float, default=10.0)
    parser.add_argument("--quiet", type=float, default=20.0)
    parser.add_argument("--pause", type=float, default=0.3)
    args = parser.parse_args()
    home = find_kafka_home()
    if home is None:
        raise SystemExit("needs Java and a Kafka: set FEEDSIGHT_KAFKA_HOME")
    with tempfile.TemporaryDirectory() as folder:
        kafka = LocalKafka(home, Path(folder))
        kafka.start()
        bootstrap = kafka.bootstrap
        settings = load_settings(
            None,
            {"kafka": {"bootstrap": bootstrap}, "topics": {"prefix": "swap.", "partitions": 6}},
            {},
        )
        asyncio.run(create_topics(settings.kafka, settings.topics))
        environment = os.environ | {"FEEDSIGHT_METRICS__INTERVAL_S": "1", "FEEDSIGHT_TEXT__THREADS": "1"}
        command = [
            sys.executable,
            "-c",
            "from cli.main import main; main()",
            "worker",
            "text",
            "--kafka",
            bootstrap,
        ]
        command += ["--prefix", "swap.", "--model", args.model, "--metrics-port", "0"]
        workers = []
        for number in range(args.workers):
            log = (Path(folder) / f"{number}.log").open("wb")
            workers.append(subprocess.Popen(command, env=environment, stderr=log))
        try:
            print(json.dumps(asyncio.run(run(settings, args, workers)), indent=2))
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                with suppress(subprocess.TimeoutExpired):
                    worker.wait(30)
                worker.kill()
            kafka.stop()


if __name__ == "__main__":
    main()
