"""One vector for an image: what is in it, and where."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from workers.image.context import BEND, BENT_FROM, NEAR_DUPLICATE
from workers.image.embedding import SEARCH, Embedder, Recipe, unevenness
from workers.image.models import Backbone

LAYER = np.random.default_rng(0).random((5, 9, 9)).astype(np.float32)


class Layers:
    """Gives mean colours of 32 × 32 pixels, the same for each tap."""

    fingerprint = "f00"

    def features(self, images: Sequence[NDArray[np.uint8]], taps: Sequence[str]) -> Any:
        cells = [p.astype(np.float32).reshape(len(p) // 32, 32, -1, 32, 3).mean(axis=(1, 3)) for p in images]
        return [(one.transpose(2, 0, 1),) * len(taps) for one in cells]


def embedder(recipe: Recipe) -> Embedder:
    return Embedder(cast("Backbone", Layers()), recipe)


def test_a_mirrored_layer_is_laid_out_alike() -> None:
    """Left and right don't matter: a shoe that points the other way is the same shoe."""
    assert np.allclose(unevenness(LAYER), unevenness(LAYER[:, :, ::-1]), atol=1e-6)


def test_a_layer_upside_down_is_laid_out_the_other_way() -> None:
    """Top and bottom do."""
    assert np.allclose(unevenness(LAYER), -unevenness(LAYER[:, ::-1]), atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 1, 1), (4, 1, 7), (4, 6, 6)])
def test_a_layer_without_variation_is_laid_out_nowhere(shape: tuple[int, int, int]) -> None:
    """Nor is one of a single row, which has no halves."""
    flat = np.ones(shape, np.float32)
    assert np.array_equal(unevenness(flat), np.zeros(4, np.float32))
    assert np.array_equal(unevenness(np.arange(7, dtype=np.float32)[None, None]), np.zeros(1, np.float32))


def test_the_layout_is_bounded_whatever_the_layer() -> None:
    """All that varies being in one half, its length is 1."""
    upper = LAYER.copy()
    upper[:, 5:] = 0
    upper[:, 4] = 0
    assert np.linalg.norm(unevenness(upper)) == pytest.approx(1.0)
    assert np.linalg.norm(unevenness(LAYER)) < 1.0


def test_two_images_of_the_same_parts_elsewhere_differ() -> None:
    """By what is uneven; without it they are one."""
    image = np.full((96, 96, 3), 200, np.uint8)
    image[:32, :32] = (10, 60, 120)
    turned = image[::-1].copy()
    plainly = embedder(Recipe("a", side_px=96)).embed([image, turned])
    laid_out = embedder(Recipe("a", side_px=96, uneven=("b",))).embed([image, turned])
    assert plainly[0] @ plainly[1] == pytest.approx(1.0)
    assert laid_out[0] @ laid_out[1] < 0.9


def test_galleries_are_told_apart_by_the_layers_compared() -> None:
    """Vectors of another recipe can't be compared with these: such a gallery is refused by this name."""
    before = Recipe(uneven=())
    assert embedder(SEARCH).fingerprint != embedder(before).fingerprint
    assert all(layer in embedder(SEARCH).fingerprint for layer in SEARCH.uneven)


def test_only_near_duplicates_reach_their_similarity() -> None:
    """What is flattened above a similarity stays below it."""
    assert BENT_FROM + BEND * (1.0 - BENT_FROM) < NEAR_DUPLICATE
