"""Dead letters as they lie on their topic: read, and chosen by reason, lane, source, time and id."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from config import KafkaSettings, Settings
from schemas import DeadLetterFacts
from stream import clients
from stream.client import Incoming, read
from stream.dead_letter import VALUE_OMITTED, HeaderPairs, from_headers, original_headers
from stream.outlet import translated
from stream.topics import TopicNames
from workers.text.parse import salvage_id

FETCH_TIMEOUT_S: Final = 10.0
"""To read one record whose place is known."""


@dataclass(frozen=True)
class Letter:
    """A dead letter.

    Attributes:
        record: as it lies on the topic.
        facts: why and where it failed; None where the record is no dead letter.
        message_id: what its message calls itself, where that can be read.
    """

    record: Incoming
    facts: DeadLetterFacts | None
    message_id: str | None

    @property
    def id(self) -> str:
        """Where it lies on its topic: partition@offset."""
        return f"{self.record.partition}@{self.record.offset}"

    @property
    def headers(self) -> HeaderPairs:
        """The input's own; all there are where the record is no dead letter."""
        try:
            return original_headers(self.record.headers)
        except ValueError:
            return self.record.headers

    @property
    def omitted_bytes(self) -> int | None:
        """How large the value is, where it was left out for its size."""
        name, size = self.record.headers[-1] if self.record.headers else ("", b"")
        return int(size) if name == VALUE_OMITTED and size.isdigit() else None


@dataclass(frozen=True)
class Selection:
    """Which dead letters are meant; what is left empty takes all.

    Attributes:
        reasons: why they failed.
        stages: in which lane.
        sources: the input topics, with or without the prefix.
        since_ms: written at this time or later, in milliseconds since the epoch.
        until_ms: written before this time.
        ids: a letter's partition@offset, its key, or its message's id.
    """

    reasons: frozenset[str] = frozenset()
    stages: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None
    ids: frozenset[str] = frozenset()

    def takes(self, letter: Letter, prefix: str = "") -> bool:
        """Whether a letter is one of them.

        Args:
            letter: to be judged.
            prefix: of the topics.
        """
        facts, when = letter.facts, letter.record.timestamp_ms
        if (self.reasons or self.stages or self.sources) and facts is None:
            return False
        if facts is not None:
            if self.reasons and facts.reason not in self.reasons:
                return False
            if self.stages and facts.stage not in self.stages:
                return False
            if self.sources and not self.sources & {facts.topic, facts.topic.removeprefix(prefix)}:
                return False
        if self.since_ms is not None and when < self.since_ms:
            return False
        if self.until_ms is not None and when >= self.until_ms:
            return False
        return not self.ids or bool(self.ids & _names(letter))


def _names(letter: Letter) -> set[str]:
    key = letter.record.key
    names = {letter.id, letter.message_id or letter.id}
    return names if key is None else names | {key.decode("utf-8", "replace")}


def as_letter(record: Incoming) -> Letter:
    """Read a record of the dead-letter topic."""
    try:
        facts = from_headers(record.headers)
    except ValueError:
        facts = None
    named = next((v for n, v in record.headers if n.lower() in ("ce_id", "id") and v), None)
    identity = named.decode("utf-8", "replace") if named else salvage_id(record.value)
    return Letter(record, facts, identity)


async def read_letters(settings: Settings, selection: Selection) -> AsyncIterator[Letter]:
    """Yield the dead letters there are now, each partition's in order.

    Raises:
        TransientError: the broker does not answer.
    """
    topic = TopicNames(settings.topics.prefix).dead_letters
    async for record in read(settings.kafka, topic, from_start=True, until_end=True):
        letter = as_letter(record)
        if selection.takes(letter, settings.topics.prefix):
            yield letter


async def value_of(settings: KafkaSettings, letter: Letter) -> bytes | None:
    """Give a letter's value; one that was left out for its size is fetched from where the input lies.

    Raises:
        LookupError: it was left out, and the input is gone.
        TransientError: the broker does not answer.
    """
    if letter.omitted_bytes is None or letter.facts is None:
        return letter.record.value
    place = TopicPartition(letter.facts.topic, letter.facts.partition)
    consumer = clients.reader(settings, from_start=True)
    try:
        await consumer.start()
        consumer.assign([place])
        consumer.seek(place, letter.facts.offset)
        async with asyncio.timeout(FETCH_TIMEOUT_S):
            record = await consumer.getone(place)
    except TimeoutError:
        raise LookupError("the input is gone") from None
    except (KafkaError, OSError) as error:
        raise translated(error) from error
    finally:
        await clients.stop_quietly(consumer)
    if record.offset != letter.facts.offset:
        raise LookupError("the input is gone")
    value: bytes | None = record.value
    return value
