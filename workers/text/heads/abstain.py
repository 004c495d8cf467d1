"""When to give no label: the probability below which a worker abstains, from the rule in the label set."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas import Abstain

NEVER: Final = 1.01
"""A threshold that no probability reaches: the precision asked for can't be had."""

ENOUGH_RIGHT: Final = 60
"""Validated examples above a threshold that count as much as the probabilities above it."""


def choose_threshold(
    rule: Abstain | None,
    stream: NDArray[np.float32],
    validated: NDArray[np.float32] | None = None,
    right: NDArray[np.bool_] | None = None,
) -> float:
    """Choose the probability from which a label is given.

    For a precision, the lowest threshold is taken from which labels given are right that often. What
    is expected of the stream is the mean calibrated probability above the threshold; where validated
    examples lie above it, their own precision counts against it in proportion to their number.

    Args:
        rule: of the label set; None gives every post a label.
        stream: the highest probability of each of a sample of posts, shape (n,), n may be 0.
        validated: the highest probability of examples, each by a head fitted without it, shape (v,).
        right: whether their label was right, shape (v,).

    Returns:
        A threshold in [0, 1], or NEVER; without any post to go by, the precision itself is the threshold.
    """
    if rule is None:
        return 0.0
    if rule.threshold is not None:
        return rule.threshold
    if rule.coverage is not None:
        if not len(stream):
            return 0.0
        return float(np.quantile(stream, 1.0 - rule.coverage, method="lower"))
    if rule.precision is None:
        return 0.0
    if not len(stream):
        return rule.precision
    ordered = np.sort(stream.astype(np.float64))[::-1]
    counts = np.arange(1, len(ordered) + 1)
    expected = np.cumsum(ordered) / counts
    if validated is not None and right is not None and len(validated):
        above = np.searchsorted(np.sort(-validated.astype(np.float64)), -ordered, side="right")
        sums = np.concatenate([[0.0], np.cumsum(right[np.argsort(-validated, kind="stable")])])
        expected = (ENOUGH_RIGHT * expected + sums[above]) / (ENOUGH_RIGHT + above)
    good = np.flatnonzero(expected >= rule.precision)
    return float(ordered[good[-1]]) if len(good) else NEVER
