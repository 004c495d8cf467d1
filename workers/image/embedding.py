"""One vector for an image."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.image.models import Backbone, resized

INPUT_SIDE_PX: Final = 224
"""What EfficientNet-Lite0 was trained on."""


class Embedder:
    """Embeds whole images by the network's pooled features.

    Args:
        backbone: the network.
        side_px: images are resized to this square; their aspect is not kept, so that nothing is cut off.
    """

    def __init__(self, backbone: Backbone, side_px: int = INPUT_SIDE_PX) -> None:
        self._backbone = backbone
        self._side_px = side_px

    def embed(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Embed images.

        Args:
            images: uint8, shape (height, width, 3), RGB, of any size.

        Returns:
            float32, shape (n, d), unit rows.
        """
        squares = [resized(pixels, self._side_px, self._side_px) for pixels in images]
        pooled = [outputs[0] for outputs in self._backbone.features(squares, ("pooled",))]
        if not pooled:
            return np.zeros((0, 1), np.float32)
        vectors = np.stack(pooled)
        return np.asarray(
            vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32
        )
