"""Patch features: what each small part of an image looks like to the network."""

import itertools
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.image.models import Backbone, resized

LAYERS: Final = ("block7", "block10", "block12", "block15")
"""Two layers at stride 16 and the two deepest at stride 32. By themselves the former react to grain and light
more than to flaws; beside the latter, brought to their grid, they tell small flaws."""

MAX_ASPECT: Final = 4.0
"""Longer to shorter side of the usual shape."""
SAME_SIZE: Final = 1.15
"""Parts whose sides are within this ratio of the median part's are shown in its very shape."""
RATIOS: Final = (0.6, 0.8, 1.0, 1.2, 1.6, 2.0)
"""Other shapes have sides of one of these many times the usual ones, as each shape is compiled separately."""
MAX_AREA: Final = 2.0
"""And at most this many times the usual area, at least the inverse, whatever an image's."""
SHAPES: Final = tuple(
    (down, across)
    for down, across in itertools.product(RATIOS, RATIOS)
    if 1 / MAX_AREA <= down * across <= MAX_AREA
)
"""27 in all: fewer than the network is kept compiled for."""

LIGHT_SHARE: Final = 0.1
"""What is wider than this share of the shorter side is taken for light rather than for structure."""
LIGHT_SAMPLED: Final = 6
"""Steps of the light's grid within the width it is blurred by. It then differs from that of every pixel by a
quarter of a grey level and costs a tenth."""
LIGHT_KEPT: Final = 0.5
CONTRAST: Final = 40.0
"""Standard deviation that the structure is brought to, in grey levels."""

Planes = NDArray[np.float32]
"""float32, shape (rows, columns, channels)."""
PartPlanes = tuple[Planes, ...]
"""Those of each layer, in the order of LAYERS, all on the grid of the deepest."""


