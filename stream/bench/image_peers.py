"""What one would write otherwise, each in a process of its own: images, with torch eager.

`python -m stream.bench.image_peers NAME BOOTSTRAP TOPIC SINK`. Each reads encoded images from TOPIC, embeds
and matches them in torch, and writes `{"id", "verdict"}` to SINK: `eager-each` one by one, `eager-batches`
what a poll gives, at most 32.
"""

import asyncio
import sys
from typing import Final

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from stream.bench.pictures import references
from workers.image.models.eager import EagerMatcher

BATCH: Final = {"eager-each": 1, "eager-batches": 32}


async def work(name: str, bootstrap: str, topic: str, sink: str) -> None:
    """Work with aiokafka as one would write it: poll, match, send, commit."""
    matcher = EagerMatcher([reference.content or b"" for reference in references()])
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=sink + ".g",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_poll_interval_ms=3_600_000,
    )
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=0)
    await consumer.start()
    await producer.start()
    while True:
        found = await consumer.getmany(timeout_ms=500, max_records=BATCH[name])
        records = [record for polled in found.values() for record in polled]
        if not records:
            continue
        verdicts = await asyncio.to_thread(matcher.match, [record.value for record in records])
        for record, verdict in zip(records, verdicts, strict=True):
            answer = {"id": (record.key or b"").decode(), "verdict": verdict}
            await producer.send_and_wait(sink, orjson.dumps(answer))
        await consumer.commit()


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:5]))
