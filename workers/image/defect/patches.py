"""Patch features: what each small part of an image looks like to the network."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.image.models import Backbone, resized

TAPS: Final = ("block4", "block10")
"""Layers at strides 8 and 16: middle layers tell textures apart and still know where they are."""

INPUT_PIXELS: Final = 320 * 320
"""Pixels of a median good part when it is shown to the network."""

MIN_SIDE_PX: Final = 64
MAX_ASPECT_PIXELS: Final = 4
"""An image is shown with at most this many times INPUT_PIXELS, however large it is beside the good parts."""


@dataclass(frozen=True)
class PatchGrid:
    """The patches of one image.

    Attributes:
        vectors: float32, shape (rows * columns, d).
        rows: of the grid.
        columns: of the grid.
    """

    vectors: NDArray[np.float32]
    rows: int
    columns: int


class PatchExtractor:
    """Cuts images into patch features.

    All images are shown at the one scale at which the median good part has INPUT_PIXELS: parts photographed
    with the same camera then keep their relative size. Sides are rounded to what the network takes.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self.scale = 1.0

    def fit_scale(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Choose the scale from the sizes (height, width), in pixels, of good parts."""
        median = float(np.median([height * width for height, width in sizes]))
        self.scale = float(np.sqrt(INPUT_PIXELS / median))

    def extract(self, images: Sequence[NDArray[np.uint8]]) -> list[PatchGrid]:
        """Extract patches; same length and order as the input.

        Args:
            images: uint8, shape (height, width, 3), RGB.
        """
        shown = [resized(pixels, *self._shown_size(*pixels.shape[:2])) for pixels in images]
        return [_grid(outputs) for outputs in self._backbone.features(shown, TAPS)]

    def _shown_size(self, height: int, width: int) -> tuple[int, int]:
        most = np.sqrt(MAX_ASPECT_PIXELS * INPUT_PIXELS / (height * width))
        scale = min(self.scale, float(most))
        step = self._backbone.granularity_px
        high, wide = (max(MIN_SIDE_PX, round(side * scale / step) * step) for side in (height, width))
        return high, wide


def _grid(outputs: Sequence[NDArray[np.float32]]) -> PatchGrid:
    """Average each layer over 3 × 3 neighbours, bring all to the grid of the first, join the channels."""
    rows, columns = outputs[0].shape[1:]
    layers = []
    for layer in outputs:
        planes = np.ascontiguousarray(layer.transpose(1, 2, 0))
        smooth = np.stack(
            [cv2.blur(planes[..., channel], (3, 3)) for channel in range(planes.shape[2])], axis=-1
        )
        if smooth.shape[:2] != (rows, columns):
            smooth = np.stack(
                [
                    cv2.resize(smooth[..., channel], (columns, rows), interpolation=cv2.INTER_LINEAR)
                    for channel in range(smooth.shape[2])
                ],
                axis=-1,
            )
        layers.append(smooth.reshape(rows * columns, -1))
    return PatchGrid(np.concatenate(layers, axis=1).astype(np.float32), rows, columns)
