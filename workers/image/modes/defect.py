"""Defect: how unlike all good parts an image is, and where."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from config import ImageSettings
from schemas import ImageMessage, ImageMode, Reference
from workers.errors import MessageError, PipelineError
from workers.image.defect.bank import MemoryBank, ScoreMap
from workers.image.defect.calibration import false_alarm_threshold
from workers.image.defect.patches import MOVES, PatchExtractor, Planes, variants
from workers.image.defect.regions import heat_map, regions, smoothed
from workers.image.models import Backbone, resized
from workers.image.modes.base import DecodedImage, Finding

FEW_PARTS: Final = 16
"""With fewer good parts each is also learned turned, shifted and scaled a little."""
MAX_HELD_OUT: Final = 300
"""Good parts that the threshold is calibrated on at most; more don't move it."""
SMOOTHING_CELLS: Final = 0.75
KEPT_SHARE: Final = 1.5
"""Good parts are kept with the pixels of a square of this many times `side_px`."""
REGION_ALARMS: Final = 0.2
"""Share of good parts with a patch above the threshold of boxes. Boxes are given only for images whose score
calls them defective, so this may be laxer than the image's threshold, and flaws get boxes more often."""


@dataclass(frozen=True)
class Learned:
    """What the good parts taught: the bank, the shape they are shown in, and the thresholds."""

    bank: MemoryBank
    threshold: float
    region_threshold: float


class DefectMode:
    """Learns good parts and judges others by how far their patches are from any good one.

    The score of an image is the mean of its most anomalous place (smoothed) and of all its patches; a good
    part has about 1. The threshold is the score that a share `false_alarms` of new good parts exceed,
    calibrated on the scores that each good part has when its own patches are left out.

    Args:
        settings: `threshold`, `false_alarms` and `side_px` are read.
        backbone: the network whose features are compared.
    """

    mode: ImageMode = "defect"

    def __init__(self, settings: ImageSettings, backbone: Backbone) -> None:
        self.model = backbone.name
        self._settings = settings
        self._extractor = PatchExtractor(backbone, settings.side_px)
        self._good: dict[str, NDArray[np.uint8]] = {}
        self._sizes: dict[str, tuple[int, int]] = {}
        self._planes: dict[str, list[tuple[Planes, ...]]] = {}
        self._learned: Learned | None = None

    def enrol(self, references: Sequence[tuple[Reference, DecodedImage]]) -> None:
        """Add or replace good parts; they are learned before the next match."""
        for reference, image in references:
            pixels = self._reduced(image.pixels)
            grey = bool((pixels[..., :1] == pixels).all())
            self._good[reference.id] = pixels[..., :1].copy() if grey else pixels
            self._sizes[reference.id] = (image.height, image.width)
            self._planes.pop(reference.id, None)
        self._learned = None

    def remove(self, ids: Sequence[str]) -> None:
        """Forget good parts."""
        for member in ids:
            self._good.pop(member, None)
            self._sizes.pop(member, None)
            self._planes.pop(member, None)
        self._learned = None

    def fit(self) -> None:
        """Learn the good parts, in the order of their ids: the result does not depend on when they came."""
        if not self._good:
            self._learned = None
            return
        names = sorted(self._good)
        self._extract_parts(names)
        parts = [self._planes[name] for name in names]
        if len(parts) == 1:  # its variants stand for the other parts that there are not
            parts = [[planes] for planes in parts[0]]
        bank = MemoryBank(
            [planes for part in parts for planes in part],
            [number for number, part in enumerate(parts) for _ in part],
        )
        maps = _held_out_maps(bank, [part[0] for part in parts])
        places = np.array([float(scores.max()) for scores in maps])
        totals = np.array([image_score(scores) for scores in maps])
        fixed = self._settings.threshold
        self._learned = Learned(
            bank,
            false_alarm_threshold(totals, self._settings.false_alarms, len(names))
            if fixed is None
            else fixed,
            false_alarm_threshold(places, REGION_ALARMS, len(names)),
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
            scores = smoothed(self._learned.bank.score_map(planes), SMOOTHING_CELLS)
            findings.append(_finding(self._learned, image, scores))
        return findings

    def _extract_parts(self, names: Sequence[str]) -> None:
        """Extract the planes of parts that have none yet, of all where the shape has changed."""
        former = {name: self._extractor.shape_for(self._sizes[name]) for name in names}
        self._extractor.fit_shape([self._sizes[name] for name in names])
        few = len(MOVES) if len(names) < FEW_PARTS else 0
        for name in names:
            same_shape = self._extractor.shape_for(self._sizes[name]) == former[name]
            if not same_shape or len(self._planes.get(name, ())) != 1 + few:
                self._planes.pop(name, None)
        for name in names:
            if name in self._planes:
                continue
            pixels = self._good[name]
            colour = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
            size = self._sizes[name]
            shown = [self._extractor.shown(one, size) for one in (colour, *variants(colour, few))]
            self._planes[name] = self._extractor.extract(shown)

    def _reduced(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Reduce what is larger than needed; good parts and queries alike, so that both are as sharp."""
        height, width = pixels.shape[:2]
        shrink = KEPT_SHARE * self._settings.side_px / float(np.sqrt(height * width))
        if shrink >= 1:
            return pixels
        return resized(pixels, max(1, round(height * shrink)), max(1, round(width * shrink)))


def _held_out_maps(bank: MemoryBank, parts: Sequence[tuple[Planes, ...]]) -> list[ScoreMap]:
    """Score maps of good parts, each without its own patches."""
    step = max(1, -(-len(parts) // MAX_HELD_OUT))
    return [
        smoothed(bank.score_map(parts[part], without=part), SMOOTHING_CELLS)
        for part in range(0, len(parts), step)
    ]


def image_score(scores: ScoreMap) -> float:
    """One number for a smoothed score map: half for its highest place, half for the whole."""
    return float(scores.max() + scores.mean()) / 2


def _finding(learned: Learned, image: DecodedImage, scores: ScoreMap) -> Finding:
    score = round(image_score(scores), 6)
    threshold = round(learned.threshold, 6)
    defect = score >= threshold
    found = []
    if defect:  # a defective image has at least the box of its highest place
        bound = min(learned.region_threshold, 0.9 * float(scores.max()))
        found = regions(scores, bound, image.width, image.height)
    return Finding(
        verdict="defect" if defect else "ok",
        score=score,
        threshold=threshold,
        regions=tuple(found),
        heat_map=heat_map(scores),
    )
