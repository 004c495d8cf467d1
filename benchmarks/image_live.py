"""Galleries that change while images are matched, and restarts from snapshots.

python -m benchmarks.image_live enrol [--references 10000] [--rate 10] [--width 320]
python -m benchmarks.image_live restart [--vectors 100000] [--folder DIR]

enrol: images come at a constant rate while references are enrolled in chunks, as the references topic gives
them, and one is removed every other second. The longest gap is that between two results; before it stands
what the same load gives with nothing else going on. A machine that is busy otherwise lengthens both, so
what matching waited for its turn at the model, which it shares with enrolment, stands beside. restart: a
snapshot of random vectors in clusters, then a fresh worker that is given a claim check for each of them, as
the references topic would; and the memory it takes.
"""

import argparse
import hashlib
import io
import json
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from config import ImageSettings
from schemas import ImageMessage, ImageResult, Reference
from workers.base import Change
from workers.image.models.turns import Turns
from workers.image.worker import ImageWorker, create_image_worker

CHUNK = 200
"""Changes handed over together by the reader of the topic."""
MATCHING = "matching"
"""Name of the thread that matches."""
WAITED: list[float] = []
"""Seconds that it has waited for its turns at the model since its batch began."""


def picture(seed: int, width: int = 320) -> bytes:
    """A JPEG of coloured shapes, three quarters as high as wide."""
    noise = np.random.default_rng(seed)
    coarse = noise.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, 3 * width // 4), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return file.getvalue()


