"""Similarity: the gallery's members most like an image, by the cosine of pooled features."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from config import ImageSettings
from schemas import ImageMessage, ImageMode, Reference
from workers.errors import MessageError, PipelineError
from workers.image.embedding import Embedder
from workers.image.gallery import Gallery
from workers.image.models import Backbone
from workers.image.modes.base import DecodedImage, Finding

DEFAULT_THRESHOLD: Final = 0.6
"""Cosine from which two photographs are called a match where the settings name no threshold. It is not
calibrated on the gallery: what counts as alike is the user's to say."""


class SimilarityMode:
    """Top-k search; the verdict is `match` where the best similarity reaches the threshold.

    Args:
        settings: `threshold` and `top` are read.
        backbone: the network whose features are compared.
    """

    mode: ImageMode = "similarity"

    def __init__(self, settings: ImageSettings, backbone: Backbone) -> None:
        self.model = backbone.name
        self._embedder = Embedder(backbone)
        self._gallery = Gallery()
        self._top = settings.top
        self._threshold = DEFAULT_THRESHOLD if settings.threshold is None else settings.threshold

    def enrol(self, references: Sequence[tuple[Reference, DecodedImage]]) -> None:
        """Add or replace members."""
        vectors = self._embed([image for _, image in references])
        self._gallery.put([reference for reference, _ in references], vectors)

    def remove(self, ids: Sequence[str]) -> None:
        """Take members out."""
        self._gallery.remove(ids)

    def match(self, batch: Sequence[tuple[ImageMessage, DecodedImage]]) -> Sequence[Finding | PipelineError]:
        """Find the members most like each image."""
        if not len(self._gallery):
            return [MessageError("the gallery is empty", reason="empty_gallery") for _ in batch]
        hits = self._gallery.search(self._embed([image for _, image in batch]), self._top)
        return [
            Finding(
                verdict="match" if found[0].similarity >= self._threshold else "no_match",
                score=round(found[0].similarity, 6),
                threshold=self._threshold,
                neighbors=tuple(hit.as_neighbor() for hit in found),
            )
            for found in hits
        ]

    def _embed(self, images: Sequence[DecodedImage]) -> NDArray[np.float32]:
        return self._embedder.embed([image.pixels for image in images])
