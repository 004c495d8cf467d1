"""Description of a signature: where its strokes run in which direction.

The ink is thinned, so that the pen does not count; each point of the line has a direction, and the points are
counted on a grid by place and direction, softly in all three. The grid is laid by the moments of the line
(centre and spread), which unlike a bounding box don't jump with one long stroke.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.image.signature.clean import Ink
from workers.image.signature.thin import thin

Floats = NDArray[np.float32]

DIRECTIONS = 8
COLUMNS, ROWS = 32, 16
_REACH_SPREADS = 5.0
"""Width and height of the grid, in standard deviations of the line's points."""
_SPLAT = 4
"""Points are counted this much finer than the grid, then smoothed."""
_SMOOTH_CELLS = 0.7
_WINDOW_PX = 4
"""Reach of the direction's estimate along the line, in pixels."""


def describe(ink: Ink) -> Floats:
    """Describe the ink; never fails.

    Returns:
        float32, shape (ROWS, COLUMNS, DIRECTIONS): square roots of the shares of the line, squares sum to 1.
    """
    points, directions = _line(thin(ink.mask))
    return _map(_laid(points), directions)


def _line(skeleton: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """Points of the line as (x, y), shape (n, 2), and their directions in [0, π), shape (n,)."""
    reach = 2 * _WINDOW_PX
    axis = np.arange(-reach, reach + 1, dtype=np.float32)
    window = np.exp(-(axis**2) / (2 * (_WINDOW_PX / 2) ** 2)).astype(np.float32)
    line = skeleton.astype(np.float32)
    kernels = (
        np.outer(window, window * axis**2),
        np.outer(window * axis**2, window),
        np.outer(window * axis, window * axis),
    )
    rows, columns = np.nonzero(skeleton)
    xx, yy, xy = (
        cv2.filter2D(line, cv2.CV_32F, kernel, borderType=cv2.BORDER_CONSTANT)[rows, columns]
        for kernel in kernels
    )
    directions = (0.5 * np.arctan2(2 * xy, xx - yy)) % np.pi
    return np.stack([columns, rows], axis=1).astype(np.float32), directions.astype(np.float32)


def _laid(points: Floats) -> Floats:
    """Points on the unit square by their moments."""
    spread = np.maximum(points.std(axis=0), 1.0)
    return np.asarray((points - points.mean(axis=0)) / (spread * _REACH_SPREADS) + 0.5, np.float32)


def _map(points: Floats, directions: Floats) -> Floats:
    """Soft shares by place and direction; square roots, so that no dense cell dominates (Hellinger)."""
    columns, rows = COLUMNS * _SPLAT, ROWS * _SPLAT
    bins = directions / np.pi * DIRECTIONS
    low = np.floor(bins).astype(np.intp)
    share = bins - low
    x = np.clip((points[:, 0] * columns).astype(np.intp), 0, columns - 1)
    y = np.clip((points[:, 1] * rows).astype(np.intp), 0, rows - 1)
    fine = np.zeros((rows, columns, DIRECTIONS), np.float32)
    np.add.at(fine, (y, x, low % DIRECTIONS), 1 - share)
    np.add.at(fine, (y, x, (low + 1) % DIRECTIONS), share)
    smooth = cv2.GaussianBlur(fine, (0, 0), _SMOOTH_CELLS * _SPLAT, borderType=cv2.BORDER_CONSTANT)
    half = _SPLAT // 2
    cells = np.maximum(smooth[half::_SPLAT, half::_SPLAT], 0)
    return np.asarray(np.sqrt(cells / max(float(cells.sum()), 1e-9)), np.float32)
