"""Approximate search among many vectors, by FAISS."""

import copy
from typing import Any, Final, Self

import faiss
import numpy as np
from numpy.typing import NDArray

from workers.errors import FatalError
from workers.image.models.flat_index import FlatIndex, Vectors

FLAT_BELOW: Final = 50_000
"""Vectors up to which every one is compared with the query."""
PROBED_SHARE: Final = 0.02
"""Share of the cells that a query looks into, and so about that of the vectors it is compared with."""
TRAINED_ON: Final = 100_000
ROUNDS: Final = 8
LOOKED_AT: Final = 128
"""Members that a search through a graph keeps in view at least."""
BLOCK: Final = 20_000


class LargeIndex:
    """Inner product by any index that `faiss.index_factory` builds. Not thread-safe.

    Args:
        keys: int64, shape (n,).
        vectors: float32, shape (n, d), unit rows; n and d can't change the index's kind later.
        factory: FAISS's description, such as `HNSW32` or `IVF4096,SQ8`; the kind must know inner products.

    Raises:
        FatalError: FAISS does not know the description or can't train it on these vectors.

    Source: FAISS, index_factory.
    """

    def __init__(self, keys: NDArray[np.int64], vectors: Vectors, factory: str) -> None:
        self.description = factory
        self.dimension = int(vectors.shape[1])
        try:
            inner: Any = faiss.index_factory(self.dimension, factory, faiss.METRIC_INNER_PRODUCT)
            cells = _cells(inner)
            # Only cells can remove, by keys they keep themselves: others end the process when asked.
            self._removes = cells is not None
            self._graph: Any = getattr(inner, "hnsw", None)
            self._index: Any = inner if self._removes else faiss.IndexIDMap(inner)
            if cells is not None:
                cells.nprobe = max(8, round(PROBED_SHARE * cells.nlist))
                cells.cp.niter = ROUNDS
                cells.cp.min_points_per_centroid = 1
            step = max(1, len(vectors) // TRAINED_ON)
            self._index.train(np.ascontiguousarray(vectors[::step], np.float32))
        except (RuntimeError, AttributeError) as error:
            detail = " ".join(str(error).split())[:200]
            raise FatalError(f"index {factory!r} can't be built: {detail}", reason="configuration") from error
        self._gone: set[int] = set()
        for start in range(0, len(keys), BLOCK):
            self.add(keys[start : start + BLOCK], vectors[start : start + BLOCK])

    def __len__(self) -> int:
        return int(self._index.ntotal) - len(self._gone)

    @property
    def stale(self) -> bool:
        """Whether so many were removed that the index should be built anew."""
        return len(self._gone) > max(64, len(self) // 100)

    def copied(self) -> Self:
        """An index that may be changed while this one is searched; takes its memory once more."""
        made = copy.copy(self)
        made._adopt(faiss.clone_index(self._index))
        made._gone = set(self._gone)
        return made

    def dumped(self) -> NDArray[np.uint8]:
        """The index as bytes; see `load_index`."""
        return np.asarray(faiss.serialize_index(self._index), np.uint8)

    def _adopt(self, index: Any) -> None:
        self._index = index  # cast already; cast anew, it would lose its owner
        cells = _cells(self._index)
        self._removes = cells is not None
        inner = self._index if self._removes else faiss.downcast_index(self._index.index)
        self._graph = getattr(inner, "hnsw", None)
        if cells is not None:
            # FAISS keeps what was probed in the clone, not in the bytes
            cells.nprobe = max(8, round(PROBED_SHARE * cells.nlist))

    def add(self, keys: NDArray[np.int64], vectors: Vectors) -> None:
        """Add vectors under keys that were never in the index."""
        self._index.add_with_ids(np.ascontiguousarray(vectors, np.float32), np.asarray(keys, np.int64))

    def remove(self, keys: NDArray[np.int64]) -> None:
        """Remove vectors; a graph keeps them as stepping stones, but never gives them back."""
        if not len(keys):  # FAISS runs out of memory on none
            return
        if self._removes:
            self._index.remove_ids(np.asarray(keys, np.int64))
        else:
            self._gone.update(keys.tolist())

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, NDArray[np.int64]]:
        """Find about the k nearest.

        Args:
            queries: float32, shape (n, d), unit rows.
            k: wanted.

        Returns:
            Scores float32 and keys int64, both (n, k), best first; key -1 where fewer were found.
        """
        wanted = k + len(self._gone)
        if self._graph is not None:
            self._graph.efSearch = max(LOOKED_AT, 2 * wanted)
        # More threads are no faster for one query, and many times as slow on cores that are busy otherwise.
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1 if len(queries) == 1 else threads)
        scores, keys = self._index.search(np.ascontiguousarray(queries, np.float32), wanted)
        faiss.omp_set_num_threads(threads)
        if self._gone:
            keys[np.isin(keys, np.fromiter(self._gone, np.int64))] = -1
            order = np.argsort(keys < 0, axis=1, kind="stable")
            scores, keys = np.take_along_axis(scores, order, 1), np.take_along_axis(keys, order, 1)
        return scores[:, :k], keys[:, :k]


def create_index(
    keys: NDArray[np.int64], vectors: Vectors, factory: str | None = None
) -> FlatIndex | LargeIndex:
    """Build an index of unit rows: exact below FLAT_BELOW, in cells of bytes above, or the kind described.

    Raises:
        FatalError: FAISS does not know the description.
    """
    if factory is None and len(vectors) >= FLAT_BELOW:
        factory = f"IVF{int(4 * np.sqrt(len(vectors)))},SQ8"
    if factory is not None:
        return LargeIndex(keys, vectors, factory)
    flat = FlatIndex(int(vectors.shape[1]))
    flat.add(keys, vectors)
    return flat


def load_index(content: NDArray[np.uint8], description: str) -> LargeIndex:
    """Read an index from the bytes that `LargeIndex.dumped` gave.

    Raises:
        FatalError: they are none.
    """
    try:
        index = faiss.deserialize_index(content)
        made = LargeIndex.__new__(LargeIndex)
        made.description, made.dimension, made._gone = description, int(index.d), set()
        made._adopt(index)
    except (RuntimeError, AttributeError) as error:
        raise FatalError(f"index {description!r} can't be read", reason="index_mismatch") from error
    return made


def _cells(index: Any) -> Any | None:
    """The part of an index that is divided into cells, where there is one."""
    try:
        return faiss.extract_index_ivf(index)
    except RuntimeError:
        return None
