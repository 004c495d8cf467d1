"""A broker's transactions, as far as the protocol of a lane needs them: one input partition, one output.

Each method is one request, and happens at once. Source of the rules: KIP-98 (ids, epochs, two phases),
KIP-890 (a leader asks the coordinator before it takes a transaction's first record, so a request of an older
epoch is refused wherever it arrives). Of offsets that several producers committed the one stands that was
written last, whichever's markers come last (Kafka's OffsetMetadataManager.replayEndTransactionMarker).
"""

from collections.abc import Hashable
from dataclasses import dataclass, field

from aiokafka.errors import InvalidProducerEpoch, InvalidTxnState
from aiokafka.structs import OffsetAndMetadata


@dataclass
class Transaction:
    """What one transaction has written so far.

    Attributes:
        places: of its records in the log.
        offset: the input offset that it commits.
        written: which of all offsets ever written it is.
    """

    epoch: int
    places: list[int] = field(default_factory=list)
    offset: OffsetAndMetadata | None = None
    written: int = 0

    def key(self, moved: dict[int, int], order: dict[int, int]) -> Hashable:
        return tuple(moved[place] for place in self.places), self.offset, order[self.written]


@dataclass
class Entry:
    """A record in the output partition: which input it answers, and whether its transaction is over."""

    answers: int
    state: str = "open"


class ModelBroker:
    """Transactions, the output's log and the committed offset."""

    def __init__(self) -> None:
        self.epochs: dict[str, int] = {}
        self.open: dict[str, Transaction] = {}
        self.prepared: dict[str, Transaction] = {}
        """Committed for good, and not yet written where readers see it."""
        self.log: list[Entry] = []
        self.offset: OffsetAndMetadata | None = None
        """The committed one, with its note."""
        self.history: list[int] = []
        """All offsets ever committed, in order."""
        self._written = 0
        self._standing = 0
        """Which of all offsets ever written the committed one is."""

    def initialise(self, transactional_id: str) -> int:
        """InitProducerId: abort what is open, fence all former producers. Not while one is prepared."""
        assert transactional_id not in self.prepared
        self.abort(transactional_id)
        self.epochs[transactional_id] = self.epochs.get(transactional_id, -1) + 1
        return self.epochs[transactional_id]

    def produce(self, transactional_id: str, epoch: int, answers: list[int]) -> None:
        """AddPartitionsToTxn and Produce."""
        transaction = self._running(transactional_id, epoch)
        for answer in answers:
            transaction.places.append(len(self.log))
            self.log.append(Entry(answer))

    def add_offset(self, transactional_id: str, epoch: int, offset: OffsetAndMetadata) -> None:
        """AddOffsetsToTxn and TxnOffsetCommit."""
        transaction = self._running(transactional_id, epoch)
        self._written += 1
        transaction.offset, transaction.written = offset, self._written

    def end(self, transactional_id: str, epoch: int, *, commit: bool) -> None:
        """EndTxn. A commit is decided now and seen later."""
        self._check(transactional_id, epoch)
        if transactional_id not in self.open:
            raise InvalidTxnState
        if commit:
            self.prepared[transactional_id] = self.open.pop(transactional_id)
        else:
            self.abort(transactional_id)

    def complete(self, transactional_id: str) -> None:
        """Write a prepared transaction's markers."""
        transaction = self.prepared.pop(transactional_id)
        for place in transaction.places:
            self.log[place].state = "committed"
        if transaction.offset is not None and transaction.written > self._standing:
            self._standing = transaction.written
            self.commit(transaction.offset)

    def expire(self, transactional_id: str) -> None:
        """Abort a transaction that is open for too long, and fence its producer."""
        self.initialise(transactional_id)

    def append(self, answers: list[int]) -> None:
        """Produce outside a transaction."""
        self.log.extend(Entry(answer, "committed") for answer in answers)

    @property
    def committed(self) -> int:
        """The committed offset; 0 where there is none."""
        return self.offset.offset if self.offset else 0

    def commit(self, offset: OffsetAndMetadata) -> None:
        """Keep a committed offset."""
        self.offset = offset
        self.history.append(offset.offset)

    def abort(self, transactional_id: str) -> None:
        """Drop what is open."""
        transaction = self.open.pop(transactional_id, None)
        for place in transaction.places if transaction else ():
            self.log[place].state = "aborted"

    def answered(self) -> list[int]:
        """The inputs answered in committed output, in the order of the log."""
        return [entry.answers for entry in self.log if entry.state == "committed"]

    def decided(self) -> set[int]:
        """Inputs whose answers are committed, or will be whatever happens."""
        coming = {place for found in self.prepared.values() for place in found.places}
        return {e.answers for n, e in enumerate(self.log) if e.state == "committed" or n in coming}

    def key(self) -> Hashable:
        """The state: aborted records are of no consequence, and of epochs only how far they lie back."""
        kept = [place for place, entry in enumerate(self.log) if entry.state != "aborted"]
        moved = {place: n for n, place in enumerate(kept)}
        transactions = [*self.open.items(), *self.prepared.items()]
        written = {0, self._standing, *(found.written for _, found in transactions)}
        order = {one: n for n, one in enumerate(sorted(written))}
        return (
            tuple(
                sorted((n, self.age(n, found.epoch), found.key(moved, order)) for n, found in transactions)
            ),
            tuple(sorted(self.prepared)),
            tuple(sorted(self.epochs)),
            tuple((self.log[place].answers, self.log[place].state) for place in kept),
            (self.offset, order[self._standing]),
        )

    def age(self, transactional_id: str, epoch: int) -> int:
        """How far an epoch lies back."""
        return self.epochs.get(transactional_id, epoch) - epoch

    def _running(self, transactional_id: str, epoch: int) -> Transaction:
        self._check(transactional_id, epoch)
        return self.open.setdefault(transactional_id, Transaction(epoch))

    def _check(self, transactional_id: str, epoch: int) -> None:
        if epoch != self.epochs[transactional_id]:
            raise InvalidProducerEpoch
