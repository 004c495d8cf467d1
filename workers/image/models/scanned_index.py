"""Search among many vectors by looking at a code of each, and at the best of them exactly.

A vector is rotated at random and coded with 4 bits for three numbers each: 54 bytes at 320 numbers. All codes
are compared with a query, from tables that fit into a processor's registers: 2 ms for a million. Nothing is
taken for granted about how vectors lie. With cells, of which a query looks into some, most of the nearest are
missed where vectors point in all directions alike.

Source: André, Kermarrec and Le Scouarnec, Cache locality is not enough: high-performance nearest neighbor
search with product quantization fast scan, VLDB 2015; FAISS, IndexPQFastScan. Other kinds beside it:
docs/benchmarks/images.md.
"""

import re
from collections.abc import Sequence
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from workers.image.models.flat_index import Vectors
from workers.image.models.index_trial import Rows
from workers.image.models.large_index import LargeIndex

CODED_TOGETHER: Final = 3
"""Numbers of a vector that share 4 bits. With 4, twice as many members must be compared exactly; with 2, the
scan takes 4 times as long."""
CODES_BYTES: Final = 10**8
"""Where CODED_TOGETHER takes more, more numbers share 4 bits: this is scanned in about 5 ms."""
TOGETHER_AT_MOST: Final = 8
GONE_AT_MOST: Final = 0.25
"""Share of the codes whose vectors were removed, from which the index should be made anew."""


def scan_description(count: int, dimension: int) -> str:
    """FAISS's description of the codes for so many vectors."""
    together = min(TOGETHER_AT_MOST, max(CODED_TOGETHER, -(-count * dimension // (2 * CODES_BYTES))))
    parts = -(-dimension // together)
    return f"RR{parts * together},PQ{parts}x4fs"


def is_scan(description: str) -> bool:
    """Whether it is one of codes that are scanned."""
    return re.fullmatch(r"RR\d+,PQ\d+x4fs", description) is not None


class ScannedIndex(LargeIndex):
    """Inner product by codes, all of which are scanned; see `LargeIndex`. Not thread-safe.

    Args:
        keys: int64, shape (n,), ascending.
        vectors: n unit rows of d numbers, n at least 16.
        description: of the codes, where they are not to be chosen by n and d.
        keep: refer to the vectors, so that `search` can compare the best exactly; otherwise only `candidates`
            is of use.
    """

    # Many small k-means: more threads wait for each other most of the time, 40 s instead of 3 on busy cores.
    threads: ClassVar[int] = 1
    _kept: Sequence[tuple[NDArray[np.int64], Rows]] = ()

    def __init__(
        self, keys: NDArray[np.int64], vectors: Rows, description: str | None = None, *, keep: bool = False
    ) -> None:
        super().__init__(keys, vectors, description or scan_description(*vectors.shape))
        self._kept = ((keys, vectors),) if keep else ()

    @property
    def stale(self) -> bool:
        """Whether so many were removed that the index should be built anew."""
        return len(self._gone) > max(64, GONE_AT_MOST * len(self))

    def add(self, keys: NDArray[np.int64], vectors: Vectors) -> None:
        """Add vectors under keys that are higher than any before."""
        super().add(keys, vectors)
        if self._kept:
            self._kept = (*self._kept, (keys, vectors))

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, NDArray[np.int64]]:
        """Find the k nearest; see `LargeIndex`. Scores are exact."""
        scores = np.full((len(queries), k), -np.inf, np.float32)
        keys = np.full((len(queries), k), -1, np.int64)
        for i in range(len(queries)):
            named = np.sort(self.candidates(queries[i : i + 1], k))
            parts = [part for part in self._parts(named) if len(part)]
            found = np.concatenate([part @ queries[i] for part in parts]) if parts else np.zeros(0)
            best = np.argsort(-found, kind="stable")[:k]
            scores[i, : len(best)], keys[i, : len(best)] = found[best], named[best]
        return scores, keys

    def _parts(self, named: NDArray[np.int64]) -> list[Vectors]:
        """The vectors of ascending keys, in their order."""
        ends = [int(keys[-1]) + 1 for keys, _ in self._kept if len(keys)]
        groups = np.split(named, np.searchsorted(named, ends))
        kept = [part for part in self._kept if len(part[0])]
        return [rows[np.searchsorted(keys, group)] for (keys, rows), group in zip(kept, groups, strict=False)]
