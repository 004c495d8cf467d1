"""Where `defect` draws its boxes, and the light it evens out first."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from workers.image.defect.patches import CONTRAST, LIGHT_KEPT, LIGHT_SHARE, evened
from workers.image.defect.regions import regions


def flaws(*places: tuple[int, int, float]) -> NDArray[np.float32]:
    """A map of 12 × 16 cells, 1 where nothing is, with round flaws of given heights at (row, column)."""
    down, across = np.mgrid[0:12, 0:16]
    made = np.ones((12, 16), np.float32)
    for row, column, height in places:
        made += np.float32(height - 1) * np.exp(-((down - row) ** 2 + (across - column) ** 2) / 2)
    return np.asarray(made, np.float32)


def boxes(scores: NDArray[np.float32], certain: float = 100.0) -> list[tuple[int, int, int, int]]:
    """In pixels of an image of ten to a cell."""
    return [region.box for region in regions(scores, certain, 160, 120)]


def test_a_flaw_has_one_box_around_it() -> None:
    """Its middle is inside, and most of the image is not."""
    [(left, top, right, bottom)] = boxes(flaws((4, 10, 5.0)))
    assert left < 105 < right
    assert top < 45 < bottom
    assert (right - left) * (bottom - top) < 160 * 120 / 10


def test_grain_beside_a_flaw_has_no_box() -> None:
    """Places that are high for a good part, but low beside the flaw."""
    assert len(boxes(flaws((2, 2, 5.0), (9, 12, 3.0)))) == 1


def test_a_certain_flaw_has_its_box_beside_a_worse_one() -> None:
    """However much higher the other is."""
    found = regions(flaws((2, 2, 9.0), (9, 12, 4.0)), 3.0, 160, 120)
    assert [round(region.score) for region in found] == [9, 4]


def test_pieces_of_a_flaw_are_one() -> None:
    """Less than two cells apart they have one box; farther, one each."""
    assert len(boxes(flaws((5, 4, 5.0), (5, 7, 5.0)))) == 1
    assert len(boxes(flaws((5, 2, 5.0), (5, 12, 5.0)))) == 2


def test_a_map_without_a_peak_is_boxed_whole() -> None:
    """A threshold that calls everything a defect says nothing of where."""
    assert boxes(np.ones((12, 16), np.float32)) == [(0, 0, 160, 120)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(320, 320), (64, 64), (96, 640)])
def test_light_is_what_a_wide_blur_leaves(size: tuple[int, int], channels: int) -> None:
    """Found on a coarse grid it is the same to a grey level or so."""
    random = np.random.default_rng(0)
    slow = cv2.resize(random.uniform(0, 120, (4, 5)).astype(np.float32), size[::-1])
    pixels = slow[..., None] + random.uniform(0, 100, (*size, channels))
    shown = np.repeat(pixels.astype(np.uint8), 3 // channels, axis=2)
    values = shown.astype(np.float32)
    light = cv2.GaussianBlur(values, (0, 0), LIGHT_SHARE * min(size))
    structure = values - light
    exact = 128 + LIGHT_KEPT * (light - light.mean()) + structure * (CONTRAST / (structure.std() + 2))
    assert np.abs(evened(shown) - np.clip(exact, 0, 255)).mean() < 1.2
