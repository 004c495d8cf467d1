"""Defect: how unlike all good parts an image is, and where."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Final, Self, cast

import numpy as np
from numpy.typing import NDArray

from config import ImageSettings
from schemas import ImageMessage, ImageMode, Reference
from workers.errors import MessageError, PipelineError
from workers.image.defect.bank import ScoreMap
from workers.image.defect.learning import Learned, image_score, learn
from workers.image.defect.patches import MOVES, PartPlanes, PatchExtractor, disturbed, variants
from workers.image.defect.regions import heat_map, regions
from workers.image.models import Backbone, resized
from workers.image.modes.base import Changeable, DecodedImage, Finding, Pending

FEW_PARTS: Final = 16
"""With fewer good parts each is also learned turned, shifted and scaled a little."""
DISTURBED_PARTS: Final = 4
"""Good parts that are also looked at as another photograph would show them."""
KEPT_SHARE: Final = 1.5
"""Good parts are kept with the pixels of a square of this many times `side_px`."""

Versions = Callable[[NDArray[np.uint8]], Sequence[NDArray[np.uint8]]]


class DefectMode(Changeable):
    """Learns good parts and judges others by how far their patches are from any good one.

    The score of an image is the mean of its most anomalous place (smoothed) and of all its patches; a good
    part has about 1. The threshold is the score that a share `false_alarms` of new good parts exceed,
    calibrated on the scores that each good part has when its own patches are left out.

    Args:
        settings: `threshold`, `false_alarms` and `side_px` are read.
        backbone: the network whose features are compared.
    """

    mode: ImageMode = "defect"
    copied: ClassVar[tuple[str, ...]] = ("_good", "_sizes", "_planes", "_again")

    def __init__(self, settings: ImageSettings, backbone: Backbone) -> None:
        self.model = backbone.name
        self._settings = settings
        self._extractor = PatchExtractor(backbone, settings.side_px)
        self._good: dict[str, NDArray[np.uint8]] = {}
        self._sizes: dict[str, tuple[int, int]] = {}
        self._planes: dict[str, list[PartPlanes]] = {}
        self._again: dict[str, PartPlanes] = {}
        self._learned: Learned | None = None
        self._numbers: dict[str, int] = {}
        """Of the parts in what was learned."""
        self._stale = False

    @property
    def pending(self) -> Pending:
        """Good parts count once all are learned together; without one the others serve for a while."""
        if self._good and self._learned is None:
            return "enrolment"
        return "learning" if self._stale else "nothing"

    @property
    def facts(self) -> Mapping[str, str | float]:
        """The threshold in force."""
        return {} if self._learned is None else {"threshold": round(self._learned.threshold, 6)}

    def fork(self) -> Self:
        """A mode with the same good parts."""
        made = super().fork()
        made._extractor = copy.copy(self._extractor)
        return made

    def describe(self, references: Sequence[tuple[Reference, DecodedImage]]) -> Sequence[object]:
        """Reduce good parts to what is kept of them: pixels, of one channel where they are grey, and size."""
        made: list[object] = []
        for _, image in references:
            pixels = self._reduced(image.pixels)
            grey = bool((pixels[..., :1] == pixels).all())
            made.append((pixels[..., :1].copy() if grey else pixels, (image.height, image.width)))
        return made

    def adopt(self, references: Sequence[tuple[Reference, object]]) -> None:
        """Add or replace good parts; they are learned before the next match."""
        for reference, described in references:
            pixels, size = cast("tuple[NDArray[np.uint8], tuple[int, int]]", described)
            self._good[reference.id], self._sizes[reference.id] = pixels, size
            self._planes.pop(reference.id, None)
            self._again.pop(reference.id, None)
        self._learned = None

    def enrol(self, references: Sequence[tuple[Reference, DecodedImage]]) -> None:
        """Add or replace good parts; they are learned before the next match."""
        made = self.describe(references)
        self.adopt([(reference, one) for (reference, _), one in zip(references, made, strict=True)])

    def remove(self, ids: Sequence[str]) -> None:
        """Forget good parts: their patches at once, the thresholds they set when `fit` learns anew."""
        gone = [member for member in ids if self._good.pop(member, None) is not None]
        for member in gone:
            self._sizes.pop(member, None)
            self._planes.pop(member, None)
            self._again.pop(member, None)
        if gone and self._learned is not None:
            self._learned = self._learned.without([self._numbers[m] for m in gone]) if self._good else None
            self._stale = self._learned is not None

    def fit(self) -> None:
        """Learn the good parts, in the order of their ids: the result does not depend on when they came."""
        self._stale = False
        if not self._good:
            self._learned = None
            return
        names = sorted(self._good)
        self._numbers = {name: number for number, name in enumerate(names)}
        self._extract_parts(names)
        self._learned = learn(
            [self._planes[name] for name in names],
            [self._again[name] for name in _spread_over(names)],
            self._settings.false_alarms,
            self._settings.threshold,
        )

    def match(self, batch: Sequence[tuple[ImageMessage, DecodedImage]]) -> Sequence[Finding | PipelineError]:
        """Judge images."""
        if self._learned is None:
            self.fit()
        if self._learned is None:
            return [MessageError("no good part is enrolled", reason="empty_gallery") for _ in batch]
        shown = [
            self._extractor.shown(self._reduced(image.pixels), (image.height, image.width))
            for _, image in batch
        ]
        findings: list[Finding | PipelineError] = []
        for (_, image), planes in zip(batch, self._extractor.extract(shown), strict=True):
            scores = self._learned.score_map(planes)
            findings.append(_finding(self._learned, image, scores))
        return findings

    def _extract_parts(self, names: Sequence[str]) -> None:
        """Extract the planes of parts that have none yet, of all where the shape has changed."""
        former = {name: self._extractor.shape_for(self._sizes[name]) for name in names}
        self._extractor.fit_shape([self._sizes[name] for name in names])
        few = len(MOVES) if len(names) < FEW_PARTS else 0
        for name in names:
            same_shape = self._extractor.shape_for(self._sizes[name]) == former[name]
            if not same_shape:
                self._again.pop(name, None)
            if not same_shape or len(self._planes.get(name, ())) != 1 + few:
                shown = self._shown(name, lambda pixels: [pixels, *variants(pixels, few)])
                self._planes[name] = self._extractor.extract(shown)
        for name in _spread_over(names):
            if name not in self._again:
                shown = self._shown(name, lambda pixels: [disturbed(pixels)])
                self._again[name] = self._extractor.extract(shown)[0]

    def _shown(self, name: str, versions: Versions) -> list[NDArray[np.uint8]]:
        """Versions of a good part as the network sees them."""
        pixels = self._good[name]
        colour = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
        return [self._extractor.shown(one, self._sizes[name]) for one in versions(colour)]

    def _reduced(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Reduce what is larger than needed; good parts and queries alike, so that both are as sharp."""
        height, width = pixels.shape[:2]
        shrink = KEPT_SHARE * self._settings.side_px / float(np.sqrt(height * width))
        if shrink >= 1:
            return pixels
        return resized(pixels, max(1, round(height * shrink)), max(1, round(width * shrink)))


def _spread_over(names: Sequence[str]) -> Sequence[str]:
    """A few of the names, always the same of the same."""
    return names[:: max(1, -(-len(names) // DISTURBED_PARTS))]


def _finding(learned: Learned, image: DecodedImage, scores: ScoreMap) -> Finding:
    score = round(image_score(scores), 6)
    threshold = round(learned.threshold, 6)
    defect = score >= threshold
    found = regions(scores, learned.certain, image.width, image.height) if defect else []
    return Finding(
        verdict="defect" if defect else "ok",
        score=score,
        threshold=threshold,
        regions=tuple(found),
        heat_map=heat_map(scores),
    )
