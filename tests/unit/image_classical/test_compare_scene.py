"""What an image must show before it can pass: the reference, all of it, and its flaws."""

import numpy as np
import pytest

from config import ImageSettings
from schemas import ImageMessage, Reference
from workers.image.modes.base import DecodedImage
from workers.image.modes.compare import CompareMode


def decoded(grey):
    pixels = np.repeat(grey[:, :, None], 3, axis=2).astype(np.uint8)
    return DecodedImage(pixels, grey.shape[1], grey.shape[0])


@pytest.fixture
def grid():
    """A part whose pattern repeats every 16 pixels."""
    part = np.full((240, 320), 120, np.uint8)
    part[::16] = 60
    part[:, ::16] = 200
    return part


@pytest.fixture
def judge(grid):
    mode = CompareMode(ImageSettings(mode="compare"))
    mode.enrol([(Reference(id="grid"), decoded(grid))])

    def judge(image):
        (finding,) = mode.match([(ImageMessage(id="i"), decoded(image))])
        return finding

    return judge


def test_a_flaw_in_a_periodic_part_is_not_shifted_out_of_sight(judge, grid):
    flawed = grid.copy()
    flawed[60:80, 40:70] = 255
    finding = judge(flawed)
    assert finding.verdict == "defect"
    x1, y1, x2, y2 = finding.regions[0].box
    assert x1 <= 40 <= 70 <= x2
    assert y1 <= 60 <= 80 <= y2


def test_the_part_itself_passes(judge, grid):
    assert judge(grid).verdict == "ok"


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_blank_image_does_not_pass_for_the_part(judge, level):
    finding = judge(np.full((240, 320), level, np.uint8))
    assert finding.verdict == "defect"
    assert finding.regions[0].box == (0, 0, 320, 240)
