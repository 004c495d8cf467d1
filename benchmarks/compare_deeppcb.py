"""Compare mode on DeepPCB: defects hit, false boxes, average precision, pairs a second.

    python -m benchmarks.compare_deeppcb [--data ../shared/data/deeppcb] [--processes 2] [--set margin_px=8]
    python -m benchmarks.compare_deeppcb --margins 6 7 8 9 10 11 12 13

A defect counts as hit by at most one box and a box hits at most one defect (IoU ≥ 0.33, best pairs first).
With --margins each group is judged with the margin that is best (F) on the other groups.
"""

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from config.image import ImageSettings
from schemas import ImageMessage, Reference
from workers.image.modes.base import DecodedImage, Finding
from workers.image.modes.compare import CompareMode

DATA = Path("../shared/data/deeppcb")
KINDS = {1: "open", 2: "short", 3: "mousebite", 4: "spur", 5: "copper", 6: "pin-hole"}
Box = tuple[float, ...]


@dataclass
class Pair:
    """One board: files and true boxes."""

    group: str
    reference: Path
    test: Path
    boxes: list[tuple[int, int, int, int]]
    kinds: list[str]


def pairs(data: Path) -> Iterator[Pair]:
    for test in sorted(data.glob("*/*_test.jpg")):
        lines = (
            test.with_name(test.name.replace("_test.jpg", ".txt")).read_text().replace(",", " ").splitlines()
        )
        rows = [tuple(map(int, line.split())) for line in lines if line.strip()]
        yield Pair(
            test.parent.name,
            test.with_name(test.name.replace("_test", "_temp")),
            test,
            [row[:4] for row in rows],  # type: ignore[misc]
            [KINDS[row[4]] for row in rows],
        )


def decode(path: Path) -> DecodedImage:
    pixels = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return DecodedImage(pixels, pixels.shape[1], pixels.shape[0])


def overlap(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def hits(found: list[Box], true: list[Box], least: float = 0.33) -> tuple[set[int], dict[int, int]]:
    """Boxes that hit, and for each defect hit the box."""
    ranked = sorted(
        ((overlap(f, t), i, j) for i, f in enumerate(found) for j, t in enumerate(true)), reverse=True
    )
    used: set[int] = set()
    hit: dict[int, int] = {}
    for value, i, j in ranked:
        if value < least:
            break
        if i not in used and j not in hit:
            used.add(i)
            hit[j] = i
    return used, hit


@dataclass
class Score:
    """Totals of some pairs."""

    pairs: int = 0
    defects: int = 0
    hit: int = 0
    boxes: int = 0
    ranked: list[tuple[float, bool]] | None = None

    def add(self, finding: Finding, true: list[Box]) -> None:
        found = [region.box for region in finding.regions]
        used, hit = hits(list(found), true)
        self.pairs += 1
        self.defects += len(true)
        self.hit += len(hit)
        self.boxes += len(found)
        self.ranked = self.ranked or []
        self.ranked += [(region.score, index in used) for index, region in enumerate(finding.regions)]

    @property
    def recall(self) -> float:
        return self.hit / max(1, self.defects)

    @property
    def false_boxes(self) -> float:
        return (self.boxes - self.hit) / max(1, self.pairs)

    @property
    def average_precision(self) -> float:
        ranked = sorted(self.ranked or [], reverse=True)
        right = np.cumsum([one for _, one in ranked])
        precision = right / np.arange(1, len(ranked) + 1)
        return float(sum(p for p, (_, one) in zip(precision, ranked, strict=True) if one)) / max(
            1, self.defects
        )

    def __str__(self) -> str:
        f1 = 2 * self.hit / max(1, self.boxes + self.defects)
        return (
            f"defects hit {self.recall:.4f}  false boxes a pair {self.false_boxes:.3f}  "
            f"F {f1:.4f}  AP {self.average_precision:.4f}  ({self.pairs} pairs, {self.defects} defects)"
        )


def judge(pair: Pair, mode: CompareMode) -> Finding:
    mode.enrol([(Reference(id="r"), decode(pair.reference))])
    (finding,) = mode.match([(ImageMessage(id="t", reference="r"), decode(pair.test))])
    assert isinstance(finding, Finding), finding
    return finding


def evaluate(data: list[Pair], **options: float) -> dict[str, Score]:
    mode = CompareMode(ImageSettings(mode="compare"), **options)  # type: ignore[arg-type]
    scores: dict[str, Score] = {}
    for pair in data:
        finding = judge(pair, mode)
        for name in (pair.group, "all"):
            scores.setdefault(name, Score()).add(finding, list(pair.boxes))
    return scores


def cross_validate(data: list[Pair], margins: list[int]) -> None:
    """Choose the margin on all groups but one, judge that one."""
    by_margin = {margin: evaluate(data, margin_px=margin) for margin in margins}
    for margin, scores in by_margin.items():
        print(f"margin {margin:2}    {scores['all']}")
    total = Score()
    for group in sorted({pair.group for pair in data}):
        others = [name for name in by_margin[margins[0]] if name not in ("all", group)]
        best = max(
            margins,
            key=lambda margin: (
                sum(by_margin[margin][name].hit * 2 for name in others)
                / sum(by_margin[margin][name].boxes + by_margin[margin][name].defects for name in others)
            ),
        )
        held_out = by_margin[best][group]
        print(f"{group:12} with margin {best} chosen on the others: {held_out}")
        total.pairs += held_out.pairs
        total.defects += held_out.defects
        total.hit += held_out.hit
        total.boxes += held_out.boxes
        total.ranked = (total.ranked or []) + (held_out.ranked or [])
    print(f"held out     {total}")


def _timed(part: list[Pair]) -> int:
    cv2.setNumThreads(1)
    evaluate(part)
    return len(part)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--margins", type=int, nargs="*")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], metavar="OPTION=VALUE")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    data = list(pairs(arguments.data))[: arguments.limit]
    if arguments.margins:
        cross_validate(data, arguments.margins)
        return
    if arguments.processes > 1:
        with ProcessPoolExecutor(arguments.processes) as pool:
            list(pool.map(_timed, [data[:5]] * arguments.processes))  # imports are not timed
            started = time.perf_counter()
            parts = [data[index :: arguments.processes] for index in range(arguments.processes)]
            done = sum(pool.map(_timed, parts))
        print(f"{done / (time.perf_counter() - started):.1f} pairs/s, {arguments.processes} processes")
        return
    options = {key: float(value) for key, value in (one.split("=") for one in arguments.set)}
    options = {key: int(value) if value == int(value) else value for key, value in options.items()}
    started = time.perf_counter()
    scores = evaluate(data, **options)
    seconds = time.perf_counter() - started
    for name, score in sorted(scores.items()):
        print(f"{name:12} {score}")
    print(f"{len(data) / seconds:.1f} pairs/s, one process, decoding and enrolling each reference included")


if __name__ == "__main__":
    main()
