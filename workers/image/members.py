"""Members of a gallery and their vectors: most of a large one in a stock, the latest beside it."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas import Reference
from workers.errors import FatalError
from workers.image.embedding import unit_rows
from workers.image.references import slim
from workers.image.rows import Rows
from workers.image.stock import Kept, Stock, build_stock

Vectors = NDArray[np.float32]

FOLD_AT: Final = 4_000
"""Members beside the stock, or gone from it, from which it is made anew: comparing with each of them takes
about as long as asking the index."""


class Joined:
    """The vectors of a stock and those beside it, one after the other.

    Args:
        stock: shape (n, d).
        slots: of the stock that count, int64, shape (m,).
        recent: float32, shape (l, d).
    """

    def __init__(self, stock: Kept, slots: NDArray[np.int64], recent: Vectors) -> None:
        self._stock = stock
        self._slots = slots
        self._recent = recent
        self.shape: tuple[int, ...] = (len(slots) + len(recent), recent.shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, which: slice | NDArray[np.int64]) -> Vectors:
        """Some of them, float32, in ascending order where they are asked for by number."""
        numbers = np.arange(*which.indices(len(self))) if isinstance(which, slice) else which
        border = int(np.searchsorted(numbers, len(self._slots)))
        stocked = np.asarray(self._stock[self._slots[numbers[:border]]], np.float32)
        if border == len(numbers):
            return stocked
        return np.concatenate([stocked, self._recent[numbers[border:] - len(self._slots)]])


class Members:
    """Members by id, each with one unit vector. Not thread-safe: change a `fork` of what others read.

    Each has a number, its key: members in the stock have their slot's, others have higher ones.
    """

    def __init__(self) -> None:
        self.stock: Stock | None = None
        self.gone: set[int] = set()
        """Slots of the stock that hold no member."""
        self.rows: Rows | None = None
        self._keys: dict[str, int] = {}
        self._recent: dict[int, Reference] = {}
        self._next_key = 0

    def fork(self) -> "Members":
        """The same members, to be changed while these are read; forks share the stock."""
        made = Members()
        made.stock, made.gone = self.stock, set(self.gone)
        made.rows = None if self.rows is None else self.rows.copied()
        made._keys, made._recent, made._next_key = dict(self._keys), dict(self._recent), self._next_key
        return made

    def __len__(self) -> int:
        return len(self._keys) + (len(self.stock) - len(self.gone) if self.stock else 0)

    def __contains__(self, member: str) -> bool:
        return member in self._keys or self._slot(member) is not None

    @property
    def references(self) -> list[Reference]:
        """All members, in the order of `vectors`."""
        return [*(reference for _, reference in self._stocked()), *self.recent[0]]

    @property
    def vectors(self) -> Vectors:
        """Their vectors, float32, shape (n, d), unit rows; not to be changed."""
        recent = self.recent[1]
        if self.stock is None:
            return recent
        kept = np.asarray(self.stock.vectors[[slot for slot, _ in self._stocked()]], np.float32)
        return np.concatenate([kept, recent]) if len(recent) else kept

    @property
    def lazily(self) -> "Joined":
        """The same as `vectors`, of which only those are copied that are asked for."""
        stock = np.zeros((0, 1), np.float32) if self.stock is None else self.stock.vectors
        return Joined(stock, np.array([slot for slot, _ in self._stocked()], np.int64), self.recent[1])

    @property
    def recent(self) -> tuple[list[Reference], Vectors]:
        """The members beside the stock and their vectors, float32, shape (m, d)."""
        if self.rows is None:
            return [], np.zeros((0, 1), np.float32)
        return [self._recent[key] for key in self.rows.keys.tolist()], self.rows.vectors

    @property
    def lately_gone(self) -> int:
        """Members that went after the stock's index was made."""
        return len(self.gone) - len(self.stock.dead) if self.stock else 0

    @property
    def crowded(self) -> bool:
        """Whether so much lies beside the stock, or has gone from it, that `fold` is due."""
        if self.stock is None:
            return True
        dead = len(self.stock.dead) > len(self) // 4
        return len(self._keys) >= FOLD_AT or self.lately_gone >= FOLD_AT or dead

    def get(self, key: int) -> Reference | None:
        """A member by its key; None where it has gone."""
        if self.stock is not None and key < len(self.stock):
            return None if key in self.gone else self.stock.references[key]
        return self._recent.get(key)

    def parts(self) -> Iterator[tuple[NDArray[np.int64], Kept]]:
        """Keys and vectors of the stock, the gone among them, and of what lies beside it."""
        if self.stock is not None:
            yield np.arange(len(self.stock), dtype=np.int64), self.stock.vectors
        if self.rows is not None and len(self.rows):
            yield self.rows.keys, self.rows.vectors

    def total(self) -> NDArray[np.float64]:
        """Sum of the vectors, float64, shape (d,); there must be a member."""
        sums = [vectors.sum(axis=0, dtype=np.float64) for _, vectors in self.parts()]
        if self.stock is not None and self.gone:
            sums.append(-self.stock.vectors[sorted(self.gone)].sum(axis=0, dtype=np.float64))
        return np.asarray(np.sum(sums, axis=0), np.float64)

    def put(self, references: Sequence[Reference], vectors: Vectors) -> None:
        """Add members, or replace those whose id is there already.

        Args:
            references: n members; the last of an id that stands twice counts.
            vectors: float32, shape (n, d); they are scaled to unit length.

        Raises:
            FatalError: d differs from that of the members there are.
        """
        if self.rows is None:
            self.rows = Rows(int(vectors.shape[1]))
        if vectors.shape[1] != self.rows.dimension:
            raise FatalError(
                f"vectors of {vectors.shape[1]} numbers in a gallery of {self.rows.dimension}",
                reason="index_mismatch",
            )
        latest = {reference.id: row for row, reference in enumerate(references)}
        rows = [row for row in latest.values() if not self._revived(references[row])]
        if not rows:
            return
        self.remove([references[row].id for row in rows])
        keys = np.arange(self._next_key, self._next_key + len(rows), dtype=np.int64)
        self._next_key += len(rows)
        added = unit_rows(vectors[rows])
        if self.stock is not None:  # a member has the same similarity before it goes into the stock and after
            added = np.asarray(added.astype(self.stock.vectors.dtype), np.float32)
        self.rows.add(keys, added)
        for key, row in zip(keys.tolist(), rows, strict=True):
            self._keys[references[row].id] = key
            self._recent[key] = slim(references[row])

    def remove(self, ids: Sequence[str]) -> None:
        """Take members out; unknown ids are passed over."""
        keys = [self._keys.pop(member) for member in ids if member in self._keys]
        for key in keys:
            del self._recent[key]
        if keys and self.rows is not None:
            self.rows.remove(keys)
        self.gone.update(slot for member in ids if (slot := self._slot(member)) is not None)

    def restore(self, references: Sequence[Reference], vectors: Vectors) -> None:
        """Hold these members only; their unit rows are not copied."""
        self.stock, self.gone = None, set()
        self.rows = Rows(int(vectors.shape[1]), vectors)
        self._keys = {reference.id: key for key, reference in enumerate(references)}
        self._recent = dict(enumerate(references))
        self._next_key = len(references)

    def expect(self, stock: Stock) -> None:
        """Lay a stock without any of its members under none: each is in when it is `put` again."""
        self.stock, self.gone = stock, set(range(len(stock)))
        self.rows = Rows(int(stock.vectors.shape[1]))
        self._keys, self._recent, self._next_key = {}, {}, len(stock)

    def settle(self) -> None:
        """Lay all members in rows, in the order of their ids."""
        references, vectors = self.references, self.vectors
        order = sorted(range(len(references)), key=lambda row: references[row].id)
        rows = np.ascontiguousarray(vectors[order]) if order else np.zeros((0, vectors.shape[1]), np.float32)
        self.restore([references[row] for row in order], rows)

    def fold(self, factory: str | None, *, indexed: bool) -> None:
        """Make what lies beside the stock part of it, and one where there was none.

        Args:
            factory: see `workers.image.gallery.Gallery`.
            indexed: whether the stock has an index.
        """
        references, vectors = self.recent
        if self.stock is None:
            order = sorted(range(len(references)), key=lambda row: references[row].id)
            stock = build_stock([references[row] for row in order], vectors[order], factory, indexed=indexed)
        else:
            stock = self.stock.extended(references, vectors, self.gone, factory)
        self.expect(stock)
        self.gone = set(stock.dead)

    def _slot(self, member: str) -> int | None:
        slot = self.stock.slots.get(member) if self.stock else None
        return None if slot is None or slot in self.gone else slot

    def _revived(self, reference: Reference) -> bool:
        """Whether the stock has this very member already, as one that is in or that has gone."""
        slot = self.stock.slots.get(reference.id) if self.stock else None
        if self.stock is None or slot is None or reference.sha256 is None:
            return False
        if self.stock.references[slot] != reference or reference.id in self._keys:
            return False
        self.gone.discard(slot)
        return True

    def _stocked(self) -> Iterator[tuple[int, Reference]]:
        if self.stock is not None:
            for slot, reference in enumerate(self.stock.references):
                if reference is not None and slot not in self.gone:
                    yield slot, reference
