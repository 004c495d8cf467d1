"""Vectors in one block of memory that grows and shrinks."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Rows:
    """Vectors by key, without gaps: the last one takes the place of one that is removed. Not thread-safe.

    Args:
        dimension: d.
        vectors: float32, shape (n, d), to start with, under the keys 0 to n - 1; not copied until it grows.
    """

    def __init__(self, dimension: int, vectors: NDArray[np.float32] | None = None) -> None:
        self.dimension = dimension
        self._block = np.zeros((0, dimension), np.float32) if vectors is None else vectors
        self._count = len(self._block)
        self._keys = np.arange(self._count, dtype=np.int64)
        self._slots = {key: key for key in range(self._count)}

    def __len__(self) -> int:
        return self._count

    @property
    def vectors(self) -> NDArray[np.float32]:
        """All vectors, float32, shape (n, d); a view that the next change spoils."""
        return self._block[: self._count]

    @property
    def keys(self) -> NDArray[np.int64]:
        """Their keys, int64, shape (n,); a view that the next change spoils."""
        return self._keys[: self._count]

    def of(self, keys: Sequence[int]) -> NDArray[np.float32]:
        """Vectors by their keys, float32, shape (len(keys), d)."""
        return self._block[[self._slots[key] for key in keys]]

    def add(self, keys: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Add vectors under new keys."""
        needed = self._count + len(keys)
        if needed > len(self._block):
            grown = np.zeros((max(needed, 3 * self._count // 2), self.dimension), np.float32)
            grown[: self._count] = self.vectors
            self._keys = np.concatenate([self.keys, np.zeros(len(grown) - self._count, np.int64)])
            self._block = grown
        self._block[self._count : needed] = vectors
        self._keys[self._count : needed] = keys
        self._slots.update({key: self._count + i for i, key in enumerate(keys.tolist())})
        self._count = needed

    def remove(self, keys: Sequence[int]) -> None:
        """Remove vectors by their keys, all of which must be there."""
        for key in keys:
            slot, last = self._slots.pop(key), self._count - 1
            if slot != last:
                self._block[slot] = self._block[last]
                self._keys[slot] = self._keys[last]
                self._slots[int(self._keys[slot])] = slot
            self._count = last

    def copied(self) -> "Rows":
        """Rows of the same vectors that may be changed while these are read."""
        made = Rows(self.dimension, self.vectors.copy())
        made._keys, made._slots = self.keys.copy(), dict(self._slots)
        return made
