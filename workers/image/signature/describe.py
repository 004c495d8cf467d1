"""Description of a signature: where its strokes run in which direction.

The ink is thinned, so that the pen does not count; each point of the line has a direction, and the points are
counted on a grid by place and direction, softly in all three. The grid is laid by the moments of the line
(centre and spread), which unlike a bounding box don't jump with one long stroke.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.image.signature.clean import Ink
from workers.image.signature.thin import thin

Floats = NDArray[np.float32]

_DIRECTIONS = 8
_GRID = (16, 8)
"""Columns and rows."""
_SPLAT = 4
"""Points are counted this much finer than the grid, then smoothed."""
_SMOOTH_CELLS = 0.7
_WINDOW_PX = 4
"""Reach of the direction's estimate along the line, in pixels."""


@dataclass(frozen=True)
class Description:
    """A signature, described.

    Attributes:
        features: name to float32 unit vector; each is compared by Euclidean distance.
    """

    features: dict[str, Floats]


def describe(ink: Ink) -> Description:
    """Describe the ink; never fails."""
    points, directions = _line(thin(ink.mask))
    features = {}
    for name, power in (("stretched", 1.0), ("mixed", 0.5)):
        features[name] = _map(_laid(points, power), directions)
    return Description(features)


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


def _laid(points: Floats, power: float) -> Floats:
    """Points on the unit square by their moments; power 1 stretches both axes alike, 0 keeps the aspect."""
    spread = np.maximum(points.std(axis=0), 1.0)
    middle = float(np.sqrt(spread[0] * spread[1]))
    scale = spread**power * middle ** (1 - power)
    return np.asarray((points - points.mean(axis=0)) / (scale * 5.5) + 0.5, np.float32)


def _map(points: Floats, directions: Floats) -> Floats:
    """Soft counts by direction and place, as a unit vector; square roots, so that no dense cell dominates."""
    columns, rows = _GRID[0] * _SPLAT, _GRID[1] * _SPLAT
    bins = directions / np.pi * _DIRECTIONS
    low = np.floor(bins).astype(np.intp)
    share = bins - low
    x = np.clip((points[:, 0] * columns).astype(np.intp), 0, columns - 1)
    y = np.clip((points[:, 1] * rows).astype(np.intp), 0, rows - 1)
    fine = np.zeros((_DIRECTIONS, rows, columns), np.float32)
    np.add.at(fine, (low % _DIRECTIONS, y, x), 1 - share)
    np.add.at(fine, ((low + 1) % _DIRECTIONS, y, x), share)
    half = _SPLAT // 2
    cells = [
        cv2.GaussianBlur(plane, (0, 0), _SMOOTH_CELLS * _SPLAT, borderType=cv2.BORDER_CONSTANT)[
            half::_SPLAT, half::_SPLAT
        ]
        for plane in fine
    ]
    vector = np.sqrt(np.maximum(np.stack(cells).ravel(), 0))
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), np.float32)
