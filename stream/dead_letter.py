"""Dead letters: the input's key, value and headers untouched, and the facts in further headers."""

from datetime import UTC, datetime
from typing import Final

from schemas import DeadLetterFacts
from stream.records import InputRecord, OutputRecord
from workers.errors import PipelineError

CONNECT: Final = "__connect.errors."
"""Kafka Connect's prefix for dead-letter headers; tools that read its dead letters read ours."""

MAX_DETAIL_CHARS: Final = 500


def facts_of(record: InputRecord, error: PipelineError, *, stage: str, attempt: int = 1) -> DeadLetterFacts:
    """Say why and where an input failed."""
    return DeadLetterFacts(
        reason=error.reason,
        detail=error.detail[:MAX_DETAIL_CHARS],
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        stage=stage,
        exception_class=type(error.__cause__ or error).__name__,
        attempt=attempt,
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
        headers.append(("value_omitted", str(len(record.value or b"")).encode()))
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


def from_headers(headers: list[tuple[str, bytes]] | tuple[tuple[str, bytes], ...]) -> DeadLetterFacts:
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
