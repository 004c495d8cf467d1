"""An outlet that fails where it is told to, and records to deliver."""

from collections.abc import Sequence
from dataclasses import dataclass

from stream.delivery import PartitionDelivery
from stream.outlet import Committed
from stream.records import Headers, Item, OutputRecord
from workers.errors import PipelineError, TransientError


@dataclass(frozen=True)
class Record:
    """A consumed record."""

    value: bytes | None = b"{}"
    key: bytes | None = None
    headers: Headers = ()
    topic: str = "in"
    partition: int = 3
    offset: int = 0
    timestamp: int = 0


@dataclass(frozen=True)
class Fault:
    """What goes wrong in one `write`: an error, before or after the commit; before a zombie's own commit."""

    error: PipelineError
    committed: bool = False
    moved_to: int | None = None
    """Where another worker committed in the meantime."""


class FakeOutlet:
    """Keeps what was committed, as a broker would: records and offset together or not at all.

    A note by itself, without records, meets no fault and does not count as a write; where nothing is
    committed yet it commits the offset that it stands at.
    """

    def __init__(self, faults: Sequence[Fault | None] = (), committed: int | None = None) -> None:
        self.faults = list(faults)
        self.open_faults: list[PipelineError] = []
        self.committed = committed
        self.noted_at: int | None = None
        self.note = ""
        self.records: list[OutputRecord] = []
        self.writes: list[list[OutputRecord]] = []
        self.opened = 0
        self.closed = False

    async def open(self) -> int | None:
        self.opened += 1
        if self.opened > 1 and self.open_faults:
            raise self.open_faults.pop(0)
        offset = self.noted_at if self.committed is None else self.committed
        if offset is None:
            return None
        found = Committed(offset)
        found.note = self.note
        return found

    async def write(self, records: Sequence[OutputRecord], next_offset: int, note: str = "") -> None:
        if not records:
            assert self.committed in (None, next_offset)
            self.noted_at, self.note = next_offset, note
            return
        self.writes.append(list(records))
        fault = self.faults.pop(0) if self.faults else None
        if fault is None or fault.committed:
            self.records.extend(records)
            self.committed, self.note = next_offset, note
        if fault is not None:
            if fault.moved_to is not None:
                self.committed = fault.moved_to
            raise fault.error

    async def close(self) -> None:
        self.closed = True


def lost_connection() -> TransientError:
    return TransientError("the connection is gone", reason="delivery")


def items(delivery: PartitionDelivery | None, *offsets: int) -> list[Item]:
    """Answered inputs of 10 bytes; their outcome is their offset."""
    return [Item(Record(offset=o), None, 10, delivery, outcome=o) for o in offsets]
