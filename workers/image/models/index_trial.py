"""How deep an approximate index must be asked, and what it then finds: tried on its own members."""

from collections.abc import Callable
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from workers.image.models.flat_index import Vectors

TRIED: Final = 100
"""Members that are searched for."""
NEAREST: Final = 10
WANTED: Final = 0.98
"""Share of the NEAREST others of a member that are to be among what the index names: 0.95 is to be held, and
a sample of TRIED may be off by a point."""
DEEPEST: Final = 4_000
"""Members compared exactly at most: at 320 numbers that takes some 3 ms."""
SHALLOWEST: Final = 50
SPARE: Final = 1.3
"""Asked so many times as deep as the sample needs."""
BLOCK: Final = 4_000


class Rows(Protocol):
    """Unit rows by slices and by numbers: an array, or what makes them as they are asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Their number n and d."""

    def __len__(self) -> int:
        """Their number."""

    def __getitem__(self, which: Any, /) -> Any:
        """Some of them, float32, shape (m, d), by a slice or by numbers, int64, shape (m,)."""


def tried(
    search: Callable[[Vectors, int], NDArray[np.int64]], rows: Rows, *, deepest: int = DEEPEST
) -> tuple[int, float]:
    """Find how many members an index must name.

    Args:
        search: gives numbers of rows, best first, for one query, float32, shape (1, d).
        rows: all members of the index, n rows of unit length.
        deepest: most that it may be.

    Returns:
        The depth, and the share of the NEAREST others of a member that are found so, in [0, 1]; less than
        WANTED where even the deepest finds less.
    """
    count = len(rows)
    own = np.unique(np.linspace(0, count - 1, min(count, TRIED)).astype(np.int64))
    queries = rows[own]
    least = _similarity_of_nearest(queries, own, rows)
    ranks = np.full((len(own), NEAREST), np.inf)
    for i, query in enumerate(queries):
        named = search(query[None], min(deepest + 1, count))
        named = named[named != own[i]]
        # by similarity, not by number: of copies any will do
        places = np.flatnonzero(rows[named] @ query >= least[i] - 1e-6)[:NEAREST]
        ranks[i, : len(places)] = places
    among = np.sort(ranks[:, : max(1, min(NEAREST, count - 1))].ravel())
    reached = np.isfinite(among).mean()
    needed = among[max(0, int(np.ceil(min(WANTED, reached) * len(among))) - 1)]
    asked = SPARE * (needed + 1) if np.isfinite(needed) else deepest
    depth = int(min(deepest, max(SHALLOWEST, asked)))
    return depth, round(float((among < depth).mean()), 4)


def _similarity_of_nearest(queries: Vectors, own: NDArray[np.int64], rows: Rows) -> Vectors:
    """Similarity of the NEAREST-th other of each query, or of the last one; float32, shape (m,)."""
    kept = np.full((len(queries), NEAREST), -2.0, np.float32)
    for start in range(0, len(rows), BLOCK):
        found = queries @ rows[start : start + BLOCK].T
        here = (own >= start) & (own < start + found.shape[1])
        found[np.flatnonzero(here), own[here] - start] = -2.0
        best = np.partition(found, -NEAREST, axis=1)[:, -NEAREST:] if found.shape[1] > NEAREST else found
        kept = np.partition(np.concatenate([kept, best], axis=1), -NEAREST, axis=1)[:, -NEAREST:]
    return np.asarray(kept.min(axis=1), np.float32)
