"""From a map of patch scores to boxes in pixels and a coarse heat map."""

import base64
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from schemas import HeatMap, Region

ScoreMap = NDArray[np.float32]
"""float32, shape (rows, columns); higher is more anomalous."""

MAX_HEAT_SIDE: Final = 64
"""Cells along the longer side of a heat map in a result: 4 KB at most."""
MAX_REGIONS: Final = 50


def smoothed(scores: ScoreMap, sigma: float) -> ScoreMap:
    """Blur a score map; neighbouring patches overlap, so their scores should agree. Sigma is in cells."""
    return np.asarray(cv2.GaussianBlur(scores, (0, 0), sigma), np.float32)


def regions(scores: ScoreMap, threshold: float, width: int, height: int, upsample: int = 4) -> list[Region]:
    """Box what lies above a threshold, highest first.

    Args:
        scores: patch scores over the whole image.
        threshold: of a patch.
        width: of the original image, in pixels.
        height: of the original image, in pixels.
        upsample: how much finer than the patches the edges of boxes are.
    """
    rows, columns = scores.shape
    fine = cv2.resize(scores, (columns * upsample, rows * upsample), interpolation=cv2.INTER_CUBIC)
    count, labels, stats, _ = cv2.connectedComponentsWithStats((fine >= threshold).astype(np.uint8))
    across, down = width / (columns * upsample), height / (rows * upsample)
    peaks = [float(fine[labels == label].max()) for label in range(1, count)]
    found = []
    for label, peak in enumerate(peaks, start=1):
        left, top, wide, high = (int(value) for value in stats[label][:4])
        box = (
            int(np.floor(left * across)),
            int(np.floor(top * down)),
            min(width, int(np.ceil((left + wide) * across))),
            min(height, int(np.ceil((top + high) * down))),
        )
        found.append(Region(box=box, score=round(peak, 6)))
    return sorted(found, key=lambda region: (-region.score, region.box))[:MAX_REGIONS]


def heat_map(scores: ScoreMap) -> HeatMap:
    """Pack a score map for a result."""
    rows, columns = scores.shape
    shrink = min(1.0, MAX_HEAT_SIDE / max(rows, columns))
    size = (max(1, round(columns * shrink)), max(1, round(rows * shrink)))
    coarse = scores if shrink == 1 else cv2.resize(scores, size, interpolation=cv2.INTER_AREA)
    low, high = float(coarse.min()), float(coarse.max())
    span = high - low
    shares = (coarse - low) / span if span > 0 else np.zeros_like(coarse)
    return HeatMap(
        width=size[0],
        height=size[1],
        data=base64.b64encode(np.rint(shares * 255).astype(np.uint8).tobytes()).decode(),
        low=round(low, 6),
        high=round(high, 6),
    )