class Load:
    """Images at a constant rate through prepare and run, as a lane does it; notes when results came."""

    def __init__(self, worker: ImageWorker, rate: float) -> None:
        self._worker, self._rate = worker, rate
        self._waiting: queue.Queue[ImageMessage] = queue.Queue()
        self._stop = threading.Event()
        self.results: list[tuple[float, float, ImageResult]] = []
        self.waited: list[tuple[float, float]] = []
        self._threads = [threading.Thread(target=self._feed), threading.Thread(target=self._work)]
        self._pictures = [picture(10**6 + i) for i in range(64)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _feed(self) -> None:
        started, number = time.monotonic(), 0
        while not self._stop.is_set():
            self._waiting.put(ImageMessage(id=str(number), content=self._pictures[number % 64]))
            number += 1
            self._stop.wait(max(0.0, started + number / self._rate - time.monotonic()))

    def _work(self) -> None:
        threading.current_thread().name = MATCHING
        while not self._stop.is_set():
            try:
                batch = [self._waiting.get(timeout=0.1)]
            except queue.Empty:
                continue
            while len(batch) < 8 and not self._waiting.empty():
                batch.append(self._waiting.get())
            prepared = self._worker.prepare(batch)
            began = time.monotonic()
            WAITED.clear()
            for outcome in self._worker.run(prepared):
                assert isinstance(outcome, ImageResult), outcome
                self.results.append((began, time.monotonic(), outcome))
            self.waited.append((began, sum(WAITED)))

    def gaps(self, since: float) -> np.ndarray:
        """Seconds between results that came one after the other."""
        return np.diff([at for _, at, _ in self.results if at >= since])


def watch_turns() -> None:
    """Have WAITED hold what the matching thread has waited for its turns."""
    taken = Turns.taken

    @contextmanager
    def watched(turns: Turns) -> Iterator[None]:
        started = time.monotonic()
        with taken(turns):
            if threading.current_thread().name == MATCHING:
                WAITED.append(time.monotonic() - started)
            yield

    Turns.taken = watched  # type: ignore[assignment,method-assign]


def enrol(count: int, rate: float, threads: int, width: int) -> None:
    watch_turns()
    worker = create_image_worker(ImageSettings(mode="similarity", threads=threads))
    worker.load()
    contents = [picture(i, width) for i in range(count)]
    first = [Change(f"default/r{i}", content) for i, content in enumerate(contents[:100])]
    worker.apply_changes(first)
    worker.run(worker.prepare([ImageMessage(id="warm", content=contents[0])]))
    removals: list[float] = []
    gone: list[tuple[float, str]] = []
    done = threading.Event()

    def remove() -> None:
        number = 0
        while not done.wait(2.0):
            started = time.monotonic()
            worker.apply_changes([Change(f"default/r{number}", None)])
            removals.append(time.monotonic() - started)
            gone.append((time.monotonic(), f"r{number}"))
            number += 1

    with Load(worker, rate) as load:
        started = time.monotonic()
        time.sleep(5.0)
        alone = load.gaps(started)
        remover = threading.Thread(target=remove)
        remover.start()
        started = time.monotonic()
        for start in range(100, count, CHUNK):
            changes = [Change(f"default/r{i}", contents[i]) for i in range(start, min(start + CHUNK, count))]
            worker.apply_changes(changes)
            if start % 1_000 < CHUNK:
                longest, waited = load.gaps(started).max(), max(s for at, s in load.waited if at >= started)
                print(
                    f"{start} after {time.monotonic() - started:.0f} s: longest gap {1_000 * longest:.0f} ms,"
                    f" longest wait for a turn {1_000 * waited:.0f} ms",
                    file=sys.stderr,
                    flush=True,
                )
        took = time.monotonic() - started
        time.sleep(3.0)
        done.set()
        remover.join()
        gaps = load.gaps(started)
    late = sum(
        name in {n.id for n in result.neighbors}
        for removed_at, name in gone
        for began, _, result in load.results
        if began > removed_at
    )
    print(f"{count - 100} references enrolled in {took:.1f} s ({(count - 100) / took:.0f}/s), rate {rate}/s")
    for name, found in (("alone", alone), ("while enrolling", gaps)):
        ms = 1_000 * np.quantile(found, [0.5, 0.99, 1.0])
        print(f"{name}: gap between results p50 {ms[0]:.0f}, p99 {ms[1]:.0f}, longest {ms[2]:.0f} ms")
    waits = 1_000 * np.quantile([s for at, s in load.waited if at >= started], [0.5, 0.99, 1.0])
    print(
        f"waited for its turn at the model: p50 {waits[0]:.0f}, p99 {waits[1]:.0f}, longest {waits[2]:.0f} ms"
    )
    print(f"{len(removals)} removals: p50 {np.median(removals):.3f} s, longest {max(removals):.3f} s")
    print(f"results of later batches naming a removed one: {late}")
    worker.close()


def prepared(folder: Path, count: int, dimension: int) -> list[Change]:
    """Write a snapshot of random vectors unless it is there; the records of its references."""
    references = [
        Reference(
            id=f"r{i:06}",
            dataref=f"/nowhere/{i}.jpg",
            sha256=hashlib.sha256(str(i).encode()).hexdigest(),
            size=50_000,
            label=f"l{i % 50}",
        )
        for i in range(count)
    ]
    if not list(folder.glob("*.gallery")):
        noise = np.random.default_rng(0)
        centres = noise.standard_normal((max(1, count // 200), dimension), dtype=np.float32)
        rows = noise.standard_normal((count, dimension), dtype=np.float32)
        rows += 1.5 * centres[noise.integers(len(centres), size=count)]
        worker = create_image_worker(ImageSettings(mode="similarity", snapshots=folder))
        worker.load()
        galleries = worker._loaded()
        gallery = galleries.by_name["default"]
        from workers.image.live_gallery import Entry
        from workers.image.membership import member_digest

        entries = [Entry(r, row, member_digest(r)) for r, row in zip(references, rows, strict=True)]
        started = time.perf_counter()
        gallery.enrol(entries)
        gallery.open()
        galleries.keeper.write()
        print(f"made once in {time.perf_counter() - started:.1f} s: {gallery.current.mode.facts}")
        worker.close()
    return [Change(f"default/{r.id}", r.to_json()) for r in references]


def memory_mb() -> float:
    """Proportional set size of this process, in MB; nan where the system does not tell."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    except OSError:
        return float("nan")
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1_024


def restart(count: int, dimension: int, folder: Path) -> None:
    changes = prepared(folder, count, dimension)
    size = sum(path.stat().st_size for path in folder.glob("*")) / 2**20
    started, spent = time.perf_counter(), time.process_time()
    worker = create_image_worker(ImageSettings(mode="similarity", snapshots=folder))
    worker.load()
    loaded = time.perf_counter()
    [applied] = worker.apply_changes(changes)
    assert applied.refused is None
    assert worker.ready
    ready, spent = time.perf_counter(), time.process_time() - spent
    [result] = worker.run(worker.prepare([ImageMessage(id="q", content=picture(0))]))
    first = time.perf_counter()
    assert isinstance(result, ImageResult)
    print(
        f"{count} references of {dimension} numbers, {size:.0f} MB on disk: {json.dumps(dict(applied.facts))}"
    )
    print(
        f"load {loaded - started:.2f} s, references {ready - loaded:.2f} s, ready in {ready - started:.2f} s,"
        f" of processor time {spent:.2f} s"
    )
    print(f"first result after another {first - ready:.2f} s")
    print(f"memory: {memory_mb():.0f} MB (proportional set size), the mapped vectors among them")
    worker.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    live = commands.add_parser("enrol")
    live.add_argument("--references", type=int, default=10_000)
    live.add_argument("--rate", type=float, default=10.0)
    live.add_argument("--threads", type=int, default=0)
    live.add_argument("--width", type=int, default=320, help="of a reference, in pixels")
    again = commands.add_parser("restart")
    again.add_argument("--vectors", type=int, default=100_000)
    again.add_argument("--dimension", type=int, default=1_280)
    again.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.command == "enrol":
        enrol(given.references, given.rate, given.threads, given.width)
        return
    with tempfile.TemporaryDirectory() as made:
        restart(given.vectors, given.dimension, given.folder or Path(made))


if __name__ == "__main__":
    main()
