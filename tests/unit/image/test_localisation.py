"""Figures of where flaws are said to be."""

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas import Region
from workers.image.defect.regions import heat_map
from workers.image.evaluation.localisation import PixelFigures, boxes_against, scores_of


@pytest.fixture
def mask() -> NDArray[np.bool_]:
    """Two flaws, one of 400 pixels and one of 16, and a speck."""
    made = np.zeros((60, 80), bool)
    made[5:25, 5:25] = True
    made[40:44, 60:64] = True
    made[50, 10] = True
    return made


def figures(scores: NDArray[np.float32], mask: NDArray[np.bool_]) -> PixelFigures:
    made = PixelFigures(float(scores.min()), float(scores.max()))
    made.add(scores, mask)
    return made


def test_a_map_that_is_the_mask_is_perfect(mask: NDArray[np.bool_]) -> None:
    """All of each flaw is found before any good pixel."""
    found = figures(mask.astype(np.float32), mask)
    assert found.auroc == 1.0
    assert found.per_region_overlap == pytest.approx(1.0, abs=0.01)


def test_a_map_that_says_nothing_is_even(mask: NDArray[np.bool_]) -> None:
    """One value everywhere is a guess: half, and the mean of shares from 0 to 0.3."""
    found = figures(np.ones(mask.shape, np.float32), mask)
    assert found.auroc == 0.5
    assert found.per_region_overlap == pytest.approx(0.15, abs=0.01)


def test_a_small_flaw_counts_as_much_as_a_large_one(mask: NDArray[np.bool_]) -> None:
    """Finding only the large one is nearly all of the pixels and half of the flaws."""
    scores = np.zeros(mask.shape, np.float32)
    scores[5:25, 5:25] = 1
    assert figures(scores, mask).auroc > 0.95
    assert figures(scores, mask).per_region_overlap == pytest.approx(0.575, abs=0.01)


def test_boxes_hit_flaws_they_touch(mask: NDArray[np.bool_]) -> None:
    """Two boxes on one flaw hit it once; a box on nothing, or on a speck, is wasted."""
    boxes = [(0, 0, 10, 10), (20, 20, 30, 30), (70, 0, 80, 10), (8, 48, 14, 54)]
    assert boxes_against(mask, [Region(box=box, score=1.0) for box in boxes]) == (2, 1, 2)


def test_scores_come_back_from_a_heat_map() -> None:
    """To a step of the 255 it keeps."""
    scores = np.linspace(0.5, 2.5, 12, dtype=np.float32).reshape(3, 4)
    assert np.abs(scores_of(heat_map(scores), 4, 3) - scores).max() < 0.005
