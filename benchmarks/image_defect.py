"""Defects from good parts only: AUROC, false alarms, boxes and speed on a folder of one's own.

    python -m benchmarks.image_defect --good DIR --bad DIR [--masks _mask.png] [--good-parts N] [--seeds 0 1]

Half the good images are learned, drawn at random, the other half and all bad ones are judged. With --masks a
bad image NAME.jpg has a mask NAME + suffix; a flaw counts as hit where a box holds a pixel of it. Pixel AUROC
and per-region overlap are of the heat maps that results carry.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.metrics import roc_auc_score

from config import ImageSettings
from schemas import ImageMessage, ImageResult, Reference
from workers.image.evaluation.localisation import PixelFigures, boxes_against, scores_of
from workers.image.worker import ImageWorker, create_image_worker

BATCH = 32


def images_in(folder: Path, suffix: str | None) -> list[Path]:
    found = sorted(p for p in folder.rglob("*.jpg") if not (suffix and p.name.endswith(suffix)))
    return found or sorted(folder.rglob("*.png"))


def judged(worker: ImageWorker, paths: list[Path]) -> list[ImageResult]:
    results: list[ImageResult] = []
    for start in range(0, len(paths), BATCH):
        messages = [ImageMessage(id=str(p), content=p.read_bytes()) for p in paths[start : start + BATCH]]
        for outcome in worker.run(worker.prepare(messages)):
            assert isinstance(outcome, ImageResult), outcome
            results.append(outcome)
    return results


def mask_of(path: Path, suffix: str) -> np.ndarray:
    return np.asarray(Image.open(path.with_name(path.stem + suffix)).convert("L")) > 127


def places(bad: list[Path], suffix: str, on_good: list[ImageResult], on_bad: list[ImageResult]) -> str:
    """How well flaws are boxed and their pixels told from good ones; all good images count as good pixels."""
    masks = [mask_of(path, suffix) for path in bad]
    found = [boxes_against(mask, r.regions) for mask, r in zip(masks, on_bad, strict=True)]
    flaws, hits, wasted = (sum(column) for column in zip(*found, strict=True))
    wasted += sum(len(r.regions) for r in on_good)
    maps = [r.heat_map for r in (*on_bad, *on_good) if r.heat_map is not None]
    pixels = PixelFigures(min(one.low for one in maps), max(one.high for one in maps))
    for mask, one in zip(masks, maps, strict=False):
        pixels.add(scores_of(one, mask.shape[1], mask.shape[0]), mask)
    typical = masks[0].shape
    for one in maps[len(masks) :]:
        pixels.add(scores_of(one, typical[1], typical[0]), np.zeros(typical, bool))
    return (
        f" | boxes hit {hits}/{flaws}, false {wasted / len(maps):.2f} an image | pixel AUROC "
        f"{pixels.auroc:.3f}, per-region overlap {pixels.per_region_overlap:.3f}"
    )


def run(
    good: list[Path], bad: list[Path], masks: str | None, keep: int | None, seed: int, rate: float
) -> None:
    order = np.random.default_rng(seed).permutation(len(good))
    half = len(good) // 2
    learned = [good[i] for i in order[:half]][:keep]
    fresh = [good[i] for i in order[half:]]
    worker = create_image_worker(ImageSettings(mode="defect", false_alarms=rate))
    worker.load()
    started = time.perf_counter()
    worker.apply([Reference(id=str(p), content=p.read_bytes()) for p in learned])
    judged(worker, fresh[:1])
    fitted_s = time.perf_counter() - started
    started = time.perf_counter()
    on_good, on_bad = judged(worker, fresh), judged(worker, bad)
    speed = (len(fresh) + len(bad)) / (time.perf_counter() - started)
    scores = [r.score for r in (*on_good, *on_bad)]
    auroc = roc_auc_score([0] * len(on_good) + [1] * len(on_bad), scores)
    detected = np.mean([r.verdict == "defect" for r in on_bad])
    line = (
        f"seed {seed} learned {len(learned)} AUROC {auroc:.4f} false alarms "
        f"{np.mean([r.verdict == 'defect' for r in on_good]):.3f} (set {rate}) detected "
        f"{detected:.3f} | {speed:.1f} images/s, learning {fitted_s:.1f} s"
    )
    if masks:
        line += places(bad, masks, on_good, on_bad)
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--good", type=Path, required=True)
    parser.add_argument("--bad", type=Path, nargs="+", required=True)
    parser.add_argument("--masks")
    parser.add_argument("--good-parts", type=int, nargs="+", default=[None])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--false-alarms", type=float, default=0.01)
    given = parser.parse_args()
    bad = [path for folder in given.bad for path in images_in(folder, given.masks)]
    for keep in given.good_parts:
        for seed in given.seeds:
            run(images_in(given.good, given.masks), bad, given.masks, keep, seed, given.false_alarms)


if __name__ == "__main__":
    main()
