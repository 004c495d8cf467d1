"""From a photograph or scan of a signature to its ink: binary, without background, specks and ruled lines."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Mask = NDArray[np.uint8]

_WORK_PX = 800
"""Longer side in which ink is separated from paper, in pixels; more only costs time."""
_MIN_CONTRAST = 24
"""Grey levels between paper and ink below which there is no ink."""
_LINE_SHARE = 0.85
"""Share of the width from which a straight thin stroke is taken for a ruled line."""


@dataclass(frozen=True)
class Ink:
    """What was written.

    Attributes:
        mask: uint8, 0 or 255, cropped to the ink; shape (h, w), both at least 1.
        stroke_px: median width of the strokes, in pixels of the mask.
    """

    mask: Mask
    stroke_px: float


def clean(grey: Grey) -> Ink | None:
    """Separate the ink from paper, specks and ruled lines.

    Args:
        grey: uint8, shape (h, w), dark ink on light paper or the other way round.

    Returns:
        The ink, or None where there is none.
    """
    longest = max(grey.shape)
    if longest > _WORK_PX:
        factor = _WORK_PX / longest
        size = (max(1, round(grey.shape[1] * factor)), max(1, round(grey.shape[0] * factor)))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    if float(np.median(grey)) < 128 and float(np.mean(grey < 128)) > 0.5:
        grey = cv2.bitwise_not(grey)
    depth = _depth(grey)
    if int(depth.max()) < _MIN_CONTRAST:
        return None
    level, _ = cv2.threshold(depth, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    mask = np.where(depth > max(level * 0.8, _MIN_CONTRAST / 2), 255, 0).astype(np.uint8)
    mask = _without_specks(_without_lines(mask))
    return _cropped(mask)


def _depth(grey: Grey) -> Grey:
    """How much darker than the paper around it each pixel is, in grey levels."""
    size = max(15, max(grey.shape) // 8) | 1
    small = (
        cv2.resize(grey, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        if min(grey.shape) > 40
        else grey
    )
    kernel = np.ones((max(3, size // 4), max(3, size // 4)), np.uint8)
    paper = cv2.GaussianBlur(cv2.morphologyEx(small, cv2.MORPH_CLOSE, kernel), (0, 0), 3)
    paper = cv2.resize(paper, grey.shape[::-1], interpolation=cv2.INTER_LINEAR)
    depth: Grey = cv2.subtract(paper, cv2.GaussianBlur(grey, (3, 3), 0))
    return depth


def _without_lines(mask: Mask) -> Mask:
    """Remove straight horizontal lines that run through nearly the whole picture."""
    width = mask.shape[1]
    length = round(width * _LINE_SHARE)
    if length < 30:
        return mask
    # tolerate a slope of a few pixels: close vertically before looking for long runs
    thick = cv2.dilate(mask, np.ones((3, 1), np.uint8))
    lines = cv2.morphologyEx(thick, cv2.MORPH_OPEN, np.ones((1, length), np.uint8))
    rows = np.count_nonzero(lines, axis=1)
    if not rows.any() or np.count_nonzero(rows) > mask.shape[0] // 5:
        return mask
    bare = cv2.bitwise_and(mask, cv2.bitwise_not(lines))
    # strokes that crossed the line are mended
    mended = cv2.morphologyEx(bare, cv2.MORPH_CLOSE, np.ones((7, 1), np.uint8))
    result: Mask = cv2.bitwise_or(bare, cv2.bitwise_and(mended, mask))
    return result


def _without_specks(mask: Mask) -> Mask:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count <= 2:
        return mask
    areas = stats[1:, cv2.CC_STAT_AREA]
    keep = np.concatenate([[False], areas >= max(4.0, 0.002 * float(areas.sum()))])
    return np.where(keep[labels], 255, 0).astype(np.uint8)


def _cropped(mask: Mask) -> Ink | None:
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    if not len(rows):
        return None
    crop = np.ascontiguousarray(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    distance = cv2.distanceTransform(
        cv2.copyMakeBorder(crop, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 3
    )
    ridge = distance[(distance > 0) & (distance >= cv2.dilate(distance, np.ones((3, 3), np.uint8)))]
    return Ink(crop, max(1.0, 2.0 * float(np.median(ridge)) - 1.0))
