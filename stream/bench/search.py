"""Search in galleries of growing size, no broker: the product's index beside a plain product of matrices."""

import time
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.bench.contest import Contestant
from workers.image.models import create_index

DIMENSIONS: Final = 1_712
"""Of a vector of the similarity mode."""
TOP: Final = 10
QUERIES: Final = 200

Vectors = NDArray[np.float32]
Search = Callable[[Vectors], NDArray[np.int64]]


def galleries(size: int, *, seed: int = 0) -> tuple[Vectors, Vectors]:
    """Draw a gallery in clusters, as photographs lie, and queries near to members.

    Returns:
        float32 unit rows: the gallery, shape (size, DIMENSIONS), and QUERIES queries.
    """
    noise = np.random.default_rng(seed)
    centres = noise.standard_normal((max(8, size // 50), DIMENSIONS), np.float32)
    gallery = np.empty((size, DIMENSIONS), np.float32)
    for start in range(0, size, 20_000):
        rows = min(20_000, size - start)
        gallery[start : start + rows] = centres[noise.integers(0, len(centres), rows)]
        gallery[start : start + rows] += 0.7 * noise.standard_normal((rows, DIMENSIONS), np.float32)
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    queries = gallery[noise.integers(0, size, QUERIES)]
    queries = queries + 0.5 / np.sqrt(DIMENSIONS) * noise.standard_normal(queries.shape, np.float32)
    return gallery, np.asarray(queries / np.linalg.norm(queries, axis=1, keepdims=True), np.float32)


def searchers(size: int, index: str | None) -> list[Contestant]:
    """The index of the product, and numpy's product of matrices with a partial sort, on one gallery."""
    gallery, queries = galleries(size)
    truth = np.argsort(-(queries @ gallery.T), axis=1)[:, :TOP]
    began = time.perf_counter()
    built = create_index(np.arange(size), gallery, index)
    build_s = time.perf_counter() - began

    def plain(query: Vectors) -> NDArray[np.int64]:
        similarities = query @ gallery.T
        near = np.argpartition(-similarities, TOP, axis=1)[:, :TOP]
        return np.take_along_axis(near, np.argsort(-np.take_along_axis(similarities, near, 1), axis=1), 1)

    return [
        Contestant(
            f"index of {size:,}",
            lambda: {**_timed(lambda query: built.search(query, TOP)[1], queries, truth), "build_s": build_s},
        ),
        Contestant(f"numpy, {size:,}", lambda: _timed(plain, queries, truth)),
    ]


def _timed(search: Search, queries: Vectors, truth: NDArray[np.int64]) -> dict[str, float]:
    for query in queries[:10]:
        search(query[None])
    took = []
    found = 0
    for query, right in zip(queries, truth, strict=True):
        began = time.perf_counter()
        keys = search(query[None])
        took.append(time.perf_counter() - began)
        found += len(np.intersect1d(keys[0], right))
    p50, p99 = np.percentile(np.array(took) * 1_000, [50, 99])
    return {
        "per_s": len(took) / sum(took),
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "recall": found / truth.size,
    }