class PatchExtractor:
    """Cuts images into patch features, all shown at one scale: that of the median good part.

    Parts of about the same size are shown in one shape: the position of a patch then means the same in all,
    and the network is compiled once. Where parts differ in size, squeezing them into one shape would make
    the same texture finer in one and coarser in another, so each keeps its shape.

    Args:
        backbone: the network.
        side_px: the median part is shown with as many pixels as a square of this side.
    """

    def __init__(self, backbone: Backbone, side_px: int) -> None:
        self._backbone = backbone
        self._side_px = side_px
        self._usual = (float(side_px), float(side_px))
        self.shape = (side_px, side_px)

    def fit_shape(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Choose the scale and the usual shape from the sizes (height, width), in pixels, of good parts."""
        height, width = (float(np.median(sides)) for sides in zip(*sizes, strict=True))
        self._usual = (height, width)
        root = float(np.sqrt(np.clip(height / width, 1 / MAX_ASPECT, MAX_ASPECT)))
        step = self._backbone.granularity_px
        high, wide = (max(2, round(self._side_px * r / step)) * step for r in (root, 1 / root))
        self.shape = (high, wide)

    def shape_for(self, size: tuple[int, int]) -> tuple[int, int]:
        """The shape an image is shown in.

        Args:
            size: height and width of the whole image, in pixels.
        """
        ratios = [own / usual for own, usual in zip(size, self._usual, strict=True)]
        if all(1 / SAME_SIZE <= ratio <= SAME_SIZE for ratio in ratios):
            return self.shape
        wanted = np.log(ratios)
        area = float(wanted.sum())
        wanted -= (area - np.clip(area, -np.log(MAX_AREA), np.log(MAX_AREA))) / 2
        nearest = min(SHAPES, key=lambda shape: float(np.abs(np.log(shape) - wanted).sum()))
        step = self._backbone.granularity_px
        high, wide = (
            max(2, round(side * ratio / step)) * step for side, ratio in zip(self.shape, nearest, strict=True)
        )
        return high, wide

    def shown(self, pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
        """Give an image as the network sees it: at the one scale, its light evened out.

        Args:
            pixels: uint8, shape (height, width, 3), RGB; may be reduced.
            size: height and width of the image before it was reduced.
        """
        return evened(resized(pixels, *self.shape_for(size)))

    def extract(self, shown: Sequence[NDArray[np.uint8]]) -> list[PartPlanes]:
        """Extract the features of each layer, averaged over 3 × 3 neighbours.

        Args:
            shown: images from `shown`.
        """
        found = self._backbone.features(shown, LAYERS)
        return [tuple(_averaged(layer, outputs[-1].shape[1]) for layer in outputs) for outputs in found]


def _averaged(layer: NDArray[np.float32], rows: int) -> Planes:
    """Average over 3 × 3 neighbours, then over the cells of a grid of so many rows.

    (channels, rows, columns) becomes (rows, columns, channels).
    """
    padded = np.pad(layer, ((0, 0), (1, 1), (1, 1)), mode="reflect")
    down = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    both = (down[:, :, :-2] + down[:, :, 1:-1] + down[:, :, 2:]) / np.float32(9)
    finer = both.shape[1] // rows
    if finer > 1:
        channels, _, columns = both.shape
        both = both.reshape(channels, rows, finer, columns // finer, finer).mean(axis=(2, 4))
    return np.ascontiguousarray(both.transpose(1, 2, 0))


def evened(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Even out the light: halve what varies slowly, bring the rest to one contrast.

    A part photographed darker, brighter or with a lamp moved then looks much as before, while a spot keeps
    its contrast against its surroundings in proportion to the whole image's.

    Args:
        pixels: uint8, shape (height, width, 3), RGB.
    """
    grey = bool((pixels[..., :1] == pixels).all())
    values = (pixels[..., 0] if grey else pixels).astype(np.float32)
    light = _light(values, LIGHT_SHARE * min(pixels.shape[:2]))
    structure = values - light
    spread = float(structure.std()) + 2.0  # of 255: a blank image keeps its noise low
    even = 128.0 + LIGHT_KEPT * (light - float(light.mean())) + structure * (CONTRAST / spread)
    made = np.asarray(np.clip(even, 0, 255), np.uint8)
    return np.repeat(made[..., None], 3, axis=2) if grey else made


def _light(values: NDArray[np.float32], width: float) -> NDArray[np.float32]:
    """Blur by a Gaussian of so many pixels, found on a coarser grid where it is wide."""
    step = max(1, int(width / LIGHT_SAMPLED))
    if step == 1:
        return np.asarray(cv2.GaussianBlur(values, (0, 0), width), np.float32)
    rows, columns = values.shape[:2]
    coarse = cv2.resize(values, (-(-columns // step), -(-rows // step)), interpolation=cv2.INTER_AREA)
    beside = float(np.sqrt((width / step) ** 2 - 0.25))  # the two changes of grid blur a little by themselves
    blurred = cv2.GaussianBlur(coarse, (0, 0), beside, borderType=cv2.BORDER_REFLECT)
    return np.asarray(cv2.resize(blurred, (columns, rows), interpolation=cv2.INTER_LINEAR), np.float32)


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


def disturbed(pixels: NDArray[np.uint8], seed: int = 0) -> NDArray[np.uint8]:
    """Show a good part as the next photograph of it would: half a pixel off, a little brighter, with noise.

    Args:
        pixels: uint8, shape (height, width, 3).
        seed: of the noise.
    """
    random = np.random.default_rng(seed)
    height, width = pixels.shape[:2]
    half = np.array([[1, 0, 0.5], [0, 1, 0.5]])
    moved = cv2.warpAffine(pixels, half, (width, height), borderMode=cv2.BORDER_REPLICATE)
    noise = random.normal(0.0, NOISE, (height, width, 1))
    return np.asarray(np.clip(moved * BRIGHTER + noise, 0, 255), np.uint8)


NOISE: Final = 3.0
"""Standard deviation of a camera's noise, in grey levels."""
BRIGHTER: Final = 1.03
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
