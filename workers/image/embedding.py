"""One vector for an image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from workers.image.models import Backbone, resized

Pixels = NDArray[np.uint8]

Pooling = Literal["mean", "power", "spread"]


@dataclass(frozen=True)
class Recipe:
    """How an image becomes a vector.

    Attributes:
        tap: the layer.
        pooling: over its places: `mean`; `power`, the generalised mean with p = 3 of what is positive
            (Radenović and others, Fine-tuning CNN image retrieval, TPAMI 2019); `spread`, the standard
            deviation.
        side_px: the side of the square that is shown to the network.
        padded: keep the aspect and fill up with the mean colour of the border; otherwise squeeze.
        uneven: layers of which it is also told how the upper half differs from the lower; see `unevenness`.
    """

    tap: str = "head"
    pooling: Pooling = "spread"
    side_px: int = 288
    padded: bool = True
    uneven: tuple[str, ...] = ()


PLAIN: Final = Recipe("pooled", "mean", 224, padded=False)
"""What the network was trained with."""

SEARCH: Final = Recipe(uneven=("block10", "block15"))
"""Found best of some two hundred on four kinds of photographs; see docs/benchmarks/images.md."""

UNEVEN_WEIGHT: Final = 1.25
"""How much the layout of a layer counts beside how much there is of what: 0.8 to 1.7 serve about as well."""


class Embedder:
    """Embeds whole images.

    Args:
        backbone: the network.
        recipe: layer, pooling and input.
    """

    def __init__(self, backbone: Backbone, recipe: Recipe = SEARCH) -> None:
        self._backbone = backbone
        self._recipe = recipe

    @property
    def fingerprint(self) -> str:
        """Names the model's weights and the recipe: vectors of another one can't be compared with these."""
        recipe = self._recipe
        shape = "padded" if recipe.padded else "squeezed"
        parts = (self._backbone.fingerprint, recipe.tap, recipe.pooling, str(recipe.side_px), shape)
        return "-".join((*parts, *recipe.uneven))

    def embed(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Embed images.

        Args:
            images: uint8, shape (height, width, 3), RGB, of any size.

        Returns:
            float32, shape (n, d), unit rows.
        """
        return unit_rows(self.pooled(images))

    def pooled(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Embed images without scaling; float32, shape (n, d). See `embed`."""
        recipe = self._recipe
        fit = padded if recipe.padded else squeezed
        shown = [fit(pixels, recipe.side_px) for pixels in images]
        outputs = self._backbone.features(shown, (recipe.tap, *recipe.uneven))
        if not outputs:
            return np.zeros((0, 1), np.float32)
        return np.stack([_described(features, recipe.pooling) for features in outputs])


def _described(layers: Sequence[NDArray[np.float32]], pooling: Pooling) -> NDArray[np.float32]:
    """Pool the first layer and add how uneven the others are, in proportion to its length."""
    pooled = pool(layers[0], pooling)
    scale = np.float32(UNEVEN_WEIGHT * np.linalg.norm(pooled))
    return np.concatenate([pooled, *(scale * unevenness(layer) for layer in layers[1:])])


def squeezed(pixels: Pixels, side: int) -> Pixels:
    """Resize to a square, whatever the aspect was."""
    return resized(pixels, side, side)


def padded(pixels: Pixels, side: int) -> Pixels:
    """Resize to fit into a square and fill up with the mean colour of the image's border."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    inner = resized(pixels, rows, columns)
    if (rows, columns) == (side, side):
        return inner
    border = np.concatenate([inner[0], inner[-1], inner[:, 0], inner[:, -1]])
    square = np.empty((side, side, 3), np.uint8)
    square[:] = border.mean(axis=0).astype(np.uint8)
    top, left = (side - rows) // 2, (side - columns) // 2
    square[top : top + rows, left : left + columns] = inner
    return square


def pool(features: NDArray[np.float32], pooling: Pooling) -> NDArray[np.float32]:
    """Make one vector of what a layer gave.

    Args:
        features: float32, shape (channels, rows, columns), or (channels,), which comes back as it is.
        pooling: see `Recipe`.

    Returns:
        float32, shape (channels,).
    """
    if features.ndim == 1:
        return features
    places = features.reshape(len(features), -1)
    if pooling == "mean":
        pooled = places.mean(axis=1)
    elif pooling == "spread":
        pooled = places.std(axis=1)
    else:
        pooled = np.cbrt((np.maximum(places, 0.0) ** 3).mean(axis=1))
    return np.asarray(pooled, np.float32)


def unevenness(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Tell how much more of each channel varies in the upper half than in the lower.

    A shirt, trousers and shoes differ in where their parts are as much as in what these are. A mirrored image
    has the same; of nothing that varies it is 0.

    Args:
        features: float32, shape (channels, rows, columns).

    Returns:
        float32, shape (channels,), of a length of at most 1.

    Source: Lazebnik et al., Beyond Bags of Features (spatial pyramids), CVPR 2006.
    """
    half = max(1, features.shape[1] // 2)
    upper, lower = (
        part.reshape(len(features), -1).std(axis=1) for part in (features[:, :half], features[:, -half:])
    )
    whole = float(np.sqrt(np.sum(upper**2) + np.sum(lower**2)))
    return np.asarray((upper - lower) / max(whole, 1e-12), np.float32)


def unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale rows to unit length; rows of zeros stay as they are."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)
