"""What workers say on the metrics topic: a snapshot each interval, and events as they happen."""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import mode
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from config import Settings
from schemas import MetricsSnapshot, WorkerEvent
from stream import clients
from stream.lane import Lane
from stream.topics import TopicNames
from workers.base import Applied

logger = logging.getLogger(__name__)

MAX_WAITING: Final = 1_000
"""Events kept for a broker that is away; of more, the oldest go."""

GOODBYE_TIMEOUT_S: Final = 2.0


class Reports(mode.Service):  # type: ignore[misc]
    """Publishes snapshots and events. Results matter more: it never holds a lane up.

    Args:
        settings: all settings.
        worker: the process's name.
        lanes: whose snapshots are published.
    """

    def __init__(self, settings: Settings, worker: str, lanes: Sequence[Lane] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lanes: list[Lane] = list(lanes)
        self._settings = settings
        self._worker = worker
        self._topic = TopicNames(settings.topics.prefix).metrics
        self._waiting: deque[tuple[str, MetricsSnapshot | WorkerEvent]] = deque(maxlen=MAX_WAITING)
        self._wake = asyncio.Event()
        self._sending = asyncio.Lock()
        self._producer: AIOKafkaProducer | None = None

    def event(self, lane: str, **facts: Any) -> None:
        """Say that something happened.

        Args:
            lane: where.
            facts: of the WorkerEvent.
        """
        event = WorkerEvent(worker=self._worker, lane=lane, at=_now(), **facts)
        self._waiting.append((lane, event))
        self._wake.set()

    def applied(self, lane: str, applied: Applied, took_s: float) -> None:
        """Say what came of a change of labels or references."""
        kind = "removed" if applied.removed else "refused" if applied.refused is not None else "in_force"
        facts = {"published_ms": applied.published_ms, **dict(applied.facts)}
        self.event(
            lane,
            kind=kind,
            name=applied.name,
            version=applied.version,
            detail=applied.refused,
            took_s=round(took_s, 4),
            facts=facts,
        )

    @mode.Service.task  # type: ignore[untyped-decorator]
    async def _publish(self) -> None:
        loop = asyncio.get_running_loop()
        interval_s = self._settings.metrics.interval_s
        due = loop.time() + interval_s
        for lane in self.lanes:
            self.event(lane.spec.name, kind="started")
        while not self.should_stop:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, due - loop.time())):
                    await self._wake.wait()
            self._wake.clear()
            if loop.time() >= due:
                due = loop.time() + interval_s
                for lane in self.lanes:
                    self._waiting.append((lane.spec.name, lane.snapshot()))
            await self._send()

    async def on_stop(self) -> None:
        """Say goodbye, so that nobody waits for this worker."""
        for lane in self.lanes:
            self.event(lane.spec.name, kind="stopped")
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_TIMEOUT_S):
                await self._send()
        async with self._sending:
            self._waiting.clear()
            producer, self._producer = self._producer, None
            if producer is not None:
                await clients.stop_quietly(producer)

    async def _send(self) -> None:
        async with self._sending:
            await self._send_waiting()

    async def _send_waiting(self) -> None:
        try:
            if self._producer is None and self._waiting:
                self._producer = clients.idempotent_producer(self._settings.kafka)
                await self._producer.start()
            while self._waiting and self._producer is not None:
                lane, message = self._waiting[0]
                key = f"{self._worker}.{lane}".encode()
                await self._producer.send_and_wait(self._topic, message.to_json(), key=key)
                self._waiting.popleft()
        except (KafkaError, OSError) as error:  # results matter, reports can wait
            logger.warning("no report was published: %s", error)
            if self._producer is not None:
                await clients.stop_quietly(self._producer)
            self._producer = None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
