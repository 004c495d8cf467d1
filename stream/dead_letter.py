"""Dead letters: the input's key, value and headers untouched, and the facts in further headers."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from schemas import DeadLetterFacts
from stream.records import InputRecord, OutputRecord
from workers.errors import PipelineError

CONNECT: Final = "__connect.errors."
"""Kafka Connect's prefix for dead-letter headers; tools that read its dead letters read ours."""

MAX_DETAIL_CHARS: Final = 500

ATTEMPT: Final = "dlq_attempt"
"""Header of a replayed input: which attempt it is; the first replay is the second attempt."""

REPLAY_OF: Final = "dlq_replay_of"
"""Header of a replayed input: the dead letter it was, as partition@offset."""

VALUE_OMITTED: Final = "value_omitted"

HeaderPairs = Sequence[tuple[str, bytes | None]]


def facts_of(record: InputRecord, error: PipelineError, *, stage: str) -> DeadLetterFacts:
    """Say why and where an input failed, and in which attempt."""
    return DeadLetterFacts(
        reason=error.reason,
        detail=error.detail[:MAX_DETAIL_CHARS],
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        stage=stage,
        exception_class=type(error.__cause__ or error).__name__,
        attempt=attempt_of(record.headers),
        failed_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )


def to_record(
    record: InputRecord, facts: DeadLetterFacts, topic: str, *, omit_value: bool = False
) -> OutputRecord:
    """Build the dead letter of an input.

    Args:
        record: the input.
        facts: why it failed.
        topic: where dead letters go.
        omit_value: leave the value out, where the broker refuses it for its size; the header
            `value_omitted` says so, and the input still lies at its topic, partition and offset.
    """
    headers = [*record.headers, *to_headers(facts)]
    if omit_value:
        headers.append((VALUE_OMITTED, str(len(record.value or b"")).encode()))
    return OutputRecord(topic, record.key, None if omit_value else record.value, headers)


def to_headers(facts: DeadLetterFacts) -> list[tuple[str, bytes]]:
    """Lay the facts out as UTF-8 headers, under our names and Kafka Connect's."""
    pairs = [
        ("reason", facts.reason),
        ("detail", facts.detail),
        ("source_topic", facts.topic),
        ("source_partition", facts.partition),
        ("source_offset", facts.offset),
        ("attempt", facts.attempt),
        ("failed_at", facts.failed_at),
        (CONNECT + "topic", facts.topic),
        (CONNECT + "partition", facts.partition),
        (CONNECT + "offset", facts.offset),
        (CONNECT + "stage", facts.stage),
        (CONNECT + "exception.class.name", facts.exception_class),
        (CONNECT + "exception.message", facts.detail),
    ]
    return [(name, str(value).encode("utf-8", "replace")) for name, value in pairs]


_FACTS: Final = (
    "reason", "detail", "source_topic", "source_partition", "source_offset", "attempt", "failed_at",
    *(CONNECT + name for name in ("topic", "partition", "offset", "stage")),
    *(CONNECT + name for name in ("exception.class.name", "exception.message")),
)  # fmt: skip
"""The headers that `to_headers` adds, in its order."""


def attempt_of(headers: HeaderPairs) -> int:
    """Which attempt an input is: 1 unless it was replayed. Nonsense in the header counts as 1."""
    for name, value in reversed(headers):
        if name == ATTEMPT and value is not None and value.isdigit() and len(value) < 10:
            return max(1, int(value))
    return 1


def original_headers(headers: HeaderPairs) -> list[tuple[str, bytes | None]]:
    """Give an input's own headers back, whatever they are called: the facts are what stands at the end.

    Raises:
        ValueError: the record is no dead letter.
    """
    own = list(headers)
    if own and own[-1][0] == VALUE_OMITTED:
        own.pop()
    if tuple(name for name, _ in own[-len(_FACTS) :]) != _FACTS:
        raise ValueError("no dead letter: the facts do not stand at the end of its headers")
    return own[: -len(_FACTS)]


def replay_headers(headers: HeaderPairs, attempt: int, letter: str) -> list[tuple[str, bytes | None]]:
    """Give the headers that a dead letter is replayed with: its own, the attempt raised.

    Args:
        headers: the dead letter's.
        attempt: which one this is going to be.
        letter: the dead letter's partition@offset.

    Raises:
        ValueError: the record is no dead letter.
    """
    own = [pair for pair in original_headers(headers) if pair[0] not in (ATTEMPT, REPLAY_OF)]
    return [*own, (ATTEMPT, str(attempt).encode()), (REPLAY_OF, letter.encode())]


def from_headers(headers: HeaderPairs) -> DeadLetterFacts:
    """Read the facts back; where a header stands twice (a dead letter replayed), the last one counts.

    Raises:
        ValueError: the record is no dead letter.
    """
    found = {name: value.decode("utf-8", "replace") for name, value in headers if value is not None}
    try:
        return DeadLetterFacts(
            reason=found["reason"],
            detail=found["detail"],
            topic=found["source_topic"],
            partition=int(found["source_partition"]),
            offset=int(found["source_offset"]),
            stage=found[CONNECT + "stage"],
            exception_class=found[CONNECT + "exception.class.name"],
            attempt=int(found["attempt"]),
            failed_at=found["failed_at"],
        )
    except KeyError as error:
        raise ValueError(f"no dead letter: header {error} is missing") from error
