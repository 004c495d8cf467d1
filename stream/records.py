"""Records on their way in and out, between the codec and the delivery."""

from dataclasses import dataclass
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
class Item:
    """An input on its way through a session: decoded, then answered.

    Attributes:
        record: the input.
        message: what it was decoded to, or the error that it is dead-lettered with.
        size_bytes: of its value, counted against the queue's limit.
        delivery: the delivery of its partition; sessions set it.
        outcome: a result, or an error; set when it is answered.
    """

    record: InputRecord
    message: Any | PipelineError
    size_bytes: int = 0
    delivery: Any = None
    outcome: Any | PipelineError = None
