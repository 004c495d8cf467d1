"""Figures of where flaws are said to be, against masks that people drew."""

import base64
from collections.abc import Iterable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from schemas import HeatMap, Region

BINS: Final = 2_000
"""Steps of the score at which shares are counted; finer ones change the fourth digit."""
MIN_FLAW_PX: Final = 9
"""Smaller specks of a mask are slips of the pen."""
MAX_FALSE: Final = 0.3
"""Per-region overlap is averaged over shares of good pixels called bad up to this."""

Mask = NDArray[np.bool_]
Scores = NDArray[np.float32]


def scores_of(heat: HeatMap, width: int, height: int) -> Scores:
    """A heat map's scores at every pixel of the image; shape (height, width)."""
    cells = np.frombuffer(base64.b64decode(heat.data), np.uint8).reshape(heat.height, heat.width)
    values = cells.astype(np.float32) * np.float32((heat.high - heat.low) / 255) + np.float32(heat.low)
    return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def flaws_of(mask: Mask) -> tuple[int, NDArray[np.int32]]:
    """Count the flaws of a mask and number their pixels from 1; specks are 0, as what is good."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    kept, numbered = 0, np.zeros(mask.shape, np.int32)
    for label in range(1, count):
        if stats[label][4] >= MIN_FLAW_PX:
            kept += 1
            numbered[labels == label] = kept
    return kept, numbered


def boxes_against(mask: Mask, regions: Iterable[Region]) -> tuple[int, int, int]:
    """Flaws, flaws with a pixel in a box, boxes that hold no pixel of a flaw."""
    count, numbered = flaws_of(mask)
    hit: set[int] = set()
    wasted = 0
    for region in regions:
        x1, y1, x2, y2 = region.box
        touched = set(np.unique(numbered[y1:y2, x1:x2]).tolist()) - {0}
        hit |= touched
        wasted += not touched
    return count, len(hit), wasted


class PixelFigures:
    """Pixel AUROC and per-region overlap, counted image by image so that no set is too large.

    Args:
        low: scores at or below are counted as one.
        high: scores at or above are counted as one.

    Source: Bergmann et al., The MVTec Anomaly Detection Dataset, IJCV 2021 (per-region overlap up to a share
    of 0.3 of good pixels).
    """

    def __init__(self, low: float, high: float) -> None:
        self._low, self._span = low, max(high - low, 1e-9)
        self._good = np.zeros(BINS)
        self._bad = np.zeros(BINS)
        self._regions: list[NDArray[np.float64]] = []

    def add(self, scores: Scores, mask: Mask) -> None:
        """Count an image; both of shape (height, width)."""
        steps = np.clip((scores - self._low) / self._span * BINS, 0, BINS - 1).astype(np.int64)
        count, numbered = flaws_of(mask)
        self._good += np.bincount(steps[~mask], minlength=BINS)
        self._bad += np.bincount(steps[mask], minlength=BINS)
        for number in range(1, count + 1):
            inside = steps[numbered == number]
            self._regions.append(np.bincount(inside, minlength=BINS) / len(inside))

    @property
    def auroc(self) -> float:
        """Chance that a pixel of a flaw scores higher than a good one, ties counted half."""
        below = np.cumsum(self._good) - self._good / 2
        return float((self._bad * below).sum() / (self._bad.sum() * self._good.sum()))

    @property
    def per_region_overlap(self) -> float:
        """Mean share of a flaw found, averaged over shares of good pixels called bad up to 0.3; in [0, 1]."""
        false = np.concatenate([[0.0], np.cumsum(self._good[::-1]) / self._good.sum()])
        found = np.concatenate([[0.0], np.cumsum(np.mean(self._regions, axis=0)[::-1])])
        at = np.linspace(0, MAX_FALSE, 301)
        return float(np.interp(at, false, found).mean())
