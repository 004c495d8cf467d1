"""Leave-one-out searches of a labelled folder by layer, metric and way of searching."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from schemas import Reference
from workers.image.embedding import PLAIN, SEARCH, Embedder, Recipe, unit_rows
from workers.image.evaluation.figures import Hits, attainable, precision_at, search_score
from workers.image.gallery import Gallery
from workers.image.models import Backbone, FlatIndex

Metric = Literal["context", "cosine", "euclidean"]
Pixels = NDArray[np.uint8]

LAYERS: Final = ("block2", "block4", "block7", "block10", "block13", "block15", "head")
"""Taps compared where none are named: what each stage of the network ends with."""
CHUNK: Final = 32


@dataclass(frozen=True)
class Trial:
    """What one layer and metric gave.

    Attributes:
        name: of the row.
        layer: the tap.
        metric: `context` is the search of the similarity mode; the others compare vectors as they are.
        precision: share of right ones among the first k, in [0, 1].
        score: search score, in [0, 100].
        attainable: the highest search score that the sizes of the classes allow.
        embedding_ms: network and pooling, for an image, without decoding.
        search_ms: for a query.
        bytes_an_image: of the vector.
    """

    name: str
    layer: str
    metric: Metric
    precision: float
    score: float
    attainable: float
    embedding_ms: float
    search_ms: float
    bytes_an_image: int


def run_trials(
    images: Sequence[Callable[[], Pixels]],
    labels: Sequence[str],
    backbone: Backbone,
    layers: Sequence[str] = LAYERS,
    k: int = 10,
    advance: Callable[[int], None] = lambda _: None,
) -> list[Trial]:
    """Search each image among the others, with each layer and metric.

    Args:
        images: n images, each decoded when asked for.
        labels: their classes.
        backbone: the network.
        layers: taps of it.
        k: how many count for the precision; the search score looks at 15.
        advance: told how many images were embedded.

    Raises:
        MessageError: an image can't be decoded.
        FatalError: there is no such layer.
    """
    recipes = [SEARCH, PLAIN, *(Recipe(layer, "spread") for layer in layers if layer != SEARCH.tap)]
    embedded = [np.zeros((0, 1), np.float32)] * len(recipes)
    spent = [0.0] * len(recipes)
    for start in range(0, len(images), CHUNK):
        pixels = [decode() for decode in images[start : start + CHUNK]]
        for number, recipe in enumerate(recipes):
            began = time.perf_counter()
            rows = Embedder(backbone, recipe).pooled(pixels)
            spent[number] += time.perf_counter() - began
            embedded[number] = rows if start == 0 else np.concatenate([embedded[number], rows])
        advance(len(pixels))
    trials = []
    for recipe, vectors, seconds in zip(recipes, embedded, spent, strict=True):
        for metric in _metrics(recipe):
            began = time.perf_counter()
            hits = _SEARCHES[metric](vectors, labels, max(15, k))
            trials.append(
                Trial(
                    name=_name(recipe, metric),
                    layer=recipe.tap,
                    metric=metric,
                    precision=precision_at(hits, k),
                    score=search_score(hits),
                    attainable=attainable(labels),
                    embedding_ms=1_000 * seconds / len(images),
                    search_ms=1_000 * (time.perf_counter() - began) / len(images),
                    bytes_an_image=int(vectors.shape[1]) * 4,
                )
            )
    return trials


def _metrics(recipe: Recipe) -> tuple[Metric, ...]:
    return ("cosine", "euclidean") if recipe == PLAIN else ("context", "cosine", "euclidean")


def _name(recipe: Recipe, metric: Metric) -> str:
    if recipe == SEARCH and metric == "context":
        return "similarity mode"
    return f"{recipe.tap} {recipe.pooling} {recipe.side_px}"


def _in_context(vectors: NDArray[np.float32], labels: Sequence[str], depth: int) -> Hits:
    gallery = Gallery()
    gallery.put([Reference(id=str(i), label=label) for i, label in enumerate(labels)], vectors)
    hits = np.zeros((len(labels), depth), np.bool_)
    for i, label in enumerate(labels):
        [found] = gallery.search(vectors[i : i + 1], depth + 1)
        others = [hit.reference.label == label for hit in found if hit.reference.id != str(i)][:depth]
        hits[i, : len(others)] = others
    return hits


def _plainly(vectors: NDArray[np.float32], labels: Sequence[str], depth: int, *, euclidean: bool) -> Hits:
    index = FlatIndex(int(vectors.shape[1]), euclidean=euclidean)
    index.add(np.arange(len(vectors)), vectors)
    names = np.array(labels)
    hits = np.zeros((len(labels), depth), np.bool_)
    for i, label in enumerate(labels):
        _, keys = index.search(vectors[i : i + 1], depth + 1)
        others = keys[0][keys[0] != i][:depth]
        hits[i, : len(others)] = names[others] == label
    return hits


_SEARCHES: Final[dict[Metric, Callable[[NDArray[np.float32], Sequence[str], int], Hits]]] = {
    "context": _in_context,
    "cosine": lambda vectors, labels, depth: _plainly(unit_rows(vectors), labels, depth, euclidean=False),
    "euclidean": lambda vectors, labels, depth: _plainly(vectors, labels, depth, euclidean=True),
}
