"""References on their topic, as commands see them: what is in force, and how it is changed.

Under the key `gallery/id` stands a member of a gallery; a null value takes it away: see workers/image/parse.
"""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from aiokafka.errors import KafkaError

from config import Settings
from schemas import Reference
from stream import clients
from stream.client import Outgoing
from stream.control_topic import read_control
from stream.in_force import InForce
from stream.outlet import translated
from stream.topics import TopicNames
from workers.errors import PipelineError
from workers.image.membership import Checksum, member_digest
from workers.image.parse import parse_reference

IN_FLIGHT_BYTES = 16 * 2**20
"""Sent and not yet acknowledged by the broker."""


@dataclass(frozen=True)
class Stored:
    """A reference on the topic, without its bytes."""

    reference: Reference
    digest: str
    at_ms: int


@dataclass(frozen=True)
class Catalogue:
    """All references on the topic.

    Attributes:
        galleries: their members by id.
        unreadable: what is wrong with other records, by key.
    """

    galleries: dict[str, dict[str, Stored]] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)

    def checksum(self, gallery: str) -> str:
        """What workers publish once just these members are in force; see `workers.image.membership`."""
        found = Checksum()
        for stored in self.galleries.get(gallery, {}).values():
            found = found.plus(stored.digest)
        return str(found)


async def read_catalogue(settings: Settings) -> Catalogue:
    """Read the topic; empty where it does not exist.

    Raises:
        TransientError: the broker does not answer.
    """
    catalogue = Catalogue()
    for change in await read_control(settings.kafka, TopicNames(settings.topics.prefix).references):
        try:
            reference = parse_reference(change, settings.image.max_bytes)
        except PipelineError as error:
            catalogue.unreadable[change.key] = error.detail
            continue
        if not reference.removed:
            kept = reference.model_copy(update={"content": None})
            stored = Stored(kept, member_digest(reference), change.timestamp_ms)
            catalogue.galleries.setdefault(reference.gallery, {})[reference.id] = stored
    return catalogue


async def publish(settings: Settings, records: Iterable[Outgoing]) -> tuple[int, int]:
    """Publish records to the references topic, in order, and wait until the broker has them all.

    Returns:
        How many there were, and the timestamp of the last, which is later than that of all others: who has
        heard of it has heard of them all. Milliseconds since the epoch.

    Raises:
        TransientError: the broker does not answer.
    """
    topic = TopicNames(settings.topics.prefix).references
    producer = clients.idempotent_producer(settings.kafka)
    count, in_flight, last_ms = 0, 0, 0
    waiting = []
    former: Outgoing | None = None
    try:
        await producer.start()
        for record in _with_end(records):
            if former is not None:
                last_ms = max(int(time.time() * 1_000), last_ms + (record is None))
                waiting.append(
                    await producer.send(
                        topic,
                        former.value,
                        key=former.key,
                        headers=list(former.headers),
                        timestamp_ms=last_ms,
                    )
                )
                count, in_flight = count + 1, in_flight + len(former.value or b"")
            if in_flight > IN_FLIGHT_BYTES or record is None:
                await asyncio.gather(*waiting)
                waiting, in_flight = [], 0
            former = record
    except (KafkaError, OSError) as error:
        raise translated(error) from error
    finally:
        await clients.stop_quietly(producer)
    return count, last_ms


def _with_end(records: Iterable[Outgoing]) -> Iterable[Outgoing | None]:
    yield from records
    yield None


class ReferencesInForce(InForce):
    """Waits for galleries. A reference that is refused does not keep the others from being in force.

    Args:
        settings: how to reach the brokers, and the prefix.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, "image")
        self.refused: dict[str, str] = {}
        """Why a worker does not take a reference, by id."""

    async def __aenter__(self) -> Self:
        """Find out which workers live; what they refused before is no concern of ours."""
        await super().__aenter__()
        self.refused.clear()
        return self

    def _take(self, value: bytes | None, timestamp_ms: int) -> None:
        super()._take(value, timestamp_ms)
        if self._answers and self._answers[-1][0].get("kind") == "refused":
            event, _, _ = self._answers.pop()
            member = (event.get("facts") or {}).get("id", "?")
            self.refused[str(member)] = str(event.get("detail"))
