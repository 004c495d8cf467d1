"""The shapes that parts are shown to the network in, and banks of parts of several shapes."""

import numpy as np
import pytest

from tests.unit.image.grid import Grid
from workers.image.defect.bank import MemoryBank
from workers.image.defect.patches import LAYERS, PartPlanes, PatchExtractor
from workers.image.models.runtime import MAX_COMPILED


@pytest.fixture
def extractor() -> PatchExtractor:
    made = PatchExtractor(Grid(), 320)
    made.fit_shape([(300, 300), (300, 600), (300, 300)])
    return made


@pytest.mark.parametrize("size", [(300, 300), (290, 310), (330, 270)])
def test_parts_of_about_the_usual_size_share_one_shape(
    extractor: PatchExtractor, size: tuple[int, int]
) -> None:
    """Small differences in size are the cutting's, not the part's."""
    assert extractor.shape_for(size) == (320, 320)


def test_a_wider_part_keeps_its_scale(extractor: PatchExtractor) -> None:
    """Twice the width is shown twice as wide, so that its texture is as fine as the others'."""
    assert extractor.shape_for((300, 600)) == (320, 640)


def test_no_image_makes_a_shape_without_bound(extractor: PatchExtractor) -> None:
    """Queries far larger, smaller or longer than the good parts cost no more than a known factor."""
    for size in [(9_000, 12_000), (1, 1), (1, 20_000), (20_000, 1)]:
        high, wide = extractor.shape_for(size)
        assert min(high, wide) >= 64
        assert high * wide <= 2 * 320 * 320


@pytest.mark.parametrize("usual", [(300, 300), (250, 630), (64, 2_000)])
def test_all_shapes_stay_compiled(usual: tuple[int, int]) -> None:
    """However sizes vary, there are fewer shapes than graphs kept, so none is compiled over and over."""
    made = PatchExtractor(Grid(), 320)
    made.fit_shape([usual])
    sides = [int(side) for side in np.geomspace(8, 20_000, 60)]
    assert len({made.shape_for((high, wide)) for high in sides for wide in sides}) < MAX_COMPILED


def test_the_shape_is_that_of_the_whole_image_not_of_its_reduced_pixels(extractor: PatchExtractor) -> None:
    """A part decoded at half its size is shown as large as it would be whole."""
    reduced = np.zeros((150, 300, 3), np.uint8)
    assert extractor.shown(reduced, (300, 600)).shape == (320, 640, 3)


def test_parts_of_several_shapes_share_a_bank() -> None:
    """A good part of each shape is near; without its own patches none is infinitely far."""
    random = np.random.default_rng(0)

    def part(rows: int, columns: int) -> PartPlanes:
        return tuple(random.normal(size=(rows, columns, 4)).astype(np.float32) for _ in LAYERS)

    parts = [part(3, 3), part(3, 6), part(2, 4)]
    bank = MemoryBank(parts, range(3))
    assert [bank.score_map(planes).shape for planes in parts] == [(3, 3), (3, 6), (2, 4)]
    assert np.isfinite(bank.score_map(parts[1], without=1)).all()
    assert bank.score_map(parts[1]).max() < bank.score_map(parts[1], without=1).max()
