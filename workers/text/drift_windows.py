"""Windows of a stream of labelled posts: what a block of them held, and how far it is from a reference.

Two kinds of signals. Levels are means of a number that each post has: confidence, abstention, novelty.
Distances have no direction: of label shares (Jensen-Shannon divergence) and of mean embeddings. What is drawn
from one and the same stream lies some way apart too, the farther the fewer the posts; both are corrected for
that, by what arithmetic says and by how the reference's own blocks vary, which holds retweets and hours too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVELS: Final = ("confidence", "abstained", "novelty")
DISTANCES: Final = ("shares", "embedding")
SIGNALS: Final = (*DISTANCES, *LEVELS)

SIGNIFICANT: Final = 4.0
"""Standard errors that a signal must have moved, however large the move."""

DIRECTIONS: Final = 30
"""Directions that sentence embeddings of a stream really vary in, about: fewer than they have dimensions."""


@dataclass(slots=True)
class Block:
    """Some posts in a row, summed.

    Attributes:
        started: time of the first batch, in seconds since the epoch.
        ended: time of the last batch.
        posts: how many.
        labels: posts by label, int64, shape (L,); those without a label are in none.
        sums: of LEVELS over the posts, shape (3,).
        squares: sums of their squares, shape (3,).
        embedded: posts of which there is an embedding; what was said before has none.
        embedding: sum of the embeddings, shape (d,); shape () before the first.
    """

    started: float
    ended: float
    posts: int
    labels: NDArray[np.int64]
    sums: Floats
    squares: Floats
    embedded: int
    embedding: Floats

    @classmethod
    def empty(cls, at: float, labels: int) -> "Block":
        """A block that begins."""
        return cls(at, at, 0, np.zeros(labels, np.int64), np.zeros(3), np.zeros(3), 0, np.zeros(()))

    def add(
        self,
        at: float,
        labels: NDArray[np.integer],
        probabilities: NDArray[np.float32],
        novelty: NDArray[np.float32],
    ) -> None:
        """Take in a batch; see DriftMonitor.observe."""
        count = len(labels)
        by_label = np.bincount(labels + 1, minlength=len(self.labels) + 1)
        abstained = float(by_label[0])
        self.ended = at
        self.posts += count
        self.labels += by_label[1:]
        self.sums += np.array((probabilities.sum(), abstained, novelty.sum()))
        self.squares += np.array((probabilities @ probabilities, abstained, novelty @ novelty))

    def add_embeddings(self, mean: NDArray[np.float32], count: int) -> None:
        """Take in the mean of a batch's embeddings, shape (d,), and of how many it is."""
        self.embedded += count
        self.embedding = self.embedding + mean * np.float64(count)

    def __add__(self, other: "Block") -> "Block":
        return Block(
            min(self.started, other.started),
            max(self.ended, other.ended),
            self.posts + other.posts,
            self.labels + other.labels,
            self.sums + other.sums,
            self.squares + other.squares,
            self.embedded + other.embedded,
            self.embedding + other.embedding,
        )

    def __sub__(self, other: "Block") -> "Block":
        """This block without another that is a part of it."""
        return Block(
            self.started,
            self.ended,
            self.posts - other.posts,
            self.labels - other.labels,
            self.sums - other.sums,
            self.squares - other.squares,
            self.embedded - other.embedded,
            self.embedding - other.embedding,
        )

    @property
    def levels(self) -> Floats:
        """Means of LEVELS, shape (3,)."""
        return self.sums / max(self.posts, 1)


def merge(blocks: Sequence[Block]) -> Block:
    """All blocks as one."""
    return reduce(lambda one, other: one + other, blocks)


