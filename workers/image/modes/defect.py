"""Defect: how unlike all good parts an image is, and where."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from config import ImageSettings
from schemas import ImageMessage, ImageMode, Reference
from workers.errors import MessageError, PipelineError
from workers.image.defect.bank import MemoryBank
from workers.image.defect.calibration import false_alarm_threshold
from workers.image.defect.patches import PatchExtractor, PatchGrid
from workers.image.defect.regions import heat_map, regions, smoothed
from workers.image.models import Backbone
from workers.image.modes.base import DecodedImage, Finding

BANK_SIZE: Final = 4_000
FOLDS: Final = 4
SMOOTHING_CELLS: Final = 1.0


class DefectMode:
    """Learns good parts and judges others by their patch farthest from any good one.

    Args:
        settings: `threshold` and `false_alarms` are read.
        backbone: the network whose features are compared.
    """

    mode: ImageMode = "defect"

    def __init__(self, settings: ImageSettings, backbone: Backbone) -> None:
        self.model = backbone.name
        self._settings = settings
        self._extractor = PatchExtractor(backbone)
        self._good: dict[str, NDArray[np.uint8]] = {}
        self._bank: MemoryBank | None = None
        self._scale = 1.0
        self._threshold = 0.0

    def enrol(self, references: Sequence[tuple[Reference, DecodedImage]]) -> None:
        """Add or replace good parts; they are learned before the next match."""
        for reference, image in references:
            self._good[reference.id] = image.pixels
        self._bank = None

    def remove(self, ids: Sequence[str]) -> None:
        """Forget good parts."""
        for member in ids:
            self._good.pop(member, None)
        self._bank = None

    def fit(self) -> None:
        """Learn the good parts: the bank, and the threshold from parts held out of it."""
        parts = [self._good[name] for name in sorted(self._good)]
        if not parts:
            self._bank = None
            return
        self._extractor.fit_scale([pixels.shape[:2] for pixels in parts])
        grids = self._extractor.extract(parts)
        every = np.concatenate([grid.vectors for grid in grids])
        self._mean = every.mean(axis=0)
        self._spread = every.std(axis=0) + 1e-6
        grids = [
            PatchGrid((grid.vectors - self._mean) / self._spread, grid.rows, grid.columns) for grid in grids
        ]
        self._threshold = self._calibrated(grids)
        self._bank = MemoryBank(BANK_SIZE)
        self._bank.fit(np.concatenate([grid.vectors for grid in grids]))

    def match(self, batch: Sequence[tuple[ImageMessage, DecodedImage]]) -> Sequence[Finding | PipelineError]:
        """Judge images."""
        if self._bank is None:
            self.fit()
        if self._bank is None:
            return [MessageError("no good part is enrolled", reason="empty_gallery") for _ in batch]
        grids = self._extractor.extract([image.pixels for _, image in batch])
        findings: list[Finding | PipelineError] = []
        for (_, image), grid in zip(batch, grids, strict=True):
            normal = PatchGrid((grid.vectors - self._mean) / self._spread, grid.rows, grid.columns)
            findings.append(self._finding(image, _score_map(self._bank, normal)))
        return findings

    def _finding(self, image: DecodedImage, scores: NDArray[np.float32]) -> Finding:
        score = float(scores.max())
        defect = score >= self._threshold
        return Finding(
            verdict="defect" if defect else "ok",
            score=round(score, 6),
            threshold=round(self._threshold, 6),
            regions=tuple(regions(scores, self._threshold, image.width, image.height)) if defect else (),
            heat_map=heat_map(scores),
        )

    def _calibrated(self, grids: Sequence[PatchGrid]) -> float:
        if self._settings.threshold is not None:
            return self._settings.threshold
        folds = min(FOLDS, len(grids))
        if folds < 2:
            grid = grids[0]
            half = np.arange(len(grid.vectors)) % 2 == 0
            bank = MemoryBank(BANK_SIZE)
            bank.fit(grid.vectors[half])
            return false_alarm_threshold(
                np.array([bank.distances(grid.vectors[~half]).max()]), self._settings.false_alarms
            )
        held_out = []
        for fold in range(folds):
            bank = MemoryBank(BANK_SIZE // 2)
            bank.fit(np.concatenate([g.vectors for i, g in enumerate(grids) if i % folds != fold]))
            held_out += [float(_score_map(bank, grid).max()) for grid in grids[fold::folds]]
        return false_alarm_threshold(np.array(held_out), self._settings.false_alarms)


def _score_map(bank: MemoryBank, grid: PatchGrid) -> NDArray[np.float32]:
    scores = bank.distances(grid.vectors).reshape(grid.rows, grid.columns)
    return smoothed(scores, SMOOTHING_CELLS)
