"""Word vectors distilled from the sentence model: each frequent word encoded by itself.

A text is then the weighted mean of its words' vectors (SIF: Arora et al., 2017), moved into the sentence
model's space by a ridge map. The map is first fitted on word bags drawn for the purpose: some words of one
subject, some of any, and function words between them. It needs no corpus; a sample of the stream makes it
better.
"""

import re
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.text.models.cache import cached_folder
from workers.text.models.sentence import Embeddings, SentenceEncoder

DISTIL_VERSION: Final = "1"
"""Part of the cache key: raise it when what is distilled changes."""

SIF: Final = 1e-3
"""The a of SIF weights a / (a + p(word)), as published."""

RIDGE: Final = 0.1
"""Of the map, in mean variances of an input. 0.03 to 0.3 give the same within half a point on four sets."""

_BAGS: Final = 4_000
_BAG_WORDS: Final = (4, 30)
_NEAR: Final = 60
"""Words of one subject are drawn from this many nearest to a seed word."""

_FUNCTION_WORDS: Final = 150
"""The most frequent words are function words, about."""

_WORD: Final = re.compile(r"\w+")


class RidgeMap(NamedTuple):
    """An affine map: rows ↦ (rows - source) @ matrix + target.

    Attributes:
        source: shape (d,).
        matrix: shape (d, d).
        target: shape (d,).
    """

    source: NDArray[np.float32]
    matrix: NDArray[np.float32]
    target: NDArray[np.float32]

    def apply(self, rows: Embeddings) -> Embeddings:
        """Map rows; not normalised."""
        return np.asarray((rows - self.source) @ self.matrix + self.target, np.float32)


class WordVectors(NamedTuple):
    """Vectors of words and of the pieces that rarer words are made of.

    Attributes:
        words: whole words in order of frequency, then pieces, which begin with ##.
        vectors: float16, shape (len(words), d), as they are kept; products with float32 are exact.
        weights: float32, shape (len(words),), SIF weights in (0, 1].
        general: the map fitted on word bags.
    """

    words: list[str]
    vectors: NDArray[np.float16]
    weights: NDArray[np.float32]
    general: RidgeMap


def load_word_vectors(encoder: SentenceEncoder) -> WordVectors:
    """Read the vectors distilled from a sentence model; the first time, distil them (seconds).

    Raises:
        FatalError: the cache can't be written.
    """
    folder = cached_folder(f"static/{encoder.key}-{DISTIL_VERSION}", lambda target: _distil(encoder, target))
    return read_word_vectors(folder)


def read_word_vectors(folder: Path) -> WordVectors:
    """Read what `_distil` wrote."""
    with np.load(folder / "vectors.npz") as held:
        return WordVectors(
            words=(folder / "words.txt").read_text(encoding="utf-8").split("\n"),
            vectors=held["vectors"],
            weights=held["weights"],
            general=RidgeMap(held["source"], held["matrix"], held["target"]),
        )


def to_keyed_vectors(held: WordVectors) -> Any:
    """The vectors as gensim KeyedVectors, most frequent word first."""
    from gensim.models import KeyedVectors

    keyed = KeyedVectors(vector_size=held.vectors.shape[1], count=0)
    keyed.add_vectors(held.words, held.vectors.astype(np.float32))
    return keyed


def fit_ridge(inputs: Embeddings, targets: Embeddings, ridge: float = RIDGE) -> RidgeMap:
    """Fit a map by least squares, shrunk towards the mean.

    Args:
        inputs: shape (n, d).
        targets: shape (n, d).
        ridge: in mean variances of an input.
    """
    source, target = inputs.mean(axis=0), targets.mean(axis=0)
    centred = (inputs - source).astype(np.float64)
    gram = centred.T @ centred
    penalty = ridge * np.trace(gram) / len(gram) + 1e-9
    matrix = np.linalg.solve(gram + penalty * np.eye(len(gram)), centred.T @ (targets - target))
    return RidgeMap(source, matrix.astype(np.float32), target)


