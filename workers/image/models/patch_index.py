"""Nearest-neighbour search among patches that belong to images, by FAISS."""

import copy
from collections.abc import Iterable
from typing import Any, Final, Self

import faiss
import numpy as np
from numpy.typing import NDArray

FLAT_BELOW: Final = 4_000
"""Vectors up to which every one is compared; above, they are searched by cells: of 7,700, five times faster
and no worse."""
PROBED: Final = 8
"""Cells searched for each query: on tiles the distances found are the exact ones but for 1 in 50."""
TRAINED_ON: Final = 40_000
ROUNDS: Final = 8
"""Rounds of k-means; more change nothing that can be measured here."""


class PatchIndex:
    """Euclidean distance to the nearest patch, where wanted without those of some images.

    Args:
        vectors: float32, shape (n, d), the patches of one image after those of another.

    Source: FAISS, IndexFlatL2 and IndexIVFFlat.
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        vectors = np.ascontiguousarray(vectors, np.float32)
        count, dimension = vectors.shape
        self._index: Any = faiss.IndexFlatL2(dimension)
        self._cells = count > FLAT_BELOW
        if self._cells:
            self._index = faiss.IndexIVFFlat(self._index, dimension, int(3 * np.sqrt(count)))
            self._index.cp.min_points_per_centroid = 1
            self._index.cp.niter = ROUNDS
            step = max(1, count // TRAINED_ON)
            self._index.train(np.ascontiguousarray(vectors[::step]))
        self._index.add(vectors)
        self._gone: tuple[tuple[int, int], ...] = ()

    def without(self, ranges: Iterable[tuple[int, int]]) -> Self:
        """The same patches but those of rows [first, last), which are passed over in every search."""
        made = copy.copy(self)
        made._gone = (*self._gone, *ranges)
        return made

    def nearest(
        self, queries: NDArray[np.float32], left_out: tuple[int, int] | None = None, count: int = 1
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the nearest patches to each query, nearest first.

        Args:
            queries: float32, shape (m, d).
            left_out: rows [first, last) of the vectors that don't count.
            count: how many to find.

        Returns:
            Distances float32 and rows int64, both of shape (m, count); where nothing more is near enough to
            be found, the distance is infinite and the row -1.
        """
        selected: dict[str, Any] = {}
        hidden = [*self._gone, *([left_out] if left_out is not None else [])]
        if len(hidden) == 1:
            selected["sel"] = faiss.IDSelectorNot(faiss.IDSelectorRange(*hidden[0]))
        elif hidden:
            rows = np.concatenate([np.arange(*one, dtype=np.int64) for one in hidden])
            selected["sel"] = faiss.IDSelectorNot(faiss.IDSelectorBatch(rows))
        if self._cells:
            selected["nprobe"] = PROBED
        kind: Any = faiss.SearchParametersIVF if self._cells else faiss.SearchParameters
        parameters = kind(**selected)
        squared, rows = self._index.search(
            np.ascontiguousarray(queries, np.float32), count, params=parameters
        )
        found = np.where(rows < 0, np.inf, np.sqrt(np.maximum(squared, 0.0)))
        return found.astype(np.float32), rows.astype(np.int64)