def jensen_shannon(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Jensen-Shannon divergence of two windows' label shares, uncorrected.

    Args:
        one: posts by label, shape (L,).
        other: the same of another window.

    Returns:
        Bits, from 0 (the same shares) to 1 (no label in common); 0 where a window has no label at all.

    Source: Lin, Divergence measures based on the Shannon entropy, IEEE Trans. Inf. Theory 37 (1991).
    """
    total, total_other = one.sum(), other.sum()
    if not total or not total_other:
        return 0.0
    p, q = one / total, other / total_other
    middle = (p + q) / 2
    found = 0.0
    for shares in (p, q):
        held = shares > 0
        found += float((shares[held] * np.log2(shares[held] / middle[held])).sum()) / 2
    return max(found, 0.0)


def _noise(name: str, one: Block, other: Block) -> float:
    """What two windows of one stream lie apart on average, in bits or as a squared distance, by arithmetic.

    Shares: (K - 1) / (8 ln 2) · (1/n + 1/m) bits for K labels in use and n and m labelled posts, from
    JSD ≈ chi² / 8. Embeddings are unit vectors, so the trace of their covariance is 1 - |mean|².
    """
    if name == "shares":
        used = int(np.count_nonzero(one.labels + other.labels))
        n, m = max(int(one.labels.sum()), 1), max(int(other.labels.sum()), 1)
        return float((used - 1) / (8 * np.log(2)) * (1 / n + 1 / m))
    n, m = max(one.embedded, 1), max(other.embedded, 1)
    both = (one.embedding + other.embedding) / (n + m)
    return max(1 - float((both * both).sum()), 0.0) * (1 / n + 1 / m)


def _apart(name: str, one: Block, other: Block) -> float:
    """Bits between the shares, or the squared distance between the means; uncorrected."""
    if name == "shares":
        return jensen_shannon(one.labels, other.labels)
    if not one.embedded or not other.embedded:
        return 0.0
    difference: Floats = one.embedding / one.embedded - other.embedding / other.embedded
    return float(difference @ difference)


class Reference:
    """What the stream was: a window's blocks, and how much they vary among themselves.

    Args:
        blocks: at least 3.
        floors: the least standard deviation of a signal that is believed, by name; shares in bits.
    """

    def __init__(self, blocks: Sequence[Block], floors: dict[str, float]) -> None:
        self.whole = merge(blocks)
        self._floors = floors
        self._count = len(blocks)
        sizes = np.array([block.posts for block in blocks], np.float64)
        levels = np.array([block.levels for block in blocks])
        self._within = np.maximum(self.whole.squares / self.whole.posts - self.whole.levels**2, 0)
        spread = (sizes[:, None] * (levels - self.whole.levels) ** 2).sum(axis=0) / sizes.sum()
        spread *= self._count / (self._count - 1)
        self._between = np.maximum(spread - self._within / sizes.mean(), 0)
        self._excess: dict[str, float] = {}
        self._ratios: dict[str, tuple[float, float]] = {}
        rests = [self.whole - block for block in blocks]
        for name in DISTANCES:
            apart = np.array([_apart(name, b, rest) for b, rest in zip(blocks, rests, strict=True)])
            noise = np.array([_noise(name, b, rest) for b, rest in zip(blocks, rests, strict=True)])
            self._excess[name] = max(float((apart - noise).mean()), 0.0)
            ratios = np.sqrt(apart / np.maximum(noise + self._excess[name], 1e-12))
            self._ratios[name] = float(ratios.mean()), float(ratios.std(ddof=1))

    def standardise(self, block: Block) -> dict[str, float]:
        """How far a block is from the reference, in standard deviations of such blocks."""
        scale = np.sqrt(self._between * (1 + 1 / self._count) + self._within / block.posts)
        found: dict[str, float] = {}
        moved = block.levels - self.whole.levels
        for name, by, sd in zip(LEVELS, moved.tolist(), scale.tolist(), strict=True):
            found[name] = by / max(sd, self._floors[name])
        for name in DISTANCES:
            if not (block.embedded if name == "embedding" else block.labels.any()):
                found[name] = 0.0  # nothing to go by
                continue
            expected = max(_noise(name, block, self.whole) + self._excess[name], 1e-12)
            mean, sd = self._ratios[name]
            floor = self._floors[name] if name == "embedding" else self._floors[name] ** 0.5
            ratio = (_apart(name, block, self.whole) / expected) ** 0.5
            found[name] = (ratio - mean) / max(sd, 0.1, floor / expected**0.5)
        return found

    def effects(self, block: Block, blocks: int) -> dict[str, float]:
        """How far a window is from the reference, beyond what chance makes of it.

        Args:
            block: the window, merged.
            blocks: of how many blocks.

        Returns:
            By signal: `shares` in bits in [0, 1], `embedding` the distance of the means in [0, 2], levels the
            signed difference to the reference.
        """
        found: dict[str, float] = {}
        for name in DISTANCES:
            chance = _noise(name, block, self.whole) + self._excess[name] / blocks
            found[name] = max(_apart(name, block, self.whole) - chance, 0.0)
        found["embedding"] = found["embedding"] ** 0.5
        moved = (block.levels - self.whole.levels).tolist()
        return found | dict(zip(LEVELS, moved, strict=True))

    def certain(self, block: Block, blocks: int) -> set[str]:
        """The signals that chance alone would hardly have moved so far; see effects."""
        between = self._between * (1 / blocks + 1 / self._count)
        within = self._within * (1 / block.posts + 1 / self.whole.posts)
        moved = np.abs(block.levels - self.whole.levels)
        sure = moved > SIGNIFICANT * np.sqrt(between + within)
        found = {name for name, far in zip(LEVELS, sure.tolist(), strict=True) if far}
        for name in DISTANCES:
            chance = _noise(name, block, self.whole) + self._excess[name] / blocks
            used = int(np.count_nonzero(block.labels + self.whole.labels))
            free = max(used - 1, 1) if name == "shares" else DIRECTIONS
            # What chance makes is about chi-squared, whose deviation is sqrt(2 / free) of its mean.
            if _apart(name, block, self.whole) > chance * (1 + SIGNIFICANT * (2 / free) ** 0.5):
                found.add(name)
        return found
