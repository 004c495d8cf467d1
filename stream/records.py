"""Records on their way in and out, between the codec and the delivery."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from workers.errors import PipelineError

Headers = tuple[tuple[str, bytes], ...]


class InputRecord(Protocol):
    """What the codec reads of a consumed record; aiokafka's ConsumerRecord is one."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    """Milliseconds since the epoch, as Kafka keeps it."""
    key: bytes | None
    value: bytes | None
    headers: Headers


class OutputRecord(NamedTuple):
    """A record to be written; the input's partition decides which partition it goes to."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


@dataclass(slots=True)
class Answer:
    """An input and what came of it: a result, or the error that it is dead-lettered with."""

    record: InputRecord
    outcome: Any | PipelineError
    size_bytes: int = field(default=0)
