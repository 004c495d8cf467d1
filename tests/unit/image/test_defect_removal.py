"""Good parts that are removed: their patches count no more, before anything is learnt anew."""

import numpy as np
import pytest

from workers.image.defect.bank import MemoryBank
from workers.image.models import PatchIndex, patch_index


@pytest.mark.parametrize("cells", [False, True])
def test_patches_that_went_are_nobodys_nearest(monkeypatch, cells):
    monkeypatch.setattr(patch_index, "FLAT_BELOW", 10 if cells else 10_000)
    rows = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    whole = PatchIndex(rows)
    fewer = whole.without([(0, 50), (100, 150)])
    asked = rows[[10, 60, 120, 200]]
    assert whole.nearest(asked)[1][:, 0].tolist() == [10, 60, 120, 200]
    found = fewer.nearest(asked)[1][:, 0].tolist()
    assert [found[1], found[3]] == [60, 200]
    assert not {*range(50), *range(100, 150)} & set(found)
    left_out = fewer.nearest(asked, left_out=(50, 100))[1][:, 0].tolist()
    assert not {*range(150)} & set(left_out)
    assert whole.nearest(asked)[1][:, 0].tolist() == [10, 60, 120, 200]


def test_a_bank_without_a_part_finds_its_look_strange():
    noise = np.random.default_rng(1)

    def part(level: float) -> tuple[np.ndarray, ...]:
        return tuple((level + 0.05 * noise.normal(size=(6, 6, 12))).astype(np.float32) for _ in range(4))

    parts = [part(0.0), part(0.1), part(5.0)]
    bank = MemoryBank(parts, [0, 1, 2])
    like_the_third = part(5.0)
    before = bank.score_map(like_the_third).mean()
    without = bank.without([2]).score_map(like_the_third).mean()
    assert without > 3 * before
    assert bank.score_map(like_the_third).mean() == before
