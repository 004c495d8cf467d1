"""Finds the message that ends the process: by a crash in native code, by hanging, by taking all memory.

Nobody is left to say which message it was, so what is about to be tried is noted where every worker looks
when it takes a partition over: beside the committed offset, in the metadata that Kafka keeps with it. A note
that its writer did not take back means that the writer died. Then the next owner looks closer:

    died while working         the next 256 to 2,048 offsets are tried in pieces of up to 256, one at a time
    died trying a piece        its messages are tried one at a time
    died trying one message    that message is a dead letter, `crashed_worker`

So a message that ends the process does so three times. A note costs nothing where a commit is made anyway; it
costs a transaction of its own when a partition is taken up and before each piece. See docs/adr/0005.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple, Protocol, Self

from stream.records import Item
from workers.errors import MessageError

PIECE_ITEMS: Final = 256
"""Messages tried together after one death: few enough to be tried one by one after the second."""

MAX_SUSPECTS: Final = 2_048
"""Offsets after the committed one that a death makes suspect; what was further ahead takes a death more."""

CALM: Final = 0
PIECES: Final = 1
ALONE: Final = 2
CONDEMNED: Final = 3

_FORMAT: Final = "feedsight-1"


class Note(NamedTuple):
    """What stands beside a committed offset.

    Attributes:
        owner: the process that wrote it.
        trying: whether it was about to try what lies below `end`, and nothing else.
        level: how closely it looked: CALM, PIECES or ALONE.
        end: the offset after the last suspect; while calm, after the last input that was taken in.
    """

    owner: str
    trying: bool
    level: int
    end: int

    def text(self) -> str:
        """Write it down: well below the 4,096 bytes that Kafka allows."""
        return f"{_FORMAT} {self.owner} {'trying' if self.trying else 'working'} {self.level} {self.end}"

    @classmethod
    def read(cls, text: str | None) -> Self | None:
        """Read it back; None where it is none of ours."""
        parts = (text or "").split(" ")
        if len(parts) != 5 or parts[0] != _FORMAT or parts[2] not in ("trying", "working"):
            return None
        try:
            return cls(parts[1], parts[2] == "trying", min(max(int(parts[3]), CALM), ALONE), int(parts[4]))
        except ValueError:
            return None


class Suspicion:
    """How closely a partition has to be looked at. Its delivery owns it.

    Args:
        owner: names this process; another start of it has another name.
    """

    def __init__(self, owner: str) -> None:
        self.level = CALM
        self.end = 0
        """Suspects have offsets below this."""
        self.noted = False
        """Whether the broker has a note of ours for this partition."""
        self._owner = owner

    def opened(self, offset: int, text: str | None) -> None:
        """Take up what the former owner left.

        Args:
            offset: the committed one.
            text: what stood beside it.
        """
        note = Note.read(text)
        self.noted = note is not None and note.owner == self._owner
        if note is None:
            self.level, self.end = CALM, 0
        elif self.noted or (note.level and not note.trying):
            self.level, self.end = note.level, note.end  # nobody died trying: go on as closely as before
        elif note.trying:
            self.level, self.end = note.level + 1, max(note.end, offset + 1)
        else:
            self.level = PIECES
            self.end = max(min(note.end, offset + MAX_SUSPECTS), offset + PIECE_ITEMS)

    def suspects(self, offset: int) -> bool:
        """Whether the message at an offset has to be tried apart."""
        return self.level == CONDEMNED or (self.level != CALM and offset < self.end)

    def working(self, next_offset: int, taken_to: int) -> str:
        """Give the note that goes with a commit.

        Args:
            next_offset: what is committed.
            taken_to: the offset after the last input that was taken in.
        """
        self.noted = True
        if self.level != CALM and next_offset >= self.end:
            self.level = CALM
        return Note(self._owner, False, self.level, self.end if self.level else taken_to).text()

    def trying(self, last_offset: int) -> str:
        """Give the note that goes before a trial of the next messages, up to one."""
        self.noted = True
        return Note(self._owner, True, self.level, last_offset + 1).text()

    def acquitted(self) -> None:
        """The condemned message is out of the way."""
        self.level, self.end = CALM, 0

    def let_go(self) -> str:
        """Give the note of an owner who leaves in order: nothing died, so nothing is counted."""
        self.noted = False
        return Note(self._owner, False, self.level, self.end).text() if self.level else ""


class Delivery(Protocol):
    """What is needed of a partition's delivery; stream.delivery.PartitionDelivery is one."""

    closed: bool
    next_offset: int
    suspicion: Suspicion

    async def note(self, text: str, first_offset: int) -> None:
        """Write a note beside the committed offset; beside `first_offset` where there is none."""

    async def passed(self, offset: int) -> None:
        """Wait until an offset is committed, or the partition is let go."""


class Quarantine:
    """Cuts batches into what may be tried together. A session owns it."""

    def __init__(self) -> None:
        self._last: dict[Delivery, int] = {}
        """The last offset of each partition that was handed out."""

    async def pieces(self, batch: Sequence[Item]) -> AsyncIterator[list[Item]]:
        """Give a batch whole where nothing in it is suspect, else what is suspect piece by piece.

        While a piece is tried nothing else is: the next is given when all before it is committed.

        Args:
            batch: of any partitions, each in the order of its offsets.

        Yields:
            Parts of the batch. A condemned message has an error in place of its message.
        """
        deliveries = {item.delivery: item for item in reversed(batch)}  # with the first of each
        for delivery, first in deliveries.items():
            if not delivery.suspicion.noted and delivery.suspicion.level == CALM:
                offset = first.record.offset
                await delivery.note(delivery.suspicion.working(offset, delivery.next_offset), offset)
        calm = list(batch)
        if any(delivery.suspicion.level for delivery in deliveries):
            apart: defaultdict[Delivery, list[Item]] = defaultdict(list)
            for item in batch:
                if item.delivery.suspicion.suspects(item.record.offset):
                    apart[item.delivery].append(item)
            for delivery, suspects in apart.items():
                async for piece in self._trials(delivery, suspects):
                    yield piece
            tried = {id(item) for suspects in apart.values() for item in suspects}
            calm = [item for item in batch if id(item) not in tried and not item.delivery.closed]
        if calm:
            self._last.update({item.delivery: item.record.offset for item in calm})
            yield calm

    async def _trials(self, delivery: Delivery, suspects: list[Item]) -> AsyncIterator[list[Item]]:
        suspicion = delivery.suspicion
        while suspects:
            await self._quiet()
            if delivery.closed:
                return
            first = suspects[0].record.offset
            if suspicion.level == CONDEMNED:
                piece = suspects[:1]
                piece[0].message = MessageError(
                    "three workers ended on this message, the last one while it was tried alone",
                    reason="crashed_worker",
                )
                suspicion.acquitted()
            else:
                size = {PIECES: PIECE_ITEMS, ALONE: 1}.get(suspicion.level, len(suspects))
                piece = suspects[:size]
                if suspicion.level != CALM:
                    await delivery.note(suspicion.trying(piece[-1].record.offset), first)
            suspects = suspects[len(piece) :]
            self._last[delivery] = piece[-1].record.offset
            yield piece
        await self._quiet()

    async def _quiet(self) -> None:
        """Wait until all that was handed out is committed."""
        for delivery, offset in list(self._last.items()):
            await delivery.passed(offset)
            self._last.pop(delivery, None)
