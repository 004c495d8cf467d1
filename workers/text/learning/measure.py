"""How well label sets label held-back corrections: cross-validated, and paired."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas import LabelSet
from workers.text.heads.base import Embeddings
from workers.text.lane import Encode, fit_head, read_knowledge
from workers.text.learning.corrections import Correction
from workers.text.learning.examples import without

MOST_FOLDS, FEW_FOLDS = 10, 5
"""Of cross-validation: up to MOST_FOLDS corrections each is held back alone."""

MANY_TO_FOLD: Final = 60
"""Corrections from which on FEW_FOLDS say as much, at a quarter of the time."""

HOLDS: Final = 0.5
"""The probability from which a label of several holds."""

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Judged:
    """What a label set says of posts.

    Attributes:
        probabilities: float32, shape (m, L + 1), the last column being none of the labels.
        several: whether each label has its own probability.
    """

    probabilities: NDArray[np.float32]
    several: bool


@dataclass(frozen=True)
class Figures:
    """How well a label set did on held-back corrections, in [0, 1].

    Attributes:
        accuracy: share of corrections with exactly the right labels.
        macro_f1: F1 averaged over the labels that occur, none of them being one.
        likelihood: the probability given to what is right, averaged over each label's corrections, then over
            the labels. Of few corrections it says more than the others: it moves before a label tips over.
    """

    accuracy: float
    macro_f1: float
    likelihood: float


@dataclass(frozen=True)
class Comparison:
    """Two label sets on the same held-back corrections.

    Attributes:
        count: corrections.
        before: the label set in force.
        after: the candidate.
        gained: corrections that only the candidate labels right.
        lost: corrections that only the one in force labels right.
    """

    count: int
    before: Figures
    after: Figures
    gained: int
    lost: int

    @property
    def chance(self) -> float:
        """The probability of so many gains against losses by chance alone (one-sided sign test)."""
        return _at_least(self.gained, self.gained + self.lost)

    @property
    def bad_luck(self) -> float:
        """The probability of so many losses against gains by chance alone."""
        return _at_least(self.lost, self.gained + self.lost)


def _at_least(heads: int, tosses: int) -> float:
    return float(sum(comb(tosses, number) for number in range(heads, tosses + 1)) / 2**tosses)


def compare(
    before: LabelSet,
    after: LabelSet,
    corrections: Sequence[Correction],
    encode: Encode,
    folds: int | None = None,
) -> Comparison:
    """Measure two label sets on corrections that neither has seen: each fold's are taken out of both.

    Args:
        before: in force; it may have learned some of the corrections.
        after: the candidate, which has learned them.
        corrections: at least one, of labels that both sets have.
        encode: embeds texts.
        folds: at most so many; by the number of corrections where it is left out.
    """
    truth = truths(after, corrections)
    judged = [held_back(one, corrections, encode, folds) for one in (before, after)]
    right = [(chosen(one) == truth).all(axis=1) for one in judged]
    figures = [
        Figures(float(hits.mean()), macro_f1(chosen(one), truth), likelihood(one, truth))
        for hits, one in zip(right, judged, strict=True)
    ]
    gained, lost = int((right[1] & ~right[0]).sum()), int((right[0] & ~right[1]).sum())
    return Comparison(len(corrections), figures[0], figures[1], gained, lost)


def held_back(
    label_set: LabelSet, corrections: Sequence[Correction], encode: Encode, folds: int | None = None
) -> Judged:
    """Judge each correction by the label set without it.

    Returns:
        n rows, the columns as in `truths`.
    """
    rows = encode([one.text for one in corrections])
    fold_of = split(corrections, folds or (MOST_FOLDS if len(corrections) < MANY_TO_FOLD else FEW_FOLDS))
    found = np.zeros((len(corrections), len(label_set.labels) + 1), np.float32)
    whole: Judged | None = None
    several = label_set.multi_label or len(label_set.labels) == 1
    for fold in range(int(fold_of.max()) + 1):
        places = np.flatnonzero(fold_of == fold)
        rest = without(label_set, frozenset(corrections[place].key for place in places.tolist()))
        if rest == label_set:  # it knows none of them: one fit is good for all such folds
            whole = judge(label_set, rows, encode) if whole is None else whole
            found[places] = whole.probabilities[places]
        else:
            found[places] = judge(rest, rows[places], encode).probabilities
    return Judged(found, several)


def truths(label_set: LabelSet, corrections: Sequence[Correction]) -> Bools:
    """What holds for each correction; shape (n, L + 1), the last column being none of the labels."""
    columns = {label.name: index for index, label in enumerate(label_set.labels)}
    truth = np.zeros((len(corrections), len(columns) + 1), np.bool_)
    for row, one in enumerate(corrections):
        for name in one.labels:
            truth[row, columns[name]] = True
        truth[row, -1] = not one.labels
    return truth


def split(corrections: Sequence[Correction], folds: int) -> NDArray[np.int64]:
    """Give each correction its fold, the labels spread evenly; int64, shape (n,)."""
    order = sorted(range(len(corrections)), key=lambda place: (corrections[place].labels, place))
    found = np.empty(len(corrections), np.int64)
    found[order] = np.arange(len(corrections)) % min(folds, len(corrections))
    return found


def chosen(judged: Judged) -> Bools:
    """Say which labels hold; shape as the probabilities'."""
    probabilities = judged.probabilities
    found = np.zeros(probabilities.shape, np.bool_)
    if judged.several:
        found[:, :-1] = probabilities[:, :-1] >= HOLDS
        found[:, -1] = ~found[:, :-1].any(axis=1)
    else:
        found[np.arange(len(found)), probabilities.argmax(axis=1)] = True
    return found


def likelihood(judged: Judged, truth: Bools) -> float:
    """Average the probability of what is right over each column's rows, then over the columns that occur."""
    there = truth.any(axis=0)
    return float(
        (judged.probabilities * truth).sum(axis=0)[there] @ (1.0 / truth.sum(axis=0)[there]) / there.sum()
    )


def macro_f1(found: Bools, truth: Bools) -> float:
    """Average F1 over the columns that occur in either, in [0, 1]."""
    both = found.sum(axis=0) + truth.sum(axis=0)
    there = both > 0
    return float((2.0 * (found & truth).sum(axis=0)[there] / both[there]).mean())


def wilson(right: int, count: int, sigmas: float = 1.96) -> tuple[float, float]:
    """Compute the interval of a share that was seen `right` times of `count`, 95 % unless told otherwise.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference" (1927).
    """
    if count == 0:
        return 0.0, 1.0
    share, spread = right / count, sigmas**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def judge(label_set: LabelSet, rows: Embeddings, encode: Encode) -> Judged:
    """Fit to a label set and judge rows, shape (m, d)."""
    knowledge = read_knowledge(label_set, (), label_set.sample)
    found = fit_head(knowledge, encode).head.predict_proba(rows)
    none = np.zeros((len(rows), 1), np.float32)
    if knowledge.independent:
        none = 1.0 - found.max(axis=1, keepdims=True)
    elif knowledge.none_of_these:
        none = 1.0 - found.sum(axis=1, keepdims=True)
    return Judged(np.concatenate([found, none], axis=1), knowledge.independent)
