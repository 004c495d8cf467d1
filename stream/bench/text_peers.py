"""What one would write otherwise, each in a process of its own: text, with sentence-transformers.

`python -m stream.bench.text_peers NAME BOOTSTRAP TOPIC SINK LABELS`. Each reads posts from TOPIC, labels them
by the same model in torch, and writes `{"id", "label", "similarity"}` to SINK. None of them validates, fences
or dead-letters: they are what a first version looks like.
"""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import faust
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from workers.text.label_set import load_label_set
from workers.text.models.plain import PlainLabeller

TAKE: Final = 64
WITHIN_S: Final = 0.5
BATCH: Final = 128

Peer = Callable[[str, str, str, PlainLabeller], Coroutine[Any, Any, None]]


def _result(identity: str, label: str, similarity: float) -> dict[str, Any]:
    return {"id": identity, "label": label, "similarity": round(similarity, 6)}


def _app(bootstrap: str, sink: str) -> faust.App:
    return faust.App(
        sink + ".g",
        broker=f"kafka://{bootstrap}",
        store="memory://",
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
        datadir=tempfile.mkdtemp(),  # Faust wants a folder for tables it does not have
        consumer_auto_offset_reset="earliest",
    )


async def faust_each(bootstrap: str, topic: str, sink: str, model: PlainLabeller) -> None:
    """A Faust agent that calls `encode` for each message."""
    app = _app(bootstrap, sink)
    out = app.topic(sink, value_serializer="json")

    async def agent(stream: Any) -> None:
        async for post in stream:
            label, similarity = model.label_one(post["text"])
            await out.send(value=_result(post["id"], label, similarity))

    app.agent(app.topic(topic, value_serializer="json"))(agent)
    await app.start()
    await asyncio.Event().wait()


async def faust_take(bootstrap: str, topic: str, sink: str, model: PlainLabeller) -> None:
    """A Faust agent that takes messages in batches with `take()`."""
    app = _app(bootstrap, sink)
    out = app.topic(sink, value_serializer="json")

    async def agent(stream: Any) -> None:
        async for posts in stream.take(TAKE, within=WITHIN_S):
            for post, (label, similarity) in zip(posts, model.label([p["text"] for p in posts]), strict=True):
                await out.send(value=_result(post["id"], label, similarity))

    app.agent(app.topic(topic, value_serializer="json"))(agent)
    await app.start()
    await asyncio.Event().wait()


async def aiokafka_batches(bootstrap: str, topic: str, sink: str, model: PlainLabeller) -> None:
    """Call `encode` on what aiokafka's `getmany` gives, then commit."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=sink + ".g",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_poll_interval_ms=3_600_000,
    )
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5)
    await consumer.start()
    await producer.start()
    while True:
        found = await consumer.getmany(timeout_ms=500, max_records=BATCH)
        posts = [json.loads(record.value) for records in found.values() for record in records]
        if not posts:
            continue
        answers = await asyncio.to_thread(model.label, [post["text"] for post in posts])
        sent = [
            await producer.send(sink, orjson.dumps(_result(post["id"], *answer)))
            for post, answer in zip(posts, answers, strict=True)
        ]
        await asyncio.gather(*sent)
        await consumer.commit()


async def faststream(bootstrap: str, topic: str, sink: str, model: PlainLabeller) -> None:
    """A FastStream subscriber that calls `encode` for each message, and publishes what it returns."""
    from faststream import FastStream
    from faststream.kafka import KafkaBroker

    broker = KafkaBroker(bootstrap, log_level=30)

    async def label(post: dict[str, Any]) -> dict[str, Any]:
        return _result(post["id"], *model.label_one(post["text"]))

    subscribe = broker.subscriber(topic, group_id=sink + ".g", auto_offset_reset="earliest")
    subscribe(broker.publisher(sink)(label))
    await FastStream(broker).run()


PEERS: Final[dict[str, Peer]] = {
    "faust": faust_each,
    "faust-take": faust_take,
    "aiokafka": aiokafka_batches,
    "faststream": faststream,
}


def main(name: str, bootstrap: str, topic: str, sink: str, labels: str) -> None:
    """Work until told to stop."""
    model = PlainLabeller(load_label_set(Path(labels)))
    model.load()
    try:
        asyncio.run(PEERS[name](bootstrap, topic, sink, model))
    finally:
        os._exit(0)  # Faust's consumer thread would keep the process


if __name__ == "__main__":
    main(*sys.argv[1:6])
