"""The memory bank: patches of good parts, thinned so that what is rare among them is kept."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.image.models import FlatIndex

PROJECTED: Final = 32
"""Dimensions in which the coreset is chosen; distances are kept well enough (Johnson-Lindenstrauss)."""
CANDIDATES: Final = 60_000
"""Patches that the coreset is chosen from; more are drawn down to this many at random first."""

Vectors = NDArray[np.float32]


class MemoryBank:
    """Knows good patches and how far a patch is from them.

    Args:
        size: patches kept.
        seed: of the random draws.

    Source: Roth et al., Towards Total Recall in Industrial Anomaly Detection (PatchCore), CVPR 2022.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        self._size = size
        self._seed = seed
        self._index: FlatIndex | None = None

    def fit(self, patches: Vectors) -> None:
        """Learn good patches, float32, shape (n, d); they replace what was there."""
        kept = patches[coreset(patches, self._size, self._seed)]
        self._index = FlatIndex(int(patches.shape[1]), euclidean=True)
        self._index.add(np.arange(len(kept), dtype=np.int64), kept)

    def distances(self, patches: Vectors) -> Vectors:
        """Euclidean distance of each patch to the nearest good one, float32, shape (n,)."""
        if self._index is None:
            raise ValueError("the bank is empty")
        squared, _ = self._index.search(patches, 1)
        return np.asarray(np.sqrt(np.maximum(squared[:, 0], 0)), np.float32)


def coreset(patches: Vectors, size: int, seed: int) -> NDArray[np.int64]:
    """Choose rows that cover the rest: always the one farthest from all chosen so far.

    Args:
        patches: float32, shape (n, d).
        size: rows wanted; all n where there are no more.
        seed: of the random projection and of the first row.

    Returns:
        Row numbers, shape (min(n, size),).
    """
    random = np.random.default_rng(seed)
    rows = np.arange(len(patches))
    if len(rows) > CANDIDATES:
        rows = np.sort(random.choice(rows, CANDIDATES, replace=False))
    if len(rows) <= size:
        return rows
    points = patches[rows]
    if points.shape[1] > PROJECTED:
        points = points @ random.normal(size=(points.shape[1], PROJECTED)).astype(np.float32)
    squares = np.einsum("ij,ij->i", points, points)
    chosen = np.empty(size, np.int64)
    nearest = np.full(len(points), np.inf, np.float32)
    pick = int(random.integers(len(points)))
    for position in range(size):
        chosen[position] = pick
        np.minimum(nearest, squares - 2 * (points @ points[pick]) + squares[pick], out=nearest)
        pick = int(nearest.argmax())
    return np.asarray(rows[chosen])
