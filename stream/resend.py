"""Sends dead letters to where they came from once more: each once, however often it is run or killed.

One transaction holds a chunk of letters and, on a topic beside the dead letters, a mark for each that says it
was replayed. The transactional id is fixed:

1. Start the producer. That fences a replay that runs elsewhere, and ends what one that was killed left open.
2. Only then read which letters are marked. Nobody can add to them now.
3. Read the dead letters up to the present end, so that what fails again meanwhile is not taken up, and pass
   over the marked ones, those tried too often, and those that did not come from an input topic of ours.
4. Write a chunk and its marks, and commit. Killed before: neither is there. Killed after: both are.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from config import Settings
from stream import clients
from stream.client import read
from stream.dead_letter import replay_headers
from stream.letters import Letter, Selection, read_letters, value_of
from stream.outlet import FencedError, RecordTooLargeError, abort_quietly, send_all, translated
from stream.records import OutputRecord
from stream.topics import DAY_MS, TopicNames, TopicSpec, create_missing, topic_exists
from workers.errors import TransientError

DEFAULT_MAX_ATTEMPTS: Final = 3

CHUNK_ITEMS: Final = 500
CHUNK_BYTES: Final = 8 * 2**20
"""Of values in one transaction, so that memory stays bounded whatever the letters hold."""

TRANSACTION_TIMEOUT_MS: Final = 60_000

Told = Callable[[Letter, str], None]
"""Hears of each letter what became of it: `replayed`, or why it was passed over."""


class Outgoing(NamedTuple):
    """A letter that is to be replayed, with its whole value."""

    letter: Letter
    value: bytes | None
    attempt: int


def marks_topic(settings: Settings) -> TopicSpec:
    """The topic of marks: one partition; kept for longer than dead letters are."""
    name = TopicNames(settings.topics.prefix).dead_letters + ".replayed"
    return TopicSpec(name, 1, "delete", 60 * DAY_MS, "which dead letters were replayed")


async def replay(
    settings: Settings,
    selection: Selection,
    *,
    told: Told,
    max_attempts: int = DEFAULT_MAX_ATTEMPTS,
    limit: int | None = None,
    dry_run: bool = False,
) -> Counter[str]:
    """Replay the dead letters chosen, with their own key, value and headers, to their own partition.

    Args:
        settings: all settings.
        selection: which.
        told: hears of each, after its transaction is committed.
        max_attempts: a letter that was tried so often is passed over.
        limit: replay at most so many.
        dry_run: only tell what would be done.

    Returns:
        How many were `replayed`, and how many passed over for which reason.

    Raises:
        FencedError: another replay was started; what was told is done, the rest is the other's.
        TransientError: the broker does not answer; nothing that was not told is lost by running it again.
        FatalError: the broker refuses.
    """
    if dry_run:
        run = _Run(settings, None, told, await _marked(settings))
        return await run.all(selection, max_attempts, limit)
    with suppress(TransientError):  # a broker may make topics by itself only; else the first write says so
        await create_missing(settings.kafka, [marks_topic(settings)], settings.topics.replication)
    transactional_id = f"{settings.kafka.group}.dlq-replay"
    producer = clients.transactional_producer(settings.kafka, transactional_id, TRANSACTION_TIMEOUT_MS)
    try:
        # 1. Start the producer, which fences all others.
        await producer.start()
        # 2. Only then read which letters are marked.
        run = _Run(settings, producer, told, await _marked(settings))
        return await run.all(selection, max_attempts, limit)
    except (KafkaError, OSError) as error:
        raise translated(error) from error
    finally:
        await clients.stop_quietly(producer)


class _Run:
    """One run over the dead letters. Without a producer it only tells."""

    def __init__(
        self, settings: Settings, producer: AIOKafkaProducer | None, told: Told, marked: set[str]
    ) -> None:
        names = TopicNames(settings.topics.prefix)
        self._settings = settings
        self._producer = producer
        self._told = told
        self._marked = marked
        self._inputs = {names.posts, names.images}
        self._marks = marks_topic(settings).name
        self._tally: Counter[str] = Counter()

    async def all(self, selection: Selection, max_attempts: int, limit: int | None) -> Counter[str]:
        chunk: list[Outgoing] = []
        # 3. Read the dead letters up to the present end.
        async for letter in self._to_replay(selection, max_attempts):
            if limit is not None and self._tally["replayed"] + len(chunk) >= limit:
                break
            try:
                value = await value_of(self._settings.kafka, letter)
            except LookupError:
                self._pass(letter, "value_gone")
                continue
            chunk.append(Outgoing(letter, value, letter.facts.attempt + 1 if letter.facts else 1))
            if len(chunk) >= CHUNK_ITEMS or sum(len(out.value or b"") for out in chunk) >= CHUNK_BYTES:
                await self._write(chunk)
                chunk = []
        await self._write(chunk)
        return self._tally

    async def _to_replay(self, selection: Selection, max_attempts: int) -> AsyncIterator[Letter]:
        async for letter in read_letters(self._settings, selection):
            if letter.facts is None:
                self._pass(letter, "no_dead_letter")
            elif _mark(letter) in self._marked:
                self._pass(letter, "replayed_before")
            elif letter.facts.attempt >= max_attempts:
                self._pass(letter, "tried_too_often")
            elif letter.facts.topic not in self._inputs:
                self._pass(letter, "no_input_topic")
            else:
                yield letter

    def _pass(self, letter: Letter, why: str) -> None:
        self._tally[why] += 1
        self._told(letter, why)

    async def _write(self, chunk: Sequence[Outgoing]) -> None:
        """Write a chunk; where the broker refuses a record for its size, all others of it."""
        if not chunk:
            return
        try:
            if self._producer is not None:
                await self._transaction(self._producer, chunk)
        except RecordTooLargeError:
            if len(chunk) == 1:
                self._pass(chunk[0].letter, "too_large")
                return
            half = len(chunk) // 2
            await self._write(chunk[:half])
            await self._write(chunk[half:])
            return
        for out in chunk:
            self._pass(out.letter, "replayed")

    async def _transaction(self, producer: AIOKafkaProducer, chunk: Sequence[Outgoing]) -> None:
        # 4. Write a chunk and its marks, and commit.
        try:
            await producer.begin_transaction()
            by_partition: dict[int, list[OutputRecord]] = {}
            for out in chunk:
                facts = out.letter.facts
                if facts is not None:
                    by_partition.setdefault(facts.partition, []).append(_again(out, facts.topic))
            for partition, records in by_partition.items():
                await send_all(producer, records, partition)
            await send_all(producer, [_marking(out, self._marks) for out in chunk], 0)
            await producer.commit_transaction()
        except (KafkaError, AssertionError) as error:
            await abort_quietly(producer)
            failure = translated(error)
            if isinstance(failure, FencedError):
                raise FencedError("another replay was started, and goes on with the rest") from error
            raise failure from error


def _again(out: Outgoing, topic: str) -> OutputRecord:
    headers = replay_headers(out.letter.record.headers, out.attempt, out.letter.id)
    return OutputRecord(topic, out.letter.record.key, out.value, headers)  # type: ignore[arg-type]


def _mark(letter: Letter) -> str:
    """Name a letter for good: a topic that was made anew counts its offsets anew, at another time."""
    return f"{letter.id}@{letter.record.timestamp_ms}"


def _marking(out: Outgoing, topic: str) -> OutputRecord:
    facts = out.letter.facts
    told = {
        "letter": out.letter.id,
        "attempt": out.attempt,
        "reason": facts and facts.reason,
        "source": facts and {"topic": facts.topic, "partition": facts.partition, "offset": facts.offset},
    }
    return OutputRecord(topic, _mark(out.letter).encode(), orjson.dumps(told), [])


async def _marked(settings: Settings) -> set[str]:
    """Read the marks there are."""
    name = marks_topic(settings).name
    marked: set[str] = set()
    if await topic_exists(settings.kafka, name):
        async for record in read(settings.kafka, name, from_start=True, until_end=True):
            if record.key is not None:
                marked.add(record.key.decode("utf-8", "replace"))
    return marked
