"""Exact nearest-neighbour search over unit vectors, by FAISS."""

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""float32, shape (n, d)."""


class FlatIndex:
    """Every vector is compared with every query, so nothing is missed. Not thread-safe.

    Args:
        dimension: d.
        euclidean: True ranks by squared Euclidean distance, ascending; otherwise by inner product, descending
            (cosine similarity where rows have unit length).

    Source: FAISS, IndexFlat.
    """

    def __init__(self, dimension: int, *, euclidean: bool = False) -> None:
        self.dimension = dimension
        flat: Any = faiss.IndexFlatL2(dimension) if euclidean else faiss.IndexFlatIP(dimension)
        self._index: Any = faiss.IndexIDMap2(flat)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, keys: NDArray[np.int64], vectors: Vectors) -> None:
        """Add vectors under keys that are not in the index yet."""
        self._index.add_with_ids(np.ascontiguousarray(vectors, np.float32), np.asarray(keys, np.int64))

    def remove(self, keys: NDArray[np.int64]) -> None:
        """Remove vectors; unknown keys are passed over."""
        self._index.remove_ids(np.asarray(keys, np.int64))

    def vectors(self, keys: NDArray[np.int64]) -> Vectors:
        """Give vectors back by their keys, float32, shape (len(keys), d)."""
        return np.asarray(self._index.reconstruct_batch(np.asarray(keys, np.int64)), np.float32)

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, NDArray[np.int64]]:
        """Find the k nearest.

        Args:
            queries: float32, shape (n, d).
            k: wanted; fewer come back where the index holds fewer.

        Returns:
            Scores float32 and keys int64, both (n, min(k, len(self))), best first.
        """
        k = min(k, len(self))
        if k == 0 or len(queries) == 0:
            return np.zeros((len(queries), k), np.float32), np.zeros((len(queries), k), np.int64)
        scores, keys = self._index.search(np.ascontiguousarray(queries, np.float32), k)
        return scores, keys
