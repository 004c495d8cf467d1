"""`feedsight bench engine`: fill a topic once, then let each contender work on it, in turn."""

import asyncio
import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Final

import orjson

from config import KafkaSettings
from stream import clients
from stream.bench.contest import Contestant, Row, take_turns

HEADLINES: Final = (
    "Cup final goes to extra time after a late equaliser",
    "Storm surge closes the harbour road, ferries stay in port",
    "Shares slip as the central bank holds its rate",
    "New telescope sends back its first picture of a comet",
)

Record = tuple[bytes, bytes, list[tuple[str, bytes]]]
"""Key, value and headers."""


def compare(
    bootstrap: str, *, count: int, rounds: int, names: tuple[str, ...], said: Callable[[str], None]
) -> list[Row]:
    """Run the contenders in turn, round by round; one round more goes before as a warm-up.

    Args:
        bootstrap: a broker with transactions.
        count: posts a contender and round.
        rounds: counted rounds.
        names: of contenders.
        said: told of progress.
    """
    topic = f"bench-{uuid.uuid4().hex[:8]}.posts"
    asyncio.run(fill(KafkaSettings(bootstrap=bootstrap), topic, posts(count)))
    contestants = [Contestant(name, lambda name=name: _run(name, bootstrap, topic, count)) for name in names]  # type: ignore[misc]
    said("warm-up:")
    take_turns(contestants, 1, said)
    return take_turns(contestants, rounds, said)


def posts(count: int) -> Iterator[Record]:
    """Posts of about 135 bytes."""
    for number in range(count):
        identity = f"post-{number:08d}"
        text = f"{HEADLINES[number % len(HEADLINES)]}, reporter {number % 997} says from the scene tonight"
        yield identity.encode(), orjson.dumps({"id": identity, "text": text}), []


async def fill(settings: KafkaSettings, topic: str, records: Iterator[Record]) -> None:
    """Write records evenly over the topic's partitions."""
    producer = clients.idempotent_producer(settings)
    await producer.start()
    try:
        await producer.client.add_topic(topic)
        partitions = sorted(await producer.partitions_for(topic))
        batches = {partition: producer.create_batch() for partition in partitions}
        for number, (key, value, headers) in enumerate(records):
            partition = partitions[number % len(partitions)]
            batch = batches[partition]
            if batch.append(timestamp=None, key=key, value=value, headers=headers) is None:
                await producer.send_batch(batch, topic, partition=partition)
                batches[partition] = batch = producer.create_batch()
                batch.append(timestamp=None, key=key, value=value, headers=headers)
        for partition, batch in batches.items():
            await (await producer.send_batch(batch, topic, partition=partition))
        await producer.flush()
    finally:
        await producer.stop()


def _run(name: str, bootstrap: str, topic: str, count: int) -> dict[str, float]:
    command = [sys.executable, "-m", "stream.bench.contenders", name, bootstrap, topic, str(count)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=600)  # noqa: S603 - ours
    lines = done.stdout.splitlines()
    if not lines:
        raise RuntimeError(f"{name} failed: {done.stderr[-2_000:].decode(errors='replace')}")
    figures: dict[str, float] = json.loads(lines[-1])
    return figures
