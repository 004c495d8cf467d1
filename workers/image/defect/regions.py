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
UPSAMPLED: Final = 4
"""How much finer than the patches the edges of boxes are."""
EDGE: Final = 0.7
"""A box reaches down to this share of the image's highest place: what is high varies from flaw to flaw, and
one threshold for all boxes half of the image with a plain flaw, and grain beside a faint one."""
PEAK: Final = 0.8
"""A box has a place of at least this share."""
JOINED: Final = 4
"""Half the gap across which boxes are one, in steps of 1 / UPSAMPLED cells: a flaw in pieces is seen as
one."""


def smoothed(scores: ScoreMap, sigma: float) -> ScoreMap:
    """Blur a score map; neighbouring patches overlap, so their scores should agree. Sigma is in cells."""
    return np.asarray(cv2.GaussianBlur(scores, (0, 0), sigma), np.float32)


def regions(scores: ScoreMap, certain: float, width: int, height: int) -> list[Region]:
    """Box what stands out in the map of a defective image, highest first; there is at least one box.

    Args:
        scores: patch scores over the whole image.
        certain: score that hardly a good part has anywhere: what reaches it is boxed beside what is higher.
        width: of the original image, in pixels.
        height: of the original image, in pixels.

    Source: Canny, A Computational Approach to Edge Detection, 1986 (two thresholds, the higher for what is
    kept, the lower for how far it reaches).
    """
    rows, columns = scores.shape
    size = (columns * UPSAMPLED, rows * UPSAMPLED)
    fine = cv2.resize(scores, size, interpolation=cv2.INTER_CUBIC)
    highest = float(fine.max())
    above = fine >= min(EDGE * highest, certain)
    needed = min(PEAK * highest, certain)
    across, down = width / size[0], height / size[1]
    joined = cv2.dilate(above.astype(np.uint8), np.ones((2 * JOINED + 1, 2 * JOINED + 1), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(joined)
    found = []
    for label in range(1, count):
        left, top, wide, high = (int(value) for value in stats[label][:4])
        window = np.s_[top : top + high, left : left + wide]
        inside = above[window] & (labels[window] == label)
        peak = float(fine[window][inside].max())
        if peak < needed:
            continue
        ys, xs = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
        box = (
            int(np.floor((left + xs[0]) * across)),
            int(np.floor((top + ys[0]) * down)),
            min(width, int(np.ceil((left + xs[-1] + 1) * across))),
            min(height, int(np.ceil((top + ys[-1] + 1) * down))),
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
