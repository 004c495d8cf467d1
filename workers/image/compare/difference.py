"""What differs beyond the jitter of edges, and the boxes around it."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Box = tuple[int, int, int, int]

_HALF_MASS_PX = 20.0
"""A flaw of so many pixels at full contrast scores 0.5."""


@dataclass(frozen=True)
class Flaw:
    """A place where the test image differs, in pixels of the reference.

    Attributes:
        box: x1, y1, x2, y2 around what differs, without margin.
        score: in [0, 1); 0.5 is a difference worth 20 pixels of full contrast beyond the tolerated jitter.
        sign: 1 where the test image is mostly brighter, -1 where darker.
    """

    box: Box
    score: float
    sign: int


def excess(reference: Grey, test: Grey, tolerance_px: int) -> tuple[Grey, Grey]:
    """How far each pixel lies outside the values found within the tolerance, in either picture.

    A pixel of the test image is explained by a reference pixel at most `tolerance_px` away (Chebyshev), and
    the other way round, so that both an added and a vanished speck show.

    Args:
        reference: uint8, shape (h, w).
        test: uint8, shape (h, w), aligned.
        tolerance_px: how far edges may wander, in pixels.

    Returns:
        Brighter and darker than the reference allows, in grey levels, uint8, both (h, w).
    """
    if tolerance_px <= 0:
        return cv2.subtract(test, reference), cv2.subtract(reference, test)
    kernel = np.ones((2 * tolerance_px + 1, 2 * tolerance_px + 1), np.uint8)
    brighter = cv2.max(
        cv2.subtract(test, cv2.dilate(reference, kernel)), cv2.subtract(cv2.erode(test, kernel), reference)
    )
    darker = cv2.max(
        cv2.subtract(cv2.erode(reference, kernel), test), cv2.subtract(reference, cv2.dilate(test, kernel))
    )
    return brighter, darker


def contrast_of(reference: Grey) -> float:
    """The reference's own range of grey levels, 1st to 99th percentile, at least 32."""
    counts = np.bincount(reference[::2, ::2].ravel(), minlength=256)
    share = np.cumsum(counts) / counts.sum()
    low, high = np.searchsorted(share, (0.01, 0.99))
    return float(max(32, int(high) - int(low)))


def find_flaws(brighter: Grey, darker: Grey, contrast: float, floor: float, join_px: int) -> list[Flaw]:
    """Group what differs into flaws, highest score first.

    Args:
        brighter: grey levels in excess, uint8, shape (h, w).
        darker: the same for darker, uint8, shape (h, w).
        contrast: grey levels that count as full contrast.
        floor: share of full contrast below which a pixel counts as equal.
        join_px: fragments at most so far apart are one flaw.
    """
    both = cv2.max(brighter, darker)
    _, binary = cv2.threshold(both, floor * contrast, 255, cv2.THRESH_BINARY)
    binary = cv2.morphologyEx(binary, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    if not cv2.hasNonZero(binary):
        return []
    reach = join_px // 2
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    joined = cv2.dilate(binary, kernel) if reach else binary
    count, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    flaws = []
    for index in range(1, count):
        x, y, width, height = (int(value) for value in stats[index, :4])
        window = (slice(y, y + height), slice(x, x + width))
        inside = (labels[window] == index) & (binary[window] > 0)
        if not inside.any():
            continue
        mass = float(both[window][inside].sum()) / contrast
        sign = 1 if int(brighter[window][inside].sum()) >= int(darker[window][inside].sum()) else -1
        rows, columns = np.nonzero(inside.any(axis=1))[0], np.nonzero(inside.any(axis=0))[0]
        box = (x + int(columns[0]), y + int(rows[0]), x + int(columns[-1]) + 1, y + int(rows[-1]) + 1)
        flaws.append(Flaw(box, mass / (mass + _HALF_MASS_PX), sign))
    return sorted(flaws, key=lambda flaw: -flaw.score)
