"""Drawn signatures: each subject is a curve, each signature that curve with a tremble."""

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]


def signature(
    subject: int,
    draw: int,
    *,
    tremble: float = 2.5,
    pen_px: int = 3,
    size: tuple[int, int] = (160, 360),
    angle_deg: float = 0.0,
) -> Grey:
    """Dark ink on white paper; the same subject gives the same curve, each `draw` another tremble."""
    shape = np.random.default_rng(1000 + subject)
    hand = np.random.default_rng((subject, draw))
    knots = int(shape.integers(9, 14))
    points = np.stack([np.linspace(40, size[1] - 40, knots), shape.uniform(30, size[0] - 30, knots)], axis=1)
    points[:, 0] += shape.normal(0, 22, knots)
    points += hand.normal(0, tremble, points.shape)
    turn = np.deg2rad(angle_deg)
    centre = points.mean(axis=0)
    points = (points - centre) @ np.array(
        [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]
    ) + centre
    image = np.full(size, 255, np.uint8)
    cv2.polylines(image, [_curve(points)], False, 20, pen_px, cv2.LINE_AA)
    return image


def _curve(knots: NDArray[np.float64]) -> NDArray[np.int32]:
    """A Catmull-Rom spline through the knots."""
    padded = np.vstack([knots[:1], knots, knots[-1:]])
    t = np.linspace(0, 1, 16, endpoint=False)[:, None]
    parts = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False)
    ]
    return np.rint(np.vstack(parts)).astype(np.int32)
