"""Heads side by side: examples drawn, fitted, and judged on posts that were held out."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from workers.text.heads.base import Embeddings, Examples, Head, LabelSpace
from workers.text.heads.calibration import expected_calibration_error
from workers.text.heads.metrics import (
    Labels,
    Probabilities,
    accuracy,
    confusion,
    coverage_at_precision,
    macro_f1,
)


@dataclass(frozen=True)
class Collection:
    """Labelled posts.

    Attributes:
        texts: the n posts.
        embeddings: shape (n, d), unit rows; or wide (`base.Embeddings`).
        labels: shape (n,), in [0, L).
        groups: where examples come from other groups (events) than the posts judged: each post's; else None.
        given: the last rows that are examples in every draw, and never judged.
    """

    texts: Sequence[str]
    embeddings: Embeddings
    labels: Labels
    groups: Sequence[str] | None = None
    given: int = 0


@dataclass(frozen=True)
class Draw:
    """Positions in a collection: examples, the unlabelled sample, and posts held out to judge on."""

    examples: NDArray[np.int64]
    unlabelled: NDArray[np.int64]
    held_out: NDArray[np.int64]


@dataclass(frozen=True)
class Score:
    """What one head did in one draw; shares in [0, 1], seconds."""

    accuracy: float
    macro_f1: float
    calibration_error: float
    coverage: float
    fit_s: float
    confusion: NDArray[np.int64]


class Contestant(Protocol):
    """Anything that learns from a draw and judges its held-out posts.

    Attributes:
        name: shown in tables.
        least_shots: examples a label that it needs.
        slow: whether a draw takes minutes.
    """

    name: str
    least_shots: int
    slow: bool

    def judge(self, space: LabelSpace, posts: Collection, draw: Draw) -> tuple[Probabilities, float]:
        """Give probabilities of the held-out posts, shape (m, L), and the seconds that fitting took.

        Raises:
            FatalError: it can't; the others can.
        """


class HeadContestant:
    """One of our heads.

    Args:
        name: shown in tables.
        create: builds it.
    """

    least_shots = 0
    slow = False

    def __init__(self, name: str, create: Callable[[], Head]) -> None:
        self.name = name
        self._create = create

    def judge(self, space: LabelSpace, posts: Collection, draw: Draw) -> tuple[Probabilities, float]:
        """Fit to the draw's examples and unlabelled posts, and judge."""
        head = self._create()
        started = time.perf_counter()
        examples = Examples(posts.embeddings[draw.examples], posts.labels[draw.examples])
        head.fit(space, examples, posts.embeddings[draw.unlabelled])
        took = time.perf_counter() - started
        return head.predict_proba(posts.embeddings[draw.held_out]), took


def draw_posts(posts: Collection, shots: int, seed: int, *, adapt: bool = True) -> Draw:
    """Draw examples label by label from one half; judge on the other half.

    With groups, examples come from half of the groups, and the others' posts are halved: one half is the
    stream that is adapted to, the other is judged on. Labels with fewer posts give what they have.

    Args:
        posts: what to draw from.
        shots: examples a label.
        seed: of the draw; the halves change with it too.
        adapt: False leaves the unlabelled sample empty.
    """
    rng = np.random.default_rng(seed)
    count = len(posts.labels) - posts.given
    order = rng.permutation(count)
    half = len(order) // 2
    if posts.groups is None:
        pool, held_out = order[:half], order[half:]
    else:
        names = rng.permutation(sorted(set(posts.groups[:count])))
        own = np.isin(np.array(posts.groups[:count])[order], names[: len(names) // 2])
        pool, others = order[own], order[~own]
        held_out = others[len(others) // 2 :]
    chosen = [pool[posts.labels[pool] == label][:shots] for label in np.unique(posts.labels)]
    examples = np.concatenate(chosen).astype(np.int64)
    rest = np.setdiff1d(pool, examples) if posts.groups is None else others[: len(others) // 2]
    examples = np.concatenate([examples, np.arange(count, len(posts.labels))])
    return Draw(examples, rest if adapt else rest[:0], held_out)


def run_trial(
    contestant: Contestant, space: LabelSpace, posts: Collection, draw: Draw, precision: float
) -> Score:
    """Fit and judge once.

    Args:
        contestant: whom.
        space: the labels.
        posts: the collection.
        draw: of its posts.
        precision: at which coverage is measured.
    """
    probabilities, took = contestant.judge(space, posts, draw)
    truth, found = posts.labels[draw.held_out], probabilities.argmax(axis=1).astype(np.int64)
    return Score(
        accuracy(found, truth),
        macro_f1(found, truth, len(space.names)),
        expected_calibration_error(probabilities, truth),
        coverage_at_precision(probabilities, truth, precision),
        took,
        confusion(found, truth, len(space.names)),
    )
