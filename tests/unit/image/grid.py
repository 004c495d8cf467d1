"""A stand-in for a network."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from workers.image.models import Backbone


class Grid(Backbone):
    """Its features are the mean colours of 32 × 32 pixels."""

    def __init__(self) -> None:
        self.name = "grid"

    def features(
        self, images: Sequence[NDArray[np.uint8]], taps: Sequence[str]
    ) -> list[tuple[NDArray[np.float32], ...]]:
        """Give the mean colours once for each tap."""
        found = []
        for pixels in images:
            high, wide = (side // 32 for side in pixels.shape[:2])
            cells = pixels.astype(np.float32).reshape(high, 32, wide, 32, 3).mean(axis=(1, 3))
            found.append(tuple(cells.transpose(2, 0, 1) for _ in taps))
        return found
