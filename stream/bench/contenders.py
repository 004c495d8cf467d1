"""The contenders, each in a process of its own: `python -m stream.bench.contenders NAME BOOTSTRAP TOPIC N`.

Each reads the same input and writes one record for each, and prints posts/s and CPU µs a post, taken between
the first and the last tenth of the input.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

import faust
import uvloop
from aiokafka import AIOKafkaProducer, TopicPartition
from faust.events import EventT

from config import Settings, load_settings
from stream import clients
from stream.app import lane_spec, tune_collector
from stream.lane import Lane
from stream.metrics import Exposition, LaneMetrics
from stream.outlet import send_all
from stream.records import OutputRecord
from stream.session import MAX_POLL_RECORDS
from stream.watchdog import Watchdog
from workers.text.instant import InstantModel

BATCH: Final = 2_000
FAUST_BATCH: Final = 500


class Meter:
    """Counts committed posts and measures between a tenth and nine tenths of them."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._count = 0
        self._start: tuple[float, float, int] | None = None
        self._end: tuple[float, float, int] | None = None
        self.done = asyncio.Event()

    def add(self, count: int) -> None:
        """Posts were committed."""
        self._count += count
        now = (time.monotonic(), time.process_time(), self._count)
        if self._start is None and self._count >= self._total * 0.1:
            self._start = now
        if self._end is None and self._count >= self._total * 0.9:
            self._end = now
            self.done.set()

    def figures(self) -> dict[str, float]:
        """Posts a second, and CPU µs a post of this process."""
        if self._start is None or self._end is None:
            raise RuntimeError("the run is not over")
        seconds, cpu, count = (end - start for start, end in zip(self._start, self._end, strict=True))
        return {"posts_per_s": count / seconds, "cpu_us_per_post": cpu / count * 1e6}


async def engine(settings: Settings, topic: str, meter: Meter) -> None:
    """Feedsight's lane, a model that answers at once; decoding, validation, headers and metrics are on."""
    spec = replace(lane_spec("text", settings), source=topic, max_batch_items=BATCH, max_batch_cost=10**9)
    metrics = _MeteredLaneMetrics("text", "bench", Exposition())
    metrics.meter = meter
    lane = Lane(spec, InstantModel(), settings, metrics, Watchdog(600))
    await lane.start()
    await meter.done.wait()
    await lane.stop()


class _MeteredLaneMetrics(LaneMetrics):
    meter: Meter

    def committed(self, answers: Any) -> None:
        super().committed(answers)
        self.meter.add(len(answers))


async def raw(settings: Settings, topic: str, meter: Meter) -> None:
    """Pass bytes through aiokafka's usual interface, `send`, a transactional producer for each partition."""
    await _pass_through(settings, topic, meter, _send_each)


async def raw_batches(settings: Settings, topic: str, meter: Meter) -> None:
    """The same through aiokafka's batch interface, which our engine uses too: the floor of what it costs."""
    await _pass_through(settings, topic, meter, _send_batches)


Send = Callable[[AIOKafkaProducer, str, int, Any], Awaitable[None]]


async def _pass_through(settings: Settings, topic: str, meter: Meter, send: Send) -> None:
    group = settings.kafka.group
    consumer = clients.lane_consumer(settings.kafka, group)
    consumer.subscribe([topic])
    await consumer.start()
    producers: dict[TopicPartition, AIOKafkaProducer] = {}
    busy: dict[TopicPartition, asyncio.Task[None]] = {}

    async def transact(partition: TopicPartition, records: Any) -> None:
        producer = producers[partition]
        await producer.begin_transaction()
        await send(producer, settings.topics.prefix + "labels", partition.partition, records)
        await producer.send_offsets_to_transaction({partition: records[-1].offset + 1}, group)
        await producer.commit_transaction()
        meter.add(len(records))

    while not meter.done.is_set():
        found = await consumer.getmany(timeout_ms=200, max_records=MAX_POLL_RECORDS)
        for partition, records in found.items():
            if partition not in producers:
                name = f"{group}.{partition.partition}"
                producers[partition] = clients.transactional_producer(settings.kafka, name, 60_000)
                await producers[partition].start()
            if partition in busy:
                await busy[partition]
            busy[partition] = asyncio.create_task(transact(partition, records))
    await asyncio.gather(*busy.values())


async def _send_each(producer: AIOKafkaProducer, topic: str, partition: int, records: Any) -> None:
    sent = [await producer.send(topic, r.value, key=r.key, partition=partition) for r in records]
    await asyncio.gather(*sent)


async def _send_batches(producer: AIOKafkaProducer, topic: str, partition: int, records: Any) -> None:
    output = [OutputRecord(topic, record.key, record.value, []) for record in records]
    await send_all(producer, output, partition)


async def faust_agent(settings: Settings, topic: str, meter: Meter) -> None:
    """A Faust agent that loses nothing: noack events, an awaited idempotent producer, acks afterwards."""
    app = faust.App(
        settings.kafka.group,
        broker=f"kafka://{settings.kafka.bootstrap}",
        store="memory://",
        value_serializer="raw",
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
        datadir=tempfile.mkdtemp(),  # Faust wants a folder for tables it does not have
        consumer_auto_offset_reset="earliest",
        stream_buffer_maxsize=4 * FAUST_BATCH,
        broker_max_poll_records=FAUST_BATCH,
    )
    producer = clients.idempotent_producer(settings.kafka)
    await producer.start()
    sink = settings.topics.prefix + "labels"

    async def agent(stream: Any) -> None:
        waiting: list[tuple[EventT[Any], Awaitable[Any]]] = []
        async for event in stream.noack().events():
            waiting.append((event, await producer.send(sink, event.value, key=event.key)))
            if len(waiting) == FAUST_BATCH:
                await asyncio.gather(*(future for _, future in waiting))
                for done, _ in waiting:
                    await stream.ack(done)
                meter.add(len(waiting))
                waiting.clear()

    app.agent(app.topic(topic, value_serializer="raw", key_serializer="raw"))(agent)
    await app.start()
    await meter.done.wait()


CONTENDERS: Final[dict[str, Callable[[Settings, str, Meter], Awaitable[None]]]] = {
    "engine": engine,
    "raw": raw,
    "raw-batches": raw_batches,
    "faust": faust_agent,
}


def main(name: str, bootstrap: str, topic: str, total: int) -> None:
    """Run one contender and print its figures as JSON."""
    unique = f"bench-{name}-{uuid.uuid4().hex[:8]}."
    settings = load_settings(
        None, {"kafka": {"bootstrap": bootstrap, "group": unique + "g"}, "topics": {"prefix": unique}}, {}
    )

    async def run() -> dict[str, float]:
        meter = Meter(total)
        await CONTENDERS[name](settings, topic, meter)
        return meter.figures()

    tune_collector()  # for all of them alike
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures = runner.run(run())
        sys.stdout.write(json.dumps(figures) + "\n")
        sys.stdout.flush()
        os._exit(0)  # Faust's consumer thread would keep the process


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
