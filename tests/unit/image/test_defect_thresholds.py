"""What the threshold of `defect` promises, with few good parts and with many."""

import numpy as np
import pytest
from numpy.typing import NDArray

from config import ImageSettings
from schemas import ImageMessage, Reference
from tests.unit.image.grid import Grid
from workers.image.defect.calibration import false_alarm_threshold
from workers.image.defect.patches import disturbed
from workers.image.modes.base import DecodedImage, Finding
from workers.image.modes.defect import DefectMode


def drawn_part(seed: int = 0) -> NDArray[np.uint8]:
    """A plate with a texture of its own."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(60, 200, (10, 10, 1)).repeat(32, axis=0).repeat(32, axis=1)
    return np.asarray(np.clip(coarse.repeat(3, axis=2), 0, 255), np.uint8)


def decoded(pixels: NDArray[np.uint8]) -> DecodedImage:
    return DecodedImage(pixels, pixels.shape[1], pixels.shape[0])


def judged(mode: DefectMode, pixels: NDArray[np.uint8]) -> Finding:
    (finding,) = mode.match([(ImageMessage(id="q"), decoded(pixels))])
    assert isinstance(finding, Finding)
    return finding


@pytest.mark.parametrize("count", [3, 20])
def test_identical_good_parts_leave_room_for_noise(count: int) -> None:
    """Copies of one photograph don't differ; the next photograph of the same part does, and is no defect."""
    mode = DefectMode(ImageSettings(mode="defect"), Grid())
    part = drawn_part()
    mode.enrol([(Reference(id=f"{number}"), decoded(part)) for number in range(count)])
    assert [judged(mode, disturbed(part, seed)).verdict for seed in range(1, 6)] == ["ok"] * 5
    flawed = part.copy()
    flawed[100:190, 100:190] = 0
    assert judged(mode, flawed).verdict == "defect"


@pytest.mark.parametrize("parts", [2, 4, 16, 64, 200])
@pytest.mark.parametrize("spread", [0.06, 0.13, 0.18])
def test_about_the_rate_asked_for_is_called_defective(parts: int, spread: float) -> None:
    """Galleries more or less even than most: 1 % asked for is at most 3 % of new good parts on average."""
    random = np.random.default_rng(parts)
    alarms = []
    for _ in range(100):
        centre = random.normal(0, 0.3)
        limit = false_alarm_threshold(np.exp(random.normal(centre, spread, parts)), 0.01, parts)
        alarms.append(np.mean(random.normal(centre, spread, 300) >= np.log(limit)))
    assert np.mean(alarms) <= 0.03


def test_the_threshold_falls_as_more_alarms_are_allowed() -> None:
    """From reading off the scores to reckoning beyond them, without a step back."""
    scores = np.exp(np.random.default_rng(0).normal(0, 0.1, 40))
    limits = [false_alarm_threshold(scores, rate, 40) for rate in (0.001, 0.01, 0.02, 0.03, 0.1, 0.3)]
    assert limits == sorted(limits, reverse=True)


def test_with_many_parts_the_threshold_is_one_of_their_scores() -> None:
    """Nothing is assumed of how scores are spread where there are enough of them."""
    scores = np.random.default_rng(0).exponential(size=500)
    assert false_alarm_threshold(scores, 0.05, 500) in scores


def test_the_threshold_is_above_that_of_the_same_part_again() -> None:
    """However even the parts are."""
    assert false_alarm_threshold(np.full(10, 0.2), 0.01, 10, floor=1.5) > 1.5
