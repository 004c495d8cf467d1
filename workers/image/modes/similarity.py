"""Similarity: the gallery's members most like an image, without any text."""

from collections.abc import Mapping, Sequence
from typing import Final

from config import ImageSettings
from schemas import ImageMessage, ImageMode
from workers.errors import MessageError, PipelineError
from workers.image.filters import message_filter
from workers.image.gallery import Gallery, Hit
from workers.image.models import Backbone
from workers.image.modes.base import DecodedImage, Finding, Pending
from workers.image.modes.vectors import VectorMode

DEFAULT_THRESHOLD: Final = 0.6
"""Where the settings name no threshold and the gallery has too few members to calibrate one."""


class SimilarityMode(VectorMode):
    """Top-k search; the verdict is `match` where the best similarity reaches the threshold.

    The threshold is the one of the settings, or the similarity that images without a match reach at the rate
    `false_accepts`, as the gallery lets estimate it. A similarity of 0.95 or more is a near-duplicate: the
    plain cosine of the two; below, it is the one in the gallery's context (`workers.image.context`).

    A message may ask for only some members (`workers.image.filters`).

    Args:
        settings: `threshold`, `false_accepts`, `top` and `index` are read.
        backbone: the network whose features are compared.
    """

    mode: ImageMode = "similarity"

    def __init__(self, settings: ImageSettings, backbone: Backbone) -> None:
        super().__init__(backbone, Gallery(settings.index))
        self._top = settings.top
        self._fixed = settings.threshold
        self._rate = settings.false_accepts

    @property
    def pending(self) -> Pending:
        """Members are found once the gallery has learnt its context; a large one's threshold may follow."""
        uncalibrated = self.threshold is None and self._fixed is None and len(self.gallery) > 0
        return "enrolment" if uncalibrated else self.gallery.pending

    @property
    def facts(self) -> Mapping[str, str | float]:
        """The index, what it finds of the nearest as tried on members, and the threshold in force."""
        facts: dict[str, str | float] = {"index": self.gallery.index, "threshold": self._limit()}
        return facts if self.gallery.recall is None else facts | {"recall": self.gallery.recall}

    def fit(self) -> None:
        """Learn the gallery's context, and calibrate the threshold where the settings name none."""
        if self.pending == "nothing":
            return
        self.gallery.learn()
        if self._fixed is None:
            found = self.gallery.threshold(self._rate)
            self.threshold = DEFAULT_THRESHOLD if found is None else round(found, 6)

    def match(self, batch: Sequence[tuple[ImageMessage, DecodedImage]]) -> Sequence[Finding | PipelineError]:
        """Find the members most like each image."""
        if not len(self.gallery):
            return [MessageError("the gallery is empty", reason="empty_gallery") for _ in batch]
        if self.pending == "enrolment":
            self.fit()
        filters = [message_filter(message) for message, _ in batch]
        vectors = self._embed([image for _, image in batch])
        return [self._finding(found) for found in self.gallery.search(vectors, self._top, filters)]

    def _limit(self) -> float:
        if self._fixed is not None:
            return self._fixed
        return DEFAULT_THRESHOLD if self.threshold is None else self.threshold

    def _finding(self, found: list[Hit]) -> Finding | MessageError:
        if not found:
            return MessageError("no member of the gallery fits the filter", reason="empty_gallery")
        threshold = self._limit()
        score = round(found[0].similarity, 6)
        return Finding(
            verdict="match" if score >= threshold else "no_match",
            score=score,
            threshold=threshold,
            neighbors=tuple(hit.as_neighbor() for hit in found),
        )
