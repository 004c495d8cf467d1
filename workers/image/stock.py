"""The settled part of a large gallery. It never changes, so that generations of the gallery share it."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas import Reference
from workers.image.context import Context
from workers.image.models import FlatIndex, LargeIndex, create_index
from workers.image.models.large_index import FLAT_BELOW

Rows = NDArray[np.float32]

RELEARNT_AT: Final = 2.0
"""An index is made anew when the gallery has grown or shrunk by this factor since."""
BLOCK: Final = 20_000


class Stock:
    """Members in slots, with an index over their centred vectors.

    Args:
        references: n members by slot; None where the member has gone, and is not in the index either.
        vectors: float32, shape (n, d), unit rows; may be mapped from a file.
        context: whose mean was taken away from what is in the index.
        index: over the slots; None searches all of them.
        trained_on: members there were when the index was made.
    """

    def __init__(
        self,
        references: Sequence[Reference | None],
        vectors: Rows,
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

    def candidates(self, query: Rows, k: int, gone: int) -> NDArray[np.int64]:
        """Find the slots of about the k nearest, best first.

        Args:
            query: float32, shape (1, d), a unit row.
            k: wanted.
            gone: slots in the index whose members have gone; so many more are given.
        """
        if self.index is None:
            return np.arange(len(self), dtype=np.int64)
        wanted = min(k + gone, len(self))
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
            block = np.concatenate([self.vectors[kept], vectors])
            return build_stock([*members, *references], block, factory, indexed=self.index is not None)
        start = len(self)
        for first in range(0, len(references), BLOCK):
            block = vectors[first : first + BLOCK]
            index.add(np.arange(start + first, start + first + len(block)), self.context.centred(block))
        former = [None if slot in gone else r for slot, r in enumerate(self.references)]
        every = np.concatenate([self.vectors, vectors])
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
    references: Sequence[Reference], vectors: Rows, factory: str | None, *, indexed: bool = True
) -> Stock:
    """Build a stock from n members and their vectors, float32, shape (n, d), unit rows."""
    context = Context.of_mean(vectors.sum(axis=0, dtype=np.float64), len(vectors))
    index = None
    if indexed:
        index = create_index(np.arange(len(vectors), dtype=np.int64), context.centred(vectors), factory)
    return Stock(references, vectors, context, index, len(vectors))
