"""Thresholds that keep to a rate of false alarms, from the scores of good parts held out."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

TAIL_SHARE: Final = 0.25
"""The highest share of the scores, to which the tail is fitted."""
FEW_PENALTY: Final = 1.4
"""With n parts the threshold is raised by this share over n squared: each part held out misses 1/n of
what is known of the others, and one part says nothing of how parts differ. Found on commutators with 1 to 64
parts."""


def false_alarm_threshold(scores: NDArray[np.float64], rate: float, parts: int) -> float:
    """The score that a new good part exceeds with probability `rate`.

    With enough scores it is their conformal quantile, which holds whatever their distribution is. A rate
    smaller than 1 / (n + 1) can't be read off n scores: there an exponential tail is fitted to the highest.

    Args:
        scores: of n ≥ 1 good parts that were not learned from.
        rate: in (0, 1).
        parts: good parts known; where there is one only, the scores are those of its variants.

    Source: Vovk et al., Algorithmic Learning in a Random World (conformal); Pickands 1975 (tail).
    """
    ordered = np.sort(np.asarray(scores, np.float64))
    n = len(ordered)
    rank = int(np.ceil((n + 1) * (1 - rate)))
    if rank <= n:
        return float(ordered[rank - 1])
    tail = max(min(n, 2), int(np.ceil(n * TAIL_SHARE)))
    start = float(ordered[n - tail])
    mean_excess = float(np.mean(ordered[n - tail :] - start))
    spread = max(mean_excess, 0.05 * abs(start), 1e-6)
    reached = start + spread * float(np.log((tail / n) / rate))
    return max(reached, float(ordered[-1])) * (1 + FEW_PENALTY / parts**2)
