"""Waits until every live worker has said that a change is in force."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Final, Self

import orjson
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from config import Settings
from stream import clients
from stream.outlet import translated
from stream.topics import TopicNames

SILENT_INTERVALS: Final = 3.0
"""A worker that has not been heard of for so many of its intervals is taken for dead."""

LOOK_BACK_RECORDS: Final = 1_000
"""How far back live workers are looked for: some minutes of dozens of workers. Not by time: not every broker
finds offsets by it."""

ANSWERS: Final = frozenset({"in_force", "removed", "refused"})


@dataclass
class LiveWorker:
    """A worker that publishes snapshots.

    Attributes:
        heard_ms: when it was last heard of, by the broker's clock.
        interval_s: between its snapshots.
        in_force: versions by name, as it last said.
    """

    heard_ms: int
    interval_s: float = 5.0
    in_force: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """A worker's word on a change: `in_force`, `removed`, `refused`; or `silent` where it never came."""

    worker: str
    kind: str
    version: str | None = None
    detail: str | None = None
    after_s: float = 0.0
    """From the change's publication to the worker's word, as seen here."""


class InForce:
    """Watches the metrics topic; an async context manager, entered before the change is published.

    Args:
        settings: how to reach the brokers, and the prefix.
        lane: `text` or `image`.
    """

    def __init__(self, settings: Settings, lane: str) -> None:
        self._settings = settings
        self._lane = lane
        self._consumer: AIOKafkaConsumer = clients.reader(settings.kafka, from_start=False)
        self.workers: dict[str, LiveWorker] = {}
        self._answers: list[tuple[dict[str, Any], int, float]] = []

    async def __aenter__(self) -> Self:
        """Find out which workers live.

        Raises:
            TransientError: the broker does not answer.
        """
        topic = TopicNames(self._settings.topics.prefix).metrics
        try:
            await self._consumer.start()
            if topic not in await self._consumer.topics():
                return self
            partitions = await clients.assign_whole(self._consumer, topic)
            ends = await self._consumer.end_offsets(partitions)
            beginnings = await self._consumer.beginning_offsets(partitions)
            for partition in partitions:
                start = max(beginnings[partition], ends[partition] - LOOK_BACK_RECORDS)
                self._consumer.seek(partition, start)
            while any([await self._consumer.position(tp) < end for tp, end in ends.items()]):
                await self._listen(0.2)
        except (KafkaError, OSError) as error:
            await clients.stop_quietly(self._consumer)
            raise translated(error) from error
        return self

    async def __aexit__(self, *exc: object) -> None:
        await clients.stop_quietly(self._consumer)

    def live(self) -> set[str]:
        """The workers heard of lately."""
        now_ms = time.time() * 1_000
        return {
            name
            for name, worker in self.workers.items()
            if now_ms - worker.heard_ms < SILENT_INTERVALS * worker.interval_s * 1_000
        }

    async def until(self, name: str, published_ms: int, timeout_s: float) -> list[Answer]:
        """Wait for each live worker's word on a change, or on a later one of the same name.

        A worker that falls silent is not waited for, one that starts meanwhile is.

        Args:
            name: the label set or gallery.
            published_ms: timestamp of the change's record.
            timeout_s: for all of it.

        Returns:
            A word from each; `silent` for those that gave none in time.
        """
        answers: dict[str, Answer] = {}
        started = time.monotonic()
        began_ms = time.time() * 1_000
        try:
            while True:
                for event, _, at_s in self._answers:
                    facts = event.get("facts") or {}
                    if event.get("name") == name and facts.get("published_ms", 0) >= published_ms:
                        answers[event["worker"]] = Answer(
                            event["worker"],
                            event["kind"],
                            event.get("version"),
                            event.get("detail"),
                            max(0.0, at_s - published_ms / 1_000),
                        )
                self._answers.clear()
                waiting = self.live() - set(answers)
                if not waiting or time.monotonic() - started > timeout_s:
                    break
                await self._listen(0.2)
        except (KafkaError, OSError) as error:
            raise translated(error) from error
        after_s = max(0.0, (time.time() * 1_000 - began_ms) / 1_000)
        return [
            *answers.values(),
            *(Answer(worker, "silent", after_s=after_s) for worker in sorted(self.live() - set(answers))),
        ]

    async def _listen(self, timeout_s: float) -> None:
        if not self._consumer.assignment():
            await asyncio.sleep(timeout_s)
            return
        found = await self._consumer.getmany(timeout_ms=int(timeout_s * 1_000))
        for records in found.values():
            for record in records:
                self._take(record.value, record.timestamp)

    def _take(self, value: bytes | None, timestamp_ms: int) -> None:
        try:
            message = orjson.loads(value or b"")
            worker, lane = message["worker"], message["lane"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return
        if lane != self._lane:
            return
        kind = message.get("kind", "snapshot")
        if kind == "stopped":
            self.workers.pop(worker, None)
            return
        known = self.workers.setdefault(worker, LiveWorker(timestamp_ms))
        known.heard_ms = max(known.heard_ms, timestamp_ms)
        if kind == "snapshot":
            known.interval_s = float(message.get("interval_s") or known.interval_s)
            known.in_force = message.get("in_force") or {}
        elif kind in ANSWERS:
            self._answers.append((message, timestamp_ms, time.time()))
