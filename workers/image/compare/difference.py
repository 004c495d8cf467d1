"""What differs between a reference and an aligned picture beyond the jitter of edges."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Extremes:
    """A picture with the least and greatest value within the tolerance of each pixel.

    Attributes:
        image: uint8, shape (h, w).
        low: local minimum, uint8, shape (h, w).
        high: local maximum, uint8, shape (h, w).
    """

    image: Grey
    low: Grey
    high: Grey

    def padded(self, pixels: int) -> "Extremes":
        """With the border repeated outwards."""
        maps = (
            cv2.copyMakeBorder(one, pixels, pixels, pixels, pixels, cv2.BORDER_REPLICATE)
            for one in (self.image, self.low, self.high)
        )
        return Extremes(*maps)

    def window(self, box: Box, dx: int = 0, dy: int = 0) -> "Extremes":
        """The part inside a box, seen `dx`, `dy` pixels further on; the caller keeps it inside."""
        part = (slice(box[1] + dy, box[3] + dy), slice(box[0] + dx, box[2] + dx))
        return Extremes(self.image[part], self.low[part], self.high[part])


def extremes(image: Grey, tolerance_px: int) -> Extremes:
    """Local extremes in the square of 2 · tolerance_px + 1 pixels.

    Args:
        image: uint8, shape (h, w).
        tolerance_px: how far edges may wander, in pixels; 0 for none.
    """
    if tolerance_px <= 0:
        return Extremes(image, image, image)
    kernel = np.ones((2 * tolerance_px + 1, 2 * tolerance_px + 1), np.uint8)
    return Extremes(image, cv2.erode(image, kernel), cv2.dilate(image, kernel))


def excess(reference: Extremes, test: Extremes) -> Grey:
    """How far each pixel lies outside the values found within the tolerance, in either picture.

    A pixel of the test image is explained by any reference pixel within the tolerance, and the other way
    round, so that both an added and a vanished speck show.

    Returns:
        Grey levels brighter or darker than the reference allows, uint8, shape (h, w).
    """
    brighter = cv2.max(cv2.subtract(test.image, reference.high), cv2.subtract(test.low, reference.image))
    darker = cv2.max(cv2.subtract(reference.low, test.image), cv2.subtract(reference.image, test.high))
    beyond: Grey = cv2.max(brighter, darker)
    return beyond


def contrast_of(reference: Grey) -> float:
    """The reference's own range of grey levels, 1st to 99th percentile, at least 32."""
    counts = np.bincount(reference[::2, ::2].ravel(), minlength=256)
    share = np.cumsum(counts) / counts.sum()
    low, high = np.searchsorted(share, (0.01, 0.99))
    return float(max(32, int(high) - int(low)))
