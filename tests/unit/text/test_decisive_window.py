"""Of a long document the evidence shows the window that decided."""

import numpy as np
import pytest

from workers.text.evidence import NearestText
from workers.text.heads.base import Examples, LabelSpace
from workers.text.heads.zero_shot import ZeroShotHead
from workers.text.lane import Fitted, Knowledge, Prediction

A, B = np.eye(2, dtype=np.float32)
BOTH = np.float32([0.9, 0.9])
NEITHER = np.float32([0.1, 0.1])


def window_of(
    label: int, names: tuple[str, ...], rows: list[np.ndarray], spans: list[tuple[int, int]]
) -> object:
    count = len(names)
    space = LabelSpace(names, names, np.arange(count), ("name",) * count, np.eye(2, dtype=np.float32)[:count])
    none = np.zeros((0, 2), np.float32)
    fitted = Fitted(space, Examples(none, np.zeros(0, np.int64)), none, ZeroShotHead())
    knowledge = Knowledge(names, names, tuple(range(count)), ("name",) * count, (), (), (), False)
    probabilities = np.eye(count, dtype=np.float32)[[label]]
    prediction = Prediction(probabilities, rows[0][None], {0: (spans, np.array(rows))})
    return NearestText(knowledge, fitted).find(prediction)[0]["window"]


@pytest.mark.parametrize(
    ("rows", "decisive"),
    [
        ([BOTH, 0.8 * A, 0.8 * B], 1),  # as near to the other label is no sign of this one
        ([0.5 * A, 0.6 * A, B], 0),  # the second is a little nearer, and much shorter
        ([NEITHER, B, BOTH], 0),  # nothing speaks for it; the first speaks least against it
    ],
)
def test_the_window_is_nearer_to_the_label_than_to_others(rows, decisive):
    spans = [(0, 900), (850, 1_000), (1_000, 2_000)]

    assert window_of(0, ("a", "b"), rows, spans) == spans[decisive]


def test_a_filter_shows_the_window_nearest_to_its_label():
    assert window_of(0, ("a",), [0.5 * A, 0.9 * A], [(0, 900), (850, 1_000)]) == (850, 1_000)
