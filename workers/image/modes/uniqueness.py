"""Uniqueness: how unlike an image is from all others of a collection."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from config import ImageSettings
from schemas import ImageMessage, ImageMode, Reference
from workers.errors import MessageError, PipelineError
from workers.image.embedding import Embedder
from workers.image.gallery import Gallery, Hit
from workers.image.models import Backbone
from workers.image.modes.base import DecodedImage, Finding

NEAREST: Final = 5
"""Others whose distance counts: one alone would call a pair of oddities ordinary."""
ODD_SHARE: Final = 0.05
"""Share of the collection that lies above the threshold where the settings name none."""


class UniquenessMode:
    """The score is the mean cosine distance to the nearest others; the highest is the most special.

    An image is never compared with the member that has its own id, so a collection can be ranked by matching
    it against itself. The verdict is `no_match` for what is special, `match` for what has its like.

    Args:
        settings: `threshold` and `top` are read.
        backbone: the network whose features are compared.
    """

    mode: ImageMode = "uniqueness"

    def __init__(self, settings: ImageSettings, backbone: Backbone) -> None:
        self.model = backbone.name
        self._settings = settings
        self._embedder = Embedder(backbone)
        self._gallery = Gallery()
        self._threshold: float | None = None

    def enrol(self, references: Sequence[tuple[Reference, DecodedImage]]) -> None:
        """Add or replace members of the collection."""
        vectors = self._embedder.embed([image.pixels for _, image in references])
        self._gallery.put([reference for reference, _ in references], vectors)
        self._threshold = None

    def remove(self, ids: Sequence[str]) -> None:
        """Take members out of the collection."""
        self._gallery.remove(ids)
        self._threshold = None

    def fit(self) -> None:
        """Find the distance that ODD_SHARE of the members exceed."""
        scores = [_score(others) for others in self._gallery.others(NEAREST) if others]
        self._threshold = float(np.quantile(scores, 1 - ODD_SHARE)) if scores else 1.0

    def match(self, batch: Sequence[tuple[ImageMessage, DecodedImage]]) -> Sequence[Finding | PipelineError]:
        """Say how special each image is."""
        if self._threshold is None:
            self.fit()
        fixed = self._settings.threshold
        threshold = round(self._threshold or 0.0, 6) if fixed is None else fixed
        top = max(NEAREST, self._settings.top)
        vectors = self._embedder.embed([image.pixels for _, image in batch])
        findings: list[Finding | PipelineError] = []
        for (message, _), hits in zip(batch, self._gallery.search(vectors, top + 1), strict=True):
            others = [hit for hit in hits if hit.reference.id != message.id]
            if not others:
                findings.append(MessageError("there is no other image", reason="empty_gallery"))
                continue
            score = round(_score(others[:NEAREST]), 6)
            findings.append(
                Finding(
                    verdict="no_match" if score >= threshold else "match",
                    score=score,
                    threshold=threshold,
                    neighbors=tuple(hit.as_neighbor() for hit in others[: self._settings.top]),
                )
            )
        return findings


def _score(others: Sequence[Hit]) -> float:
    return 1.0 - float(np.mean([hit.similarity for hit in others]))
