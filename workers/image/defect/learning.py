"""What good parts teach: the bank, and the thresholds of images and of places."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from workers.image.defect.bank import MemoryBank, ScoreMap
from workers.image.defect.calibration import false_alarm_threshold
from workers.image.defect.patches import PartPlanes
from workers.image.defect.regions import smoothed

MAX_HELD_OUT: Final = 300
"""Good parts that the threshold is calibrated on at most; more don't move it."""
SMOOTHING_CELLS: Final = 0.75
REGION_ALARMS: Final = 0.01
"""Share of good parts with a patch above what is certainly a flaw, whatever else the image holds."""
COPIES: Final = 0.75
"""Good parts that score less than this share of what they do photographed again are copies."""

Measure = Callable[[ScoreMap], float]


@dataclass(frozen=True)
class Learned:
    """What the good parts taught.

    Attributes:
        bank: their patches.
        threshold: of an image's score.
        certain: score of a patch that hardly a good part has anywhere.
    """

    bank: MemoryBank
    threshold: float
    certain: float

    def score_map(self, planes: PartPlanes) -> ScoreMap:
        """Anomaly of each place of an image."""
        return smoothed(self.bank.score_map(planes), SMOOTHING_CELLS)

    def without(self, parts: Collection[int]) -> "Learned":
        """What was learnt, less the patches of some parts; the thresholds follow when all is learnt anew."""
        return replace(self, bank=self.bank.without(parts))


def learn(
    parts: Sequence[Sequence[PartPlanes]],
    disturbed: Sequence[PartPlanes],
    false_alarms: float,
    threshold: float | None = None,
) -> Learned:
    """Learn good parts.

    Args:
        parts: of each good part its planes, followed by those of its variants, if any.
        disturbed: planes of some of the parts as another photograph would show them.
        false_alarms: the share of new good parts whose score may reach the threshold.
        threshold: in place of the calibrated one.
    """
    known = len(parts)
    if known == 1:  # its variants stand for the other parts that there are not
        parts = [[planes] for planes in parts[0]]
    bank = MemoryBank(
        [planes for part in parts for planes in part],
        [number for number, part in enumerate(parts) for _ in part],
        disturbed,
    )
    step = max(1, -(-len(parts) // MAX_HELD_OUT))
    held_out = [bank.score_map(parts[part][0], without=part) for part in range(0, len(parts), step)]
    maps = [smoothed(scores, SMOOTHING_CELLS) for scores in held_out]
    again = [smoothed(bank.score_map(planes), SMOOTHING_CELLS) for planes in disturbed]

    def limit(measure: Measure, rate: float) -> float:
        of_parts, of_copies = ([measure(scores) for scores in group] for group in (maps, again))
        # nearly copies themselves: else how parts differ says more than what a camera's noise is taken to be
        alike = bool(of_copies) and np.median(of_parts) < COPIES * np.median(of_copies)
        return false_alarm_threshold(np.array(of_parts), rate, known, max(of_copies) if alike else 0.0)

    calibrated = limit(image_score, false_alarms) if threshold is None else threshold
    return Learned(bank, calibrated, limit(lambda scores: float(scores.max()), REGION_ALARMS))


def image_score(scores: ScoreMap) -> float:
    """One number for a smoothed score map: half for its highest place, half for the whole."""
    return float(scores.max() + scores.mean()) / 2
