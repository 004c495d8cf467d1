"""Patch features: what each small part of an image looks like to the network."""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.image.models import Backbone, resized

LAYERS: Final = ("block10", "block12", "block15")
"""Layers at strides 16, 32 and 32. Shallower ones react to grain and light more than to flaws: on tiles and
on commutators each of these alone separated good from bad better than any before them."""

MAX_ASPECT: Final = 4.0
"""Longer to shorter side of the shape that images are shown in."""

LIGHT_SHARE: Final = 0.1
"""What is wider than this share of the shorter side is taken for light rather than for structure."""
LIGHT_KEPT: Final = 0.5
CONTRAST: Final = 40.0
"""Standard deviation that the structure is brought to, in grey levels."""

Planes = NDArray[np.float32]
"""float32, shape (rows, columns, channels)."""


class PatchExtractor:
    """Cuts images into patch features, all shown in one shape: that of the median good part.

    One shape makes the position of a patch mean the same in every image, and the network is compiled once.

    Args:
        backbone: the network.
        side_px: the shape has as many pixels as a square of this side.
    """

    def __init__(self, backbone: Backbone, side_px: int) -> None:
        self._backbone = backbone
        self._side_px = side_px
        self.shape = (side_px, side_px)

    def fit_shape(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Choose the shape from the sizes (height, width), in pixels, of good parts."""
        aspect = float(np.median([height / width for height, width in sizes]))
        root = float(np.sqrt(np.clip(aspect, 1 / MAX_ASPECT, MAX_ASPECT)))
        step = self._backbone.granularity_px
        high, wide = (max(2, round(self._side_px * r / step)) * step for r in (root, 1 / root))
        self.shape = (high, wide)

    def shown(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Give an image as the network sees it: in the one shape, its light evened out."""
        return evened(resized(pixels, *self.shape))

    def extract(self, shown: Sequence[NDArray[np.uint8]]) -> list[tuple[Planes, ...]]:
        """Extract the features of each layer, averaged over 3 × 3 neighbours.

        Args:
            shown: images from `shown`.

        Returns:
            For each image a tuple of planes, in the order of LAYERS.
        """
        found = self._backbone.features(shown, LAYERS)
        return [tuple(_averaged(layer) for layer in outputs) for outputs in found]


def _averaged(layer: NDArray[np.float32]) -> Planes:
    """Average over 3 × 3 neighbours; (channels, rows, columns) becomes (rows, columns, channels)."""
    padded = np.pad(layer, ((0, 0), (1, 1), (1, 1)), mode="reflect")
    down = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    both = (down[:, :, :-2] + down[:, :, 1:-1] + down[:, :, 2:]) / np.float32(9)
    return np.ascontiguousarray(both.transpose(1, 2, 0))


def evened(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Even out the light: halve what varies slowly, bring the rest to one contrast.

    A part photographed darker, brighter or with a lamp moved then looks much as before, while a spot keeps
    its contrast against its surroundings in proportion to the whole image's.

    Args:
        pixels: uint8, shape (height, width, 3), RGB.
    """
    values = pixels.astype(np.float32)
    light = cv2.GaussianBlur(values, (0, 0), LIGHT_SHARE * min(pixels.shape[:2]))
    structure = values - light
    spread = float(structure.std()) + 2.0  # of 255: a blank image keeps its noise low
    even = 128.0 + LIGHT_KEPT * (light - float(light.mean())) + structure * (CONTRAST / spread)
    return np.asarray(np.clip(even, 0, 255), np.uint8)


def variants(pixels: NDArray[np.uint8], count: int) -> list[NDArray[np.uint8]]:
    """Turn, shift and scale a good part a little, so that few parts stand for more.

    Args:
        pixels: uint8, shape (height, width, 3).
        count: variants wanted, at most len(MOVES).
    """
    height, width = pixels.shape[:2]
    made = []
    for degrees, scale, across, down in MOVES[:count]:
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, scale)
        turn[:, 2] += (across * width, down * height)
        moved = cv2.warpAffine(
            pixels, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
        made.append(np.asarray(moved, np.uint8))
    return made


MOVES: Final = (
    (3.0, 1.00, 0.02, 0.00),
    (-3.0, 1.00, -0.02, 0.00),
    (0.0, 1.05, 0.00, 0.03),
    (0.0, 0.95, 0.00, -0.03),
    (6.0, 1.03, -0.03, 0.02),
    (-6.0, 0.97, 0.03, -0.02),
    (1.5, 1.00, 0.04, 0.04),
    (-1.5, 1.00, -0.04, -0.04),
)
"""Degrees, scale, and shifts as shares of the width and height: what a fixture lets a part move."""
