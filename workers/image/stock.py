"""The settled part of a large gallery. It never changes, so that generations of the gallery share it."""

from collections.abc import Sequence, Set
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas import Reference
from workers.image.context import Context
from workers.image.models import FLAT_BELOW, FlatIndex, LargeIndex, create_index

Rows = NDArray[np.float32]
Kept = NDArray[np.float32] | NDArray[np.float16]
"""Vectors as they are kept: in 16 bits where there are so many that codes are searched."""

RELEARNT_AT: Final = 2.0
"""An index is made anew when the gallery has grown or shrunk by this factor since."""
BLOCK: Final = 20_000


class Centred:
    """Vectors with a context's mean taken away, made as they are asked for.

    Args:
        vectors: shape (n, d), unit rows.
        context: whose mean is taken away.
    """

    def __init__(self, vectors: Kept, context: Context) -> None:
        self._vectors = vectors
        self._context = context
        self.shape: tuple[int, ...] = vectors.shape

    def __len__(self) -> int:
        return len(self._vectors)

    def __getitem__(self, which: slice | NDArray[np.int64]) -> Rows:
        return self._context.centred(np.asarray(self._vectors[which], np.float32))


class Stock:
    """Members in slots, with an index over their centred vectors.

    Args:
        references: n members by slot; None where the member has gone, and is not in the index either.
        vectors: shape (n, d), unit rows; may be mapped from a file.
        context: whose mean was taken away from what is in the index.
        index: over the slots; None searches all of them.
        trained_on: members there were when the index was made.
    """

    def __init__(
        self,
        references: Sequence[Reference | None],
        vectors: Kept,
        context: Context,
        index: FlatIndex | LargeIndex | None,
        trained_on: int,
    ) -> None:
        self.references = references
        self.vectors = vectors
        self.context = context
        self.index = index
        self.trained_on = trained_on
        self.slots = {r.id: slot for slot, r in enumerate(references) if r is not None}
        self.dead = frozenset(slot for slot, r in enumerate(references) if r is None)

    def __len__(self) -> int:
        return len(self.references)

    @property
    def kind(self) -> str:
        """How it is searched: `flat` or FAISS's description."""
        return self.index.description if isinstance(self.index, LargeIndex) else "flat"

    def candidates(self, query: Rows, k: int, gone: Set[int]) -> NDArray[np.int64]:
        """Find the slots of members among which the k nearest are, best first.

        Args:
            query: float32, shape (1, d), a unit row.
            k: wanted.
            gone: slots whose members have gone; some may be given all the same.
        """
        if self.index is None:
            return np.arange(len(self), dtype=np.int64)
        if isinstance(self.index, LargeIndex):
            return self.index.candidates(self.context.centred(query), k, gone)
        wanted = min(k + len(gone) - len(self.dead), len(self))
        _, keys = self.index.search(self.context.centred(query), wanted)
        return np.asarray(keys[0][keys[0] >= 0], np.int64)

    def extended(
        self, references: Sequence[Reference], vectors: Rows, gone: set[int], factory: str | None
    ) -> "Stock":
        """A stock with further members and without those that have gone; this one stays as it is.

        The index is made anew only where the size has changed by RELEARNT_AT, or a better kind fits.

        Args:
            references: m further members.
            vectors: float32, shape (m, d), unit rows.
            gone: all slots without a member.
            factory: see `Gallery`.
        """
        count = len(self) + len(references) - len(gone)
        index = self._without(gone, count, factory)
        if index is None:
            kept = np.array([slot not in gone for slot in range(len(self))], np.bool_)
            members = [r for slot, r in enumerate(self.references) if r is not None and slot not in gone]
            block = np.concatenate([self.vectors[kept], np.asarray(vectors, self.vectors.dtype)])
            return build_stock([*members, *references], block, factory, indexed=self.index is not None)
        start = len(self)
        for first in range(0, len(references), BLOCK):
            block = vectors[first : first + BLOCK]
            index.add(np.arange(start + first, start + first + len(block)), self.context.centred(block))
        former = [None if slot in gone else r for slot, r in enumerate(self.references)]
        every = np.concatenate([self.vectors, np.asarray(vectors, self.vectors.dtype)])
        return Stock([*former, *references], every, self.context, index, self.trained_on)

    def _without(self, gone: set[int], count: int, factory: str | None) -> LargeIndex | None:
        """A copy of the index without some slots; None where it had better be made anew."""
        outgrown = not 1 / RELEARNT_AT < count / max(1, self.trained_on) < RELEARNT_AT
        if not isinstance(self.index, LargeIndex) or outgrown or len(gone) > len(self) // 2:
            return None
        if factory is None and count < FLAT_BELOW:
            return None
        index = self.index.copied()
        index.remove(np.array(sorted(gone - self.dead), np.int64))
        return None if index.stale else index


def build_stock(
    references: Sequence[Reference], vectors: Kept, factory: str | None, *, indexed: bool = True
) -> Stock:
    """Build a stock from n members and their vectors, shape (n, d), unit rows."""
    context = Context.of_mean(vectors.sum(axis=0, dtype=np.float64), len(vectors))
    index = None
    if indexed:
        slots = np.arange(len(vectors), dtype=np.int64)
        index = create_index(slots, Centred(vectors, context), factory, keep=False)
    # The cosine of two vectors in 16 bits is right to 0.0001, and half of a large gallery's memory is saved.
    if isinstance(index, LargeIndex):
        vectors = np.asarray(vectors, np.float16)
    return Stock(references, vectors, context, index, len(vectors))
