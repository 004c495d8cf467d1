"""Thresholds that keep to a rate of false alarms, from the scores of good parts held out."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEAST_SCORE: Final = 0.05
"""Scores below count as this: they are taken the logarithm of."""
PRIOR_SPREAD: Final = 0.13
"""Standard deviation of the logarithm of good parts' scores, as it is in most galleries."""
PRIOR_PARTS: Final = 8.0
"""So many parts that is worth beside a gallery's own."""
RISE_OF_ONE: Final = 0.85
"""Where there is one part: how much higher another good one scores than the one turned and shifted, in the
logarithm."""
SPREAD_OF_ONE: Final = 0.23
"""By how much that varies from gallery to gallery and part to part."""


def false_alarm_threshold(scores: NDArray[np.float64], rate: float, parts: int, floor: float = 0.0) -> float:
    """The score that a new good part exceeds with probability `rate`.

    With enough scores it is their conformal quantile, which holds whatever their distribution is. A rate
    smaller than 1 / (n + 1) can't be read off n scores: there the logarithm of a score is taken for normal,
    with a spread between that of the scores and what is typical, and the quantile is that of the next score.

    Args:
        scores: of n ≥ 1 good parts that were not learned from.
        rate: in (0, 1).
        parts: good parts known; where there is one only, the scores are those of its variants.
        floor: score of a known part photographed once more; the threshold lies above.

    Source: Vovk et al., Algorithmic Learning in a Random World (conformal); Gelman et al., Bayesian Data
    Analysis, 3.3 (the next value of a normal sample with a conjugate prior for its variance).
    """
    logs = np.log(np.maximum(np.sort(np.asarray(scores, np.float64)), LEAST_SCORE))
    n = len(logs)
    if parts == 1:
        reached = logs.mean() + RISE_OF_ONE + stats.norm.ppf(1 - rate) * SPREAD_OF_ONE
    else:
        own = float(np.sum((logs - logs.mean()) ** 2))
        independent = n - 1  # of two parts each is as far from the other as that from it
        freedom = PRIOR_PARTS + independent - 1
        spread = np.sqrt((PRIOR_PARTS * PRIOR_SPREAD**2 + own) / freedom * (1 + 1 / independent))
        reached = logs.mean() + stats.t.ppf(1 - rate, freedom) * spread
        rank = int(np.ceil((n + 1) * (1 - rate)))
        if rank <= n:
            reached = logs[rank - 1]
    return float(np.exp(max(reached, np.log(max(floor, LEAST_SCORE)) + PRIOR_SPREAD)))
