"""Uniqueness: how unlike an image is from all others of a collection, or of the last ones of a stream."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from config import ImageSettings
from schemas import ImageMessage, ImageMode, Reference
from workers.errors import MessageError, PipelineError
from workers.image.gallery import Gallery, Hit
from workers.image.models import Backbone
from workers.image.modes.base import DecodedImage, Finding, Pending
from workers.image.modes.vectors import VectorMode

NEAREST: Final = 5
"""Others whose distance counts: one alone would call a pair of oddities ordinary."""
ODD_SHARE: Final = 0.05
"""Share of the collection that lies above the threshold where the settings name none."""
CALIBRATED_ON: Final = 1_000
"""Members whose scores the threshold is read off at most."""
JUDGED_FROM: Final = 20
"""Scores of a window from which a share of them means something; below, nothing is called special."""


class UniquenessMode(VectorMode):
    """The score is the mean cosine distance to the nearest others; the highest is the most special.

    An image is never compared with the member that has its own id, so a collection can be ranked by matching
    it against itself. The verdict is `no_match` for what is special, `match` for what has its like.

    With a `window` each image is compared with the last so many before it too, and then joins them; results
    then depend on the order of the stream, and a worker starts with an empty window. The threshold follows
    the scores of the window. The memory is bounded by the references and the window.

    Args:
        settings: `threshold`, `top` and `window` are read.
        backbone: the network whose features are compared.
    """

    mode: ImageMode = "uniqueness"

    def __init__(self, settings: ImageSettings, backbone: Backbone) -> None:
        super().__init__(backbone, Gallery(exact=True))
        self._settings = settings
        self._passing = Window(settings.window) if settings.window else None

    @property
    def pending(self) -> Pending:
        """Members count at once; the threshold follows."""
        return "learning" if self.threshold is None else self.gallery.pending

    @property
    def facts(self) -> Mapping[str, str | float]:
        """The index, and the threshold in force."""
        return {"index": self.gallery.index, "threshold": self._limit()}

    def fit(self) -> None:
        """Find the distance that ODD_SHARE of the members exceed."""
        if self.pending == "nothing":
            return
        self.gallery.learn()
        others = self.gallery.others(NEAREST, CALIBRATED_ON)
        scores = [mean_distance(hits) for hits in others if hits]
        self.threshold = round(float(np.quantile(scores, 1 - ODD_SHARE)), 6) if scores else 1.0

    def match(self, batch: Sequence[tuple[ImageMessage, DecodedImage]]) -> Sequence[Finding | PipelineError]:
        """Say how special each image is."""
        if self.threshold is None and self._passing is None:
            self.fit()
        vectors = self._embed([image for _, image in batch])
        return [self._judged(message, vectors[i : i + 1]) for i, (message, _) in enumerate(batch)]

    def _judged(self, message: ImageMessage, vector: NDArray[np.float32]) -> Finding | PipelineError:
        top = self._settings.top
        hits = self.gallery.nearest(vector, max(NEAREST, top) + 1)[0]
        if self._passing is not None:
            hits = sorted(hits + self._passing.nearest(vector, max(NEAREST, top) + 1), key=_order)
        others = [hit for hit in hits if hit.reference.id != message.id]
        if not others and self._passing is None:
            return MessageError("there is no other image", reason="empty_gallery")
        score = round(mean_distance(others[:NEAREST]), 6)
        threshold = self._limit()
        if self._passing is not None:
            self._passing.add(message, vector, score)
        return Finding(
            verdict="no_match" if score >= threshold else "match",
            score=score,
            threshold=threshold,
            neighbors=tuple(hit.as_neighbor() for hit in others[:top]),
        )

    def _limit(self) -> float:
        if self._settings.threshold is not None:
            return self._settings.threshold
        if self._passing is not None:
            return self._passing.threshold()
        return self.threshold or 0.0


class Window:
    """The last images of a stream and their scores.

    Args:
        size: images kept, at least 1.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._ids: deque[str] = deque()
        self._gallery = Gallery(exact=True)
        self._scores: deque[float] = deque(maxlen=size)

    def __len__(self) -> int:
        return len(self._gallery)

    def nearest(self, vector: NDArray[np.float32], k: int) -> list[Hit]:
        """Find the k of the highest cosine, best first."""
        return self._gallery.nearest(vector, k)[0]

    def add(self, message: ImageMessage, vector: NDArray[np.float32], score: float) -> None:
        """Take an image in; the oldest one goes where there is no room. One seen again counts as new."""
        if message.id in self._gallery:
            self._ids.remove(message.id)
        elif len(self._ids) == self._size:
            self._gallery.remove([self._ids.popleft()])
        self._ids.append(message.id)
        seen = Reference(id=message.id, label=message.label, metadata=message.metadata)
        self._gallery.put([seen], vector)
        self._scores.append(score)

    def threshold(self) -> float:
        """The distance that ODD_SHARE of the window's scores exceed; 2, the largest, while there are few."""
        if len(self._scores) < JUDGED_FROM:
            return 2.0
        return round(float(np.quantile(self._scores, 1 - ODD_SHARE)), 6)


def mean_distance(others: Sequence[Hit]) -> float:
    """Mean cosine distance, in [0, 2]; 1, that of unrelated vectors, where there are no others."""
    return 1.0 - float(np.mean([hit.similarity for hit in others])) if others else 1.0


def _order(hit: Hit) -> tuple[float, str]:
    return -hit.similarity, hit.reference.id
