"""Where a label begins to hold: two overlapping bells of similarity, those about it and the rest."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

MAX_STEPS: Final = 50
"""Steps of expectation-maximisation."""

REST, ABOUT = 0.05, 0.19
"""Cosine to a label of posts about other things and of its own: means over eight collections."""

SPREAD: Final = 0.08
"""Standard deviation of either, over the same."""

SHARE: Final = 0.3
"""Share of the stream that is about a label, before anything is seen."""

MEAN_COUNT, SPREAD_COUNT, SHARE_COUNT = 40.0, 100.0, 20.0
"""Posts that the values above count for against those of the stream."""


@dataclass(frozen=True)
class Level:
    """The probability that a label holds, by similarity: 1 / (1 + exp(−slope · (similarity − middle))).

    Attributes:
        slope: > 0.
        middle: the similarity at which it holds as often as not.
    """

    slope: float
    middle: float

    def probability(self, similarities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities in [0, 1] of similarities of any shape."""
        return np.asarray(
            1.0 / (1.0 + np.exp(np.clip(-self.slope * (similarities - self.middle), -50.0, 50.0)))
        )


def fit_level(
    similarities: NDArray[np.float64],
    holds: NDArray[np.float64],
    *,
    rest: float = REST,
    about: float = ABOUT,
    share: float = SHARE,
    count: float = MEAN_COUNT,
) -> Level:
    """Fit a mixture of two Gaussians of one variance to similarities, held to what is usual.

    Args:
        similarities: of posts to the label, shape (n,), n may be 0.
        holds: 1 where an example is known to be about the label, 0 where known not to be, nan elsewhere.
        rest: expected mean of posts that are about something else.
        about: expected mean of posts about the label.
        share: expected share of posts about the label.
        count: posts that the expected means count for.

    Returns:
        The level; it rises with similarity.
    """
    low, high, variance, usual = rest, about, SPREAD**2, share
    known = ~np.isnan(holds)
    for _ in range(MAX_STEPS):
        odds = (high - low) / variance * (similarities - (high + low) / 2.0) + np.log(share / (1.0 - share))
        own = 1.0 / (1.0 + np.exp(np.clip(-odds, -50.0, 50.0)))
        own[known] = holds[known]
        mass = float(own.sum())
        others = len(own) - mass
        former = (low, high)
        low = (count * rest + float((1.0 - own) @ similarities)) / (count + others)
        high = (count * about + float(own @ similarities)) / (count + mass)
        high = max(high, low + 0.02)
        within = own @ (similarities - high) ** 2 + (1.0 - own) @ (similarities - low) ** 2
        variance = (SPREAD_COUNT * SPREAD**2 + float(within)) / (SPREAD_COUNT + len(own))
        share = (SHARE_COUNT * usual + mass) / (SHARE_COUNT + len(own))
        if abs(former[0] - low) + abs(former[1] - high) < 1e-5:
            break
    slope = (high - low) / variance
    return Level(slope, (high + low) / 2.0 - float(np.log(share / (1.0 - share))) / slope)
