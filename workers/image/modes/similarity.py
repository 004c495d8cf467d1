"""Similarity: the gallery's members most like an image, without any text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from config import ImageSettings
from schemas import ImageMessage, ImageMode, Reference
from workers.errors import MessageError, PipelineError
from workers.image.embedding import Embedder
from workers.image.filters import message_filter
from workers.image.gallery import Gallery, Hit
from workers.image.models import Backbone
from workers.image.modes.base import DecodedImage, Finding
from workers.image.snapshot import read_snapshot, write_snapshot

DEFAULT_THRESHOLD: Final = 0.6
"""Where the settings name no threshold and the gallery has too few members to calibrate one."""


class SimilarityMode:
    """Top-k search; the verdict is `match` where the best similarity reaches the threshold.

    The threshold is the one of the settings, or the similarity that images without a match reach at the rate
    `false_accepts`, as the gallery lets estimate it. A similarity of 0.965 or more is a near-duplicate: the
    plain cosine of the two; below, it is the one in the gallery's context (`workers.image.context`).

    A message may ask for only some members (`workers.image.filters`).

    Args:
        settings: `threshold`, `false_accepts`, `top` and `index` are read.
        backbone: the network whose features are compared.
    """

    mode: ImageMode = "similarity"

    def __init__(self, settings: ImageSettings, backbone: Backbone) -> None:
        self.model = backbone.name
        self._embedder = Embedder(backbone)
        self._gallery = Gallery(settings.index)
        self._top = settings.top
        self._fixed = settings.threshold
        self._rate = settings.false_accepts
        self._calibrated: float | None = None

    def enrol(self, references: Sequence[tuple[Reference, DecodedImage]]) -> None:
        """Add or replace members."""
        vectors = self._embed([image for _, image in references])
        kept = [reference.model_copy(update={"content": None}) for reference, _ in references]
        self._gallery.put(kept, vectors)
        self._calibrated = None

    def remove(self, ids: Sequence[str]) -> None:
        """Take members out."""
        self._gallery.remove(ids)
        self._calibrated = None

    def fit(self) -> None:
        """Calibrate the threshold where the settings name none."""
        if self._fixed is None and self._calibrated is None:
            found = self._gallery.threshold(self._rate)
            self._calibrated = DEFAULT_THRESHOLD if found is None else round(found, 6)

    def match(self, batch: Sequence[tuple[ImageMessage, DecodedImage]]) -> Sequence[Finding | PipelineError]:
        """Find the members most like each image."""
        if not len(self._gallery):
            return [MessageError("the gallery is empty", reason="empty_gallery") for _ in batch]
        self.fit()
        filters = [message_filter(message) for message, _ in batch]
        vectors = self._embed([image for _, image in batch])
        return [self._finding(found) for found in self._gallery.search(vectors, self._top, filters)]

    def save(self, path: Path) -> None:
        """Write the gallery to a file; see `workers.image.snapshot`.

        Raises:
            FatalError: it can't be written.
        """
        write_snapshot(path, self._gallery.members, self._gallery.vectors, self._embedder.fingerprint)

    def restore(self, path: Path) -> None:
        """Take a gallery from a file in place of the present one.

        Raises:
            FatalError: it can't be read, is damaged or was made with another model.
        """
        references, vectors = read_snapshot(path, self._embedder.fingerprint)
        self._gallery = Gallery(self._gallery.factory)
        self._gallery.restore(references, vectors)
        self._calibrated = None

    def _finding(self, found: list[Hit]) -> Finding | MessageError:
        if not found:
            return MessageError("no member of the gallery fits the filter", reason="empty_gallery")
        threshold = self._fixed if self._fixed is not None else self._calibrated or 0.0
        score = round(found[0].similarity, 6)
        return Finding(
            verdict="match" if score >= threshold else "no_match",
            score=score,
            threshold=threshold,
            neighbors=tuple(hit.as_neighbor() for hit in found),
        )

    def _embed(self, images: Sequence[DecodedImage]) -> NDArray[np.float32]:
        return self._embedder.embed([image.pixels for image in images])
