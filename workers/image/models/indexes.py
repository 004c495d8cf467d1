"""Which index a gallery gets, and how it comes back from a file."""

from typing import Final

import faiss
import numpy as np
from numpy.typing import NDArray

from workers.errors import FatalError
from workers.image.models.flat_index import FlatIndex
from workers.image.models.index_trial import Rows
from workers.image.models.large_index import LargeIndex
from workers.image.models.scanned_index import ScannedIndex, is_scan

FLAT_BELOW: Final = 50_000
"""Vectors up to which every one is compared with the query."""


def create_index(
    keys: NDArray[np.int64], vectors: Rows, factory: str | None = None, *, keep: bool = True
) -> FlatIndex | LargeIndex:
    """Build an index of unit rows: exact below FLAT_BELOW, scanned codes above, or the kind described.

    Args:
        keys: int64, shape (n,), ascending.
        vectors: n unit rows of d numbers.
        factory: FAISS's description.
        keep: whether an index of codes refers to the vectors; see `ScannedIndex`.

    Raises:
        FatalError: FAISS does not know the description.
    """
    if factory is not None and not is_scan(factory):
        return LargeIndex(keys, vectors, factory)
    if factory is not None or len(vectors) >= FLAT_BELOW:
        return ScannedIndex(keys, vectors, factory, keep=keep)
    flat = FlatIndex(int(vectors.shape[1]))
    flat.add(keys, vectors[: len(vectors)])
    return flat


def load_index(
    content: NDArray[np.uint8], description: str, depth: int = 0, recall: float = 0.0
) -> LargeIndex:
    """Read an index from the bytes that `LargeIndex.dumped` gave.

    Args:
        content: the bytes.
        description: as the index had it.
        depth: as the index had it; 0 names as many as are wanted.
        recall: as the index had it.

    Raises:
        FatalError: they are none.
    """
    try:
        index = faiss.deserialize_index(content)
        kind = ScannedIndex if is_scan(description) else LargeIndex
        return kind.adopted(index, description, depth, recall)
    except (RuntimeError, AttributeError) as error:
        raise FatalError(f"index {description!r} can't be read", reason="index_mismatch") from error
