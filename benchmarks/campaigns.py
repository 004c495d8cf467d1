"""One campaign against a hundred: posts a second through one worker on a real Kafka, exactly once.

    python benchmarks/campaigns.py [--posts 4000] [--campaigns 100] [--model sentence] [--rounds 2]

Starts a Kafka of its own (FEEDSIGHT_KAFKA_HOME or ../shared/kafka). Each case has topics of its own. All
posts lie there before the worker starts; counted are the last four fifths of the results, and every campaign
answers every post. `filtered` gives each campaign a tenth of the posts, by words.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median

import numpy as np
import orjson
from label_swap import WORDS

from config import Settings, load_settings
from schemas import Filters, Label, LabelSet
from stream.client import Outgoing, Publisher, read
from stream.label_sets import publish
from stream.local_kafka import LocalKafka, find_kafka_home
from stream.topics import create_topics

SUBJECTS = (
    "sports business weather music war space phones health film oil trade law school food travel cars games "
    "art crime banks"
)


def label_sets(count: int, *, filtered: bool) -> list[LabelSet]:
    found = []
    for number in range(count):
        names = random.Random(number).sample(SUBJECTS.split(), 5)
        labels = tuple(
            Label(name=name, description=f"News about {name} and what is said of it") for name in names
        )
        filters = Filters(words=(f"topic{number % 10}",)) if filtered else None
        found.append(LabelSet(name=f"campaign{number}", version=1, labels=labels, filters=filters))
    return found


def posts(count: int) -> list[Outgoing]:
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        text = " ".join(rng.choice(WORDS, 24)) + f" topic{number % 10} {number}"
        found.append(Outgoing(b"%d" % number, orjson.dumps({"id": f"p{number}", "text": text})))
    return found


async def stamps_of(settings: Settings, wanted: int, deadline_s: float) -> tuple[np.ndarray, Counter]:
    """Times of the committed results in seconds, and how often each post and campaign has one."""
    end = time.monotonic() + deadline_s
    stamps: list[int] = []
    seen: Counter = Counter()
    async for record in read(settings.kafka, settings.topics.prefix + "labels", from_start=True):
        result = orjson.loads(record.value)
        seen[result["id"], result["label_set"]] += 1
        stamps.append(record.timestamp_ms)
        if len(stamps) >= wanted or time.monotonic() > end:
            break
    return np.array(stamps) / 1_000, seen


async def once(
    bootstrap: str, prefix: str, count: int, args: argparse.Namespace, *, filtered: bool
) -> tuple[float, float]:
    overrides = {"kafka": {"bootstrap": bootstrap, "group": prefix + "g"}, "topics": {"prefix": prefix}}
    settings = load_settings(None, overrides, {})
    await create_topics(settings.kafka, settings.topics)
    for label_set in label_sets(count, filtered=filtered):
        await publish(settings, label_set, archive=False)
    async with Publisher(settings.kafka) as publisher:
        await publisher.publish(prefix + "posts", posts(args.posts))
    command = [sys.executable, "-c", "from cli.main import main; main()", "worker", "text"]
    command += ["--kafka", bootstrap, "--prefix", prefix, "--group", prefix + "g", "--model", args.model]
    command += ["--metrics-port", "0", "--log-level", "ERROR"]
    started = time.time()
    worker = subprocess.Popen(command)  # noqa: ASYNC220
    try:
        each = count // 10 if filtered and count >= 10 else count
        wanted = args.posts * each if not (filtered and count < 10) else args.posts // 10
        stamps, seen = await stamps_of(settings, wanted, args.limit)
    finally:
        worker.terminate()
        worker.wait(60)
    if len(stamps) < wanted or max(seen.values()) > 1:
        raise SystemExit(f"{len(stamps)} of {wanted} results, at most {max(seen.values(), default=0)} each")
    from_s = float(np.quantile(stamps, 0.2))
    share = float((stamps > from_s).mean())  # of the posts, as each has as many results
    return args.posts * share / (float(stamps.max()) - from_s), float(stamps.min()) - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--posts", type=int, default=4_000)
    parser.add_argument("--campaigns", type=int, default=100)
    parser.add_argument("--model", default="sentence")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--limit", type=float, default=300.0)
    args = parser.parse_args()
    home = find_kafka_home()
    if home is None:
        raise SystemExit("needs Java and a Kafka: set FEEDSIGHT_KAFKA_HOME")
    rates: dict[str, list[float]] = {"one": [], "many": [], "many, filtered": []}
    starts: dict[str, list[float]] = {name: [] for name in rates}
    with tempfile.TemporaryDirectory() as folder:
        kafka = LocalKafka(home, Path(folder))
        kafka.start()
        try:
            for number in range(args.rounds):
                cases = {
                    "one": (1, False),
                    "many": (args.campaigns, False),
                    "many, filtered": (args.campaigns, True),
                }
                for name, (count, filtered) in cases.items():
                    prefix = f"r{number}-{name[:4].strip()}{int(filtered)}."
                    rate, start_s = asyncio.run(once(kafka.bootstrap, prefix, count, args, filtered=filtered))
                    rates[name].append(rate)
                    starts[name].append(start_s)
        finally:
            kafka.stop()
    found = {name: round(median(values), 1) for name, values in rates.items()}
    share = {name: round(found[name] / found["one"], 3) for name in found}
    first = {name: round(median(values), 2) for name, values in starts.items()}
    facts = {
        "posts_per_s": found,
        "start_to_first_result_s": first,
        "of_one": share,
        "campaigns": args.campaigns,
        "model": args.model,
    }
    print(json.dumps({**facts, "rounds": args.rounds, "cores": os.cpu_count()}, indent=2))


if __name__ == "__main__":
    main()
