"""Drawn circuit boards for the tests of compare."""

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.image.modes.base import DecodedImage

Grey = NDArray[np.uint8]


def board(seed: int = 0, size: tuple[int, int] = (400, 480)) -> Grey:
    """A board of tracks and pads, copper dark on white; `size` is (height, width)."""
    rng = np.random.default_rng(seed)
    height, width = size
    image = np.full(size, 255, np.uint8)
    for _ in range(10):
        points = np.cumsum(rng.integers(-90, 91, (5, 2)), axis=0) + rng.integers(0, min(size), 2)
        cv2.polylines(image, [points.astype(np.int32)], False, 0, int(rng.integers(5, 12)), cv2.LINE_AA)
    for _ in range(12):
        x, y = int(rng.integers(20, width - 20)), int(rng.integers(20, height - 20))
        cv2.circle(image, (x, y), int(rng.integers(7, 16)), 0, -1, cv2.LINE_AA)
    return image


def decoded(grey: Grey) -> DecodedImage:
    """As the decoder would hand it over."""
    colour = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB) if grey.ndim == 2 else grey
    return DecodedImage(colour, width=int(grey.shape[1]), height=int(grey.shape[0]))


def moved(grey: Grey, angle_deg: float = 0, scale: float = 1, shift: tuple[float, float] = (0, 0)) -> Grey:
    """Turned and scaled about the centre, then shifted; white comes in from outside."""
    height, width = grey.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle_deg, scale)
    matrix[:, 2] += shift
    return cv2.warpAffine(grey, matrix, (width, height), borderMode=cv2.BORDER_CONSTANT, borderValue=255)
