"""`feedsight bench engine`: fill a topic once, then let each contender work on it, in turn."""

import asyncio
import json
import statistics
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import orjson

from config import KafkaSettings
from stream import clients

HEADLINES: Final = (
    "Cup final goes to extra time after a late equaliser",
    "Storm surge closes the harbour road, ferries stay in port",
    "Shares slip as the central bank holds its rate",
    "New telescope sends back its first picture of a comet",
)


@dataclass(frozen=True)
class Figures:
    """What one contender did, a value a round."""

    name: str
    posts_per_s: list[float]
    cpu_us_per_post: list[float]

    @property
    def median(self) -> float:
        """Posts a second."""
        return statistics.median(self.posts_per_s)


def posts(count: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of posts, about 150 bytes each."""
    for number in range(count):
        identity = f"post-{number:08d}"
        text = f"{HEADLINES[number % len(HEADLINES)]}, reporter {number % 997} says from the scene tonight"
        yield identity.encode(), orjson.dumps({"id": identity, "text": text})


async def fill(settings: KafkaSettings, topic: str, count: int) -> None:
    """Write posts evenly over the topic's partitions."""
    producer = clients.idempotent_producer(settings)
    await producer.start()
    try:
        partitions = sorted(await producer.partitions_for(topic))
        batches = {p: producer.create_batch() for p in partitions}
        for number, (key, value) in enumerate(posts(count)):
            partition = partitions[number % len(partitions)]
            if batches[partition].append(timestamp=None, key=key, value=value) is None:
                await producer.send_batch(batches[partition], topic, partition=partition)
                batches[partition] = producer.create_batch()
                batches[partition].append(timestamp=None, key=key, value=value)
        for partition, batch in batches.items():
            await (await producer.send_batch(batch, topic, partition=partition))
        await producer.flush()
    finally:
        await producer.stop()


def compare(
    bootstrap: str, *, count: int, rounds: int, names: tuple[str, ...], said: Callable[[str], None]
) -> list[Figures]:
    """Run the contenders in turn, round by round, so that a machine that drifts drifts for all.

    Args:
        bootstrap: a broker with transactions.
        count: posts a contender and round.
        rounds: counted rounds; one more goes before as a warm-up.
        names: of contenders.
        said: told of progress.
    """
    topic = f"bench-{uuid.uuid4().hex[:8]}.posts"
    asyncio.run(fill(KafkaSettings(bootstrap=bootstrap), topic, count))
    found = {name: Figures(name, [], []) for name in names}
    for turn in range(rounds + 1):
        for name in names:
            figures = _run(name, bootstrap, topic, count)
            when = f"round {turn}" if turn else "warm-up"
            said(f"{when}  {name:<12} {figures['posts_per_s']:>9,.0f} posts/s")
            if turn:
                found[name].posts_per_s.append(figures["posts_per_s"])
                found[name].cpu_us_per_post.append(figures["cpu_us_per_post"])
    return list(found.values())


def _run(name: str, bootstrap: str, topic: str, count: int) -> dict[str, float]:
    command = [sys.executable, "-m", "stream.bench.contenders", name, bootstrap, topic, str(count)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=600)  # noqa: S603 - ours
    lines = done.stdout.splitlines()
    if not lines:
        raise RuntimeError(f"{name} failed: {done.stderr[-2_000:].decode(errors='replace')}")
    figures: dict[str, float] = json.loads(lines[-1])
    return figures
