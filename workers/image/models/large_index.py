"""Approximate search among many vectors, by FAISS."""

import copy
from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final, Self

import faiss
import numpy as np
from numpy.typing import NDArray

from workers.errors import FatalError
from workers.image.models.flat_index import Vectors
from workers.image.models.index_trial import NEAREST, Rows, tried

PROBED_SHARE: Final = 0.02
"""Share of the cells that a query looks into, and so about that of the vectors it is compared with."""
TRAINED_ON: Final = 100_000
ROUNDS: Final = 8
LOOKED_AT: Final = 128
"""Members that a search through a graph keeps in view at least."""
BLOCK: Final = 20_000
WIDENED: Final = 4
"""Where too few of those named are still there, so many times as many are asked for."""


class LargeIndex:
    """Inner product by any index that `faiss.index_factory` builds. Not thread-safe.

    Args:
        keys: int64, shape (n,).
        vectors: n unit rows of d numbers; n and d can't change the index's kind later.
        factory: FAISS's description, such as `HNSW32` or `IVF4096,SQ8`; the kind must know inner products.

    Attributes:
        depth: members to be compared exactly, so that the nearest are among them; see `index_trial`.
        recall: share of the nearest that the index found so among its own members, when it was made.

    Raises:
        FatalError: FAISS does not know the description or can't train it on these vectors.

    Source: FAISS, index_factory.
    """

    threads: ClassVar[int] = 0
    """Threads that make an index; 0 takes all."""

    def __init__(self, keys: NDArray[np.int64], vectors: Rows, factory: str) -> None:
        self.description = factory
        self.depth, self.recall = 0, 0.0
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
            with _threads(self.threads):
                self._index.train(np.ascontiguousarray(vectors[::step], np.float32))
        except (RuntimeError, AttributeError) as error:
            detail = " ".join(str(error).split())[:200]
            raise FatalError(f"index {factory!r} can't be built: {detail}", reason="configuration") from error
        self._gone: set[int] = set()
        for start in range(0, len(keys), BLOCK):
            self._add(keys[start : start + BLOCK], vectors[start : start + BLOCK])
        self.depth, self.recall = self._tried(keys, vectors)

    @classmethod
    def adopted(cls, index: Any, description: str, depth: int, recall: float) -> Self:
        """An index that FAISS has read; see `load_index`."""
        made = cls.__new__(cls)
        made.description, made.dimension, made._gone = description, int(index.d), set()
        made.depth, made.recall = depth, recall
        made._adopt(index)
        return made

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
        self._add(keys, vectors)

    def _add(self, keys: NDArray[np.int64], vectors: Vectors) -> None:
        with _threads(self.threads):
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
        scores, keys = self._asked(queries, wanted)
        if self._gone:
            keys[np.isin(keys, np.fromiter(self._gone, np.int64))] = -1
            order = np.argsort(keys < 0, axis=1, kind="stable")
            scores, keys = np.take_along_axis(scores, order, 1), np.take_along_axis(keys, order, 1)
        return scores[:, :k], keys[:, :k]

    def candidates(self, query: Vectors, k: int, gone: Container[int] = ()) -> NDArray[np.int64]:
        """Name the members among which the k nearest are; to be compared exactly by who holds their vectors.

        Args:
            query: float32, shape (1, d), a unit row.
            k: wanted.
            gone: keys that are to be left out besides those removed.

        Returns:
            Keys, int64, shape (m,), about the best first; `depth` of them, or more where k is large.
        """
        depth = max(k, round(self.depth * max(1.0, k / NEAREST) ** 0.5))
        asked = min(depth, int(self._index.ntotal))
        while asked:
            found = self._asked(query, asked)[1][0]
            found = found[found >= 0]
            left = [key for key in found.tolist() if key not in self._gone and key not in gone]
            if 2 * len(left) >= depth or len(found) < asked or asked == self._index.ntotal:
                return np.array(left[:depth], np.int64)
            asked = min(WIDENED * asked, int(self._index.ntotal))
        return np.zeros(0, np.int64)

    def _asked(self, queries: Vectors, wanted: int) -> tuple[Vectors, NDArray[np.int64]]:
        """Scores and keys as FAISS finds them, the gone among them; shape (n, wanted)."""
        if self._graph is not None:
            self._graph.efSearch = max(LOOKED_AT, 2 * wanted)
        # More threads are no faster for one query, and many times as slow on cores that are busy otherwise.
        with _threads(1 if len(queries) == 1 else 0):
            scores, keys = self._index.search(np.ascontiguousarray(queries, np.float32), wanted)
        return scores, keys

    def _tried(self, keys: NDArray[np.int64], vectors: Rows) -> tuple[int, float]:
        """`depth` and `recall`; the keys are those that the vectors have in the index."""
        order = np.argsort(keys)
        ordered = keys[order]

        def search(query: Vectors, k: int) -> NDArray[np.int64]:
            found = self._asked(query, k)[1][0]
            return np.asarray(order[np.searchsorted(ordered, found[found >= 0])], np.int64)

        return tried(search, vectors) if len(keys) else (0, 0.0)


def _cells(index: Any) -> Any | None:
    """The part of an index that is divided into cells, where there is one."""
    try:
        return faiss.extract_index_ivf(index)
    except RuntimeError:
        return None


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let FAISS use so many threads when called from this thread; 0 leaves it as it is."""
    former = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count or former)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(former)
