"""For the edges: publish inputs and look on at topics. Nothing here joins a consumer group."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

from aiokafka.errors import KafkaError

from config import KafkaSettings
from stream import clients
from stream.connection import why_refused
from stream.outlet import NOT_ALLOWED, translated
from stream.records import Headers
from workers.errors import TransientError


@dataclass(frozen=True)
class Outgoing:
    """A record to publish; what has one key keeps its order."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(frozen=True)
class Incoming:
    """A committed record as a reader sees it; `timestamp_ms` is Kafka's."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Publisher:
    """Publishes records without duplicates on retry; an async context manager.

    Raises:
        TransientError: the broker does not answer, on entering or publishing.
        FatalError: it refuses who we are, or what we ask for.
    """

    def __init__(self, settings: KafkaSettings, *, linger_ms: int = 5) -> None:
        self._settings = settings
        self._linger_ms = linger_ms

    async def __aenter__(self) -> "Publisher":
        self._producer = clients.idempotent_producer(self._settings, linger_ms=self._linger_ms)
        try:
            await self._producer.start()
        except (KafkaError, OSError) as error:
            await clients.stop_quietly(self._producer)
            if isinstance(error, NOT_ALLOWED):
                raise translated(error) from error
            raise await why_refused(self._settings, error) from error
        return self

    async def __aexit__(self, *exc: object) -> None:
        await clients.stop_quietly(self._producer)

    async def publish(self, topic: str, records: Iterable[Outgoing]) -> int:
        """Publish records and wait until the broker has them all.

        Returns:
            How many there were.
        """
        futures = []
        count = 0
        try:
            for record in records:
                futures.append(
                    await self._producer.send(
                        topic, record.value, key=record.key, headers=list(record.headers)
                    )
                )
                count += 1
                if len(futures) >= 2_000:  # bounded memory, however many there are
                    await asyncio.gather(*futures)
                    futures.clear()
            await asyncio.gather(*futures)
        except KafkaError as error:
            raise translated(error) from error
        return count


async def read(
    settings: KafkaSettings, *topics: str, from_start: bool = False, until_end: bool = False
) -> AsyncIterator[Incoming]:
    """Yield committed records of topics as they come.

    Args:
        settings: how to reach the brokers.
        topics: what to read.
        from_start: from the oldest record on, else from now on.
        until_end: stop at what was the end when the reading began.

    Raises:
        TransientError: the broker does not answer.
        FatalError: it refuses who we are, or what we ask for.
    """
    consumer = clients.reader(settings, *topics, from_start=from_start)
    started = False
    try:
        await consumer.start()
        started = True
        ends = await consumer.end_offsets(list(consumer.assignment())) if until_end else {}
        while not until_end or any([await consumer.position(tp) < end for tp, end in ends.items()]):
            found = await consumer.getmany(timeout_ms=200, max_records=1_000)
            for records in found.values():
                for record in records:
                    yield incoming(record)
    except (KafkaError, OSError) as error:
        if isinstance(error, NOT_ALLOWED):
            raise translated(error) from error
        if not started:
            raise await why_refused(settings, error) from error
        raise TransientError(f"Kafka at {settings.bootstrap}: {error}") from error
    finally:
        await clients.stop_quietly(consumer)


def incoming(record: Any) -> Incoming:
    """A client's record as ours: aiokafka's and Faust's have the same fields."""
    headers = record.headers or ()
    return Incoming(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        tuple(headers.items() if isinstance(headers, dict) else headers),
    )
