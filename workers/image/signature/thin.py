"""Thinning to lines one pixel wide, so that the pen's width does not count (Zhang and Suen, 1984)."""

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]

_WEIGHTS = np.array([[128, 1, 2], [64, 0, 4], [32, 16, 8]], np.float32)
"""Bit of each neighbour: p2 above is 1, then clockwise."""


def _tables() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Which of the 256 neighbourhoods lose their centre in each of the two passes."""
    first, second = np.zeros(256, np.uint8), np.zeros(256, np.uint8)
    for code in range(256):
        p = [(code >> bit) & 1 for bit in range(8)]
        turns = sum(p[bit] == 0 and p[(bit + 1) % 8] == 1 for bit in range(8))
        if turns != 1 or not 2 <= sum(p) <= 6:
            continue
        first[code] = p[0] * p[2] * p[4] == 0 and p[2] * p[4] * p[6] == 0
        second[code] = p[0] * p[2] * p[6] == 0 and p[0] * p[4] * p[6] == 0
    return first, second


_FIRST, _SECOND = _tables()


def thin(mask: Mask) -> Mask:
    """Thin strokes to one pixel; topology is kept.

    Args:
        mask: uint8, 0 is paper, shape (h, w).

    Returns:
        uint8, 0 or 1, shape (h, w).
    """
    image = cv2.copyMakeBorder((mask > 0).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    for _ in range(max(mask.shape)):
        before = cv2.countNonZero(image)
        for table in (_FIRST, _SECOND):
            codes = cv2.filter2D(image, cv2.CV_8U, _WEIGHTS, borderType=cv2.BORDER_CONSTANT)
            image = cv2.bitwise_and(image, 1 - cv2.LUT(codes, table))
        if cv2.countNonZero(image) == before:
            break
    return _with_dots(np.ascontiguousarray(image[1:-1, 1:-1]), mask)


def _with_dots(skeleton: Mask, mask: Mask) -> Mask:
    """Thinning erases squares of two pixels; each piece of ink keeps one pixel at least."""
    count, labels, _, centres = cv2.connectedComponentsWithStats(mask, connectivity=8)
    kept = np.bincount(labels[skeleton > 0], minlength=count)
    for index in range(1, count):
        if kept[index] == 0:
            x, y = centres[index].round().astype(int)
            skeleton[y, x] = 1
    return skeleton
