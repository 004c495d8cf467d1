"""Image search: quality on labelled folders through the worker, and large galleries.

python -m benchmarks.image_search --folder DIR [--classes A B ...]
python -m benchmarks.image_search --vectors 1000000 [--dimension 320] [--factory HNSW32]

Folders: every image is searched among all others, itself left out. Vectors: half of them in clusters, half at
random, queries near members; recall is against exact search.
"""

import argparse
import resource
import time
from pathlib import Path

import numpy as np

from workers.image.models import FlatIndex, LargeIndex, create_index


def folder(path: Path, classes: list[str] | None, rate: float) -> None:
    from config import ImageSettings
    from schemas import ImageMessage, ImageResult, Reference
    from workers.image.evaluation.figures import attainable, precision_at, search_score
    from workers.image.manifest import folder_entries
    from workers.image.worker import create_image_worker

    entries = [e for e in folder_entries(path) if classes is None or e.line.label in classes]
    settings = ImageSettings(mode="similarity", top=21, false_accepts=rate)
    worker = create_image_worker(settings)
    worker.load()
    contents = [entry.path.read_bytes() for entry in entries]
    worker.apply(
        [Reference(id=e.id, content=c, label=e.line.label) for e, c in zip(entries, contents, strict=True)]
    )
    messages = [ImageMessage(id=e.id, content=c) for e, c in zip(entries, contents, strict=True)]
    worker.run(worker.prepare(messages[:2]))
    started = time.perf_counter()
    results = [
        r for i in range(0, len(messages), 32) for r in worker.run(worker.prepare(messages[i : i + 32]))
    ]
    speed = len(messages) / (time.perf_counter() - started)
    labels = [str(entry.line.label) for entry in entries]
    found = []
    for result, label in zip(results, labels, strict=True):
        assert isinstance(result, ImageResult)
        others = [n for n in result.neighbors if n.id != result.id][:20]
        found.append([neighbor.label == label for neighbor in others])
    hits = np.array(found)
    for k in (15, 7):
        most = attainable(labels, k)
        score = search_score(hits, k)
        print(f"search score, k = {k}: {score:.1f} of {most:.1f} attainable ({100 * score / most:.1f} %)")
    print(f"precision@10 {100 * precision_at(hits, 10):.1f}, @5 {100 * precision_at(hits, 5):.1f}")
    print(f"{len(messages)} images, {speed:.1f} images/s, JPEG bytes to result")


def vectors(count: int, dimension: int, factory: str | None, asked: int) -> None:
    rows, queries = drawn(count, dimension, asked)
    exact = FlatIndex(dimension)
    keys = np.arange(count, dtype=np.int64)
    exact.add(keys, rows)
    _, wanted = exact.search(queries, 10)
    del exact
    before, started, spent = _memory_mb(), time.perf_counter(), time.process_time()
    index = create_index(keys, rows, factory)
    built, spent = time.perf_counter() - started, time.process_time() - spent
    print(
        f"{getattr(index, 'description', 'flat')}: built in {built:.0f} s, of processor time {spent:.0f} s,"
        f" {_memory_mb() - before:.0f} MB more in memory",
        flush=True,
    )
    if isinstance(index, LargeIndex):
        size = index.dumped().nbytes / count
        print(
            f"{size:.0f} bytes a vector; compares {index.depth} exactly; on members {index.recall:.3f}",
            flush=True,
        )
    wall: list[float] = []
    processor: list[float] = []
    recall: dict[str, list[float]] = {"clustered": [], "random": []}
    for query, nearest in zip(queries, wanted, strict=True):
        started, spent = time.perf_counter(), time.thread_time()
        _, found = index.search(query[None], 10)
        wall.append(1_000 * (time.perf_counter() - started))
        processor.append(1_000 * (time.thread_time() - spent))
        share = float(np.isin(nearest, found[0]).mean())
        recall["clustered" if nearest[0] < count // 2 else "random"].append(share)
    shown = ", ".join(f"{name} {np.mean(values):.3f}" for name, values in recall.items())
    print(f"recall@10 {shown}", flush=True)
    for name, times in (("wall", wall), ("processor", processor)):
        p50, p99 = np.quantile(times, [0.5, 0.99])
        print(f"{name} time a query: p50 {p50:.2f} ms, p99 {p99:.2f} ms", flush=True)


def drawn(count: int, dimension: int, asked: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows, the first half in clusters and the second at random, and queries near to some of them."""
    noise = np.random.default_rng(0)
    rows = noise.standard_normal((count, dimension), dtype=np.float32)
    clustered = count // 2
    centres = noise.standard_normal((max(1, count // 1_000), dimension), dtype=np.float32)
    for start in range(0, clustered, 50_000):
        stop = min(start + 50_000, clustered)
        rows[start:stop] *= 0.6
        rows[start:stop] += centres[noise.integers(len(centres), size=stop - start)]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    near = rows[noise.integers(count, size=asked)]
    queries = near + 0.5 * noise.standard_normal(near.shape, dtype=np.float32) / np.sqrt(dimension)
    return rows, queries / np.linalg.norm(queries, axis=1, keepdims=True)


def _memory_mb() -> float:
    """Resident memory now, in MB; the peak where the system does not tell."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--classes", nargs="+")
    parser.add_argument("--false-accepts", type=float, default=0.01)
    parser.add_argument("--vectors", type=int)
    parser.add_argument("--dimension", type=int, default=320)
    parser.add_argument("--factory")
    parser.add_argument("--queries", type=int, default=500)
    given = parser.parse_args()
    if given.folder:
        folder(given.folder, given.classes, given.false_accepts)
    if given.vectors:
        vectors(given.vectors, given.dimension, given.factory, given.queries)


if __name__ == "__main__":
    main()