def weighted_means(ids: list[list[int]], vectors: Embeddings, weights: NDArray[np.float32]) -> Embeddings:
    """SIF-weighted means of lists of rows, shape (len(ids), d); an empty list gives zeros."""
    flat = np.array([i for row in ids for i in row], np.int64)
    means = np.zeros((len(ids), vectors.shape[1]), np.float32)
    owners = np.repeat(np.arange(len(ids)), [len(row) for row in ids])
    np.add.at(means, owners, vectors[flat] * weights[flat, None])
    totals = np.bincount(owners, weights[flat], len(ids))
    return np.asarray(means / np.maximum(totals, 1e-6)[:, None], np.float32)


def _distil(encoder: SentenceEncoder, folder: Path) -> None:
    """Encode every word of the model's own vocabulary, which is about in order of frequency."""
    words, pieces = _vocabulary(encoder)
    vectors = encoder.encode([*words, *(piece.removeprefix("##") for piece in pieces)])
    # Zipf's law stands in for counts; digits and single letters come first and are frequent, not the most
    first = words.index("the") if "the" in words else 0
    ranks = np.arange(len(words)) - first
    ranks[ranks < 0] = 200
    frequencies = 1 / (ranks + 2.7)
    frequencies /= frequencies.sum()
    weights = np.concatenate([SIF / (SIF + frequencies), np.full(len(pieces), SIF / (SIF + 1e-5))])
    weights = weights.astype(np.float32)
    bags = _word_bags(vectors[: len(words)], frequencies, first)
    targets = encoder.encode([" ".join(words[i] for i in bag) for bag in bags])
    general = fit_ridge(weighted_means(bags, vectors, weights), targets)
    (folder / "words.txt").write_text("\n".join([*words, *pieces]), encoding="utf-8")
    np.savez(
        folder / "vectors.npz",
        vectors=vectors.astype(np.float16),
        weights=weights,
        source=general.source,
        matrix=general.matrix,
        target=general.target,
    )


def _vocabulary(encoder: SentenceEncoder) -> tuple[list[str], list[str]]:
    """Whole words and ##pieces of the tokenizer, in its order.

    Tokenizers that mark the beginnings of words instead (▁word, Ġword) give words without the mark; what
    has no mark there is a piece.
    """
    ordered = [token for token, _ in sorted(encoder.vocabulary().items(), key=lambda item: item[1])]
    marks = next((mark for mark in ("▁", "Ġ") if sum(t.startswith(mark) for t in ordered) > 1_000), None)
    words: dict[str, None] = {}
    pieces: dict[str, None] = {}
    for token in ordered:
        if marks is None:
            whole, bare = not token.startswith("##"), token.removeprefix("##")
        else:
            whole, bare = token.startswith(marks), token.removeprefix(marks)
        if _WORD.fullmatch(bare):
            (words if whole else pieces)[bare.lower() if whole else f"##{bare.lower()}"] = None
    return list(words), list(pieces)


def _word_bags(vectors: Embeddings, frequencies: NDArray[np.float64], first: int) -> list[list[int]]:
    """Draw bags of word ids with a subject or two, seeded."""
    random = np.random.default_rng(0)
    count = len(vectors)
    content = frequencies**0.75
    content[: min(first + _FUNCTION_WORDS, count // 2)] = 0
    content /= content.sum()
    function = frequencies.copy()
    function[:first] = 0
    function[first + _FUNCTION_WORDS :] = 0
    function /= function.sum()
    centred = vectors - vectors.mean(axis=0)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
    seeds = random.choice(count, size=(_BAGS, 3), p=content)
    near = np.empty((_BAGS, 3, min(_NEAR, count - 1)), np.int64)
    for start in range(0, _BAGS, 500):  # 1,500 rows of similarities at a time
        chosen = seeds[start : start + 500].reshape(-1)
        similarities = centred[chosen] @ centred.T
        nearest = np.argpartition(-similarities, near.shape[2], axis=1)[:, : near.shape[2]]
        near[start : start + 500] = nearest.reshape(-1, 3, near.shape[2])
    bags = []
    for index in range(_BAGS):
        length = int(random.integers(*_BAG_WORDS))
        subjects = int(random.integers(1, 4))
        share = max(1, int(0.3 * length))
        bag = [
            *seeds[index, :subjects],
            *random.choice(near[index, :subjects].reshape(-1), share),
            *random.choice(count, share, p=content),
            *random.choice(count, max(1, int(0.4 * length)), p=function),
        ]
        random.shuffle(bag)
        bags.append([int(i) for i in bag])
    return bags
