"""What the layers of good parts tell of each other."""

import numpy as np
import pytest
from numpy.typing import NDArray

from workers.image.defect.bank import MemoryBank
from workers.image.defect.patches import PartPlanes
from workers.image.defect.relation import LayerRelation

RULE = np.random.default_rng(7).normal(size=(6, 8)).astype(np.float32)


def part(seed: int, flaw: tuple[int, int] | None = None) -> PartPlanes:
    """Shallow layers at random, deep ones that follow from them, but for the place of a flaw."""
    random = np.random.default_rng(seed)
    shallow = random.normal(size=(9, 9, 6)).astype(np.float32)
    deep = shallow @ RULE
    if flaw is not None:
        deep[flaw] = -deep[flaw]
    return shallow[..., :3], shallow[..., 3:], deep[..., :4], deep[..., 4:]


@pytest.fixture(scope="module")
def relation() -> LayerRelation:
    return LayerRelation([part(seed) for seed in range(12)], list(range(12)))


def highest(scores: NDArray[np.float32]) -> tuple[int, ...]:
    return tuple(int(at) for at in np.unravel_index(np.argmax(scores), scores.shape))


def test_a_place_that_breaks_the_relation_stands_out(relation: LayerRelation) -> None:
    """In a part that is like none of the good ones otherwise."""
    scores = relation.distances(part(100, flaw=(4, 6)))
    assert highest(scores) == (4, 6)
    assert scores.max() > 5 * np.median(scores)


def test_a_new_part_that_keeps_to_it_does_not(relation: LayerRelation) -> None:
    """It departs about as little as parts that were held out."""
    held_out = np.median([np.median(relation.distances(part(seed), without=seed)) for seed in range(12)])
    assert np.median(relation.distances(part(100))) == pytest.approx(held_out, rel=0.3)


def test_a_part_held_out_is_not_learnt_from() -> None:
    """One that breaks the relation everywhere departs more where it is left out."""
    shallow, middle, *deep = part(50)
    odd: PartPlanes = (shallow, middle, *(np.flip(layer, axis=(0, 1)).copy() for layer in deep))
    relation = LayerRelation([*(part(seed) for seed in range(5)), odd], list(range(6)))
    assert np.median(relation.distances(odd, without=5)) > 1.1 * np.median(relation.distances(odd))


def test_the_bank_finds_what_only_the_relation_tells() -> None:
    """Each patch has its like among good ones, layer by layer; only together they are wrong."""
    bank = MemoryBank([part(seed) for seed in range(12)], list(range(12)))
    assert highest(bank.score_map(part(100, flaw=(4, 6)))) == (4, 6)


def test_variants_of_one_part_are_held_out_with_it() -> None:
    """Two images of a part are one to the relation."""
    images = [part(seed) for seed in (0, 0, 1, 1, 2, 2)]
    twice, once = LayerRelation(images, [0, 0, 1, 1, 2, 2]), LayerRelation(images[::2], [0, 1, 2])
    assert np.allclose(
        twice.distances(part(0), without=0), once.distances(part(0), without=0), rtol=0.05, atol=0.05
    )
