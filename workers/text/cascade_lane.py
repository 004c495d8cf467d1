"""The cascade: static vectors first, the sentence model where their margin is small.

The margin below which a post goes on is chosen on the unlabelled sample, by how often the static lane agrees
with the sentence lane there: the smallest share of posts that gives the agreement asked for, within a cap.
"""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.text.encoders import Encoders, LaneKind, Rows, TextBatch
from workers.text.heads.base import Examples
from workers.text.lane import Fitted, Knowledge, Prediction, SentenceLane
from workers.text.static_lane import MIN_FOR_STUDENT, StaticLane

DEFAULT_MARGIN: Final = 0.2
"""Where there is no sample: about a sixth of news, a third of tweets."""

Floats = NDArray[np.float32]


class CascadeLane:
    """Static first, sentence where the margin says so.

    Args:
        encoders: the models.
        agreement: share of posts whose label is to be the sentence lane's.
        max_share: at most this share of the sample goes on to the sentence model.
    """

    kind: LaneKind = "cascade"

    def __init__(self, encoders: Encoders, *, agreement: float, max_share: float) -> None:
        self.sentence = SentenceLane(encoders)
        self.static = StaticLane(encoders)
        self.name = f"{encoders.name}-cascade"
        self._encoders = encoders
        self.margin = DEFAULT_MARGIN
        self._agreement = agreement
        self._max_share = max_share

    def fit(self, knowledge: Knowledge) -> Fitted:
        """Fit the sentence lane, let the static one follow, and choose the margin."""
        fitted = self.sentence.fit(knowledge)
        self.margin = self._choose_margin(knowledge, fitted)
        self.static.follow(knowledge, fitted)
        return fitted

    def predict(self, batch: TextBatch, rows: Rows) -> Prediction:
        """Predict by the static lane, then again where it is not sure."""
        first = self.static.predict(batch, rows)
        unsure = np.flatnonzero(_margins(first.probabilities) < self.margin)
        if not len(unsure):
            return first
        second = self.sentence.predict(batch, rows[unsure])
        first.probabilities[unsure] = second.probabilities
        first.embeddings[unsure] = second.embeddings
        first.windows.update({int(unsure[i]): found for i, found in second.windows.items()})
        return first

    def _choose_margin(self, knowledge: Knowledge, fitted: Fitted) -> float:
        """Teach the static lane on two thirds of the sample and compare the lanes on the rest."""
        count = len(knowledge.unlabelled)
        if count < 2 * MIN_FOR_STUDENT:
            return DEFAULT_MARGIN
        held_out = np.arange(count) % 3 == 0
        taught = np.flatnonzero(~held_out)
        rest = np.flatnonzero(held_out)
        texts = tuple(knowledge.unlabelled[i] for i in taught)
        nothing = Examples(fitted.examples.embeddings[:0], fitted.examples.labels[:0])
        self.static.follow(
            replace(knowledge, unlabelled=texts, examples=(), example_labels=()),
            fitted._replace(unlabelled=fitted.unlabelled[taught], examples=nothing, wide=fitted.wide[taught]),
        )
        seen = self._encoders.batch([knowledge.unlabelled[i] for i in rest])
        static = self.static.predict(seen, np.arange(len(seen))).probabilities
        sentence = fitted.head.predict_proba(fitted.wide[rest])
        return margin_for(
            _margins(static),
            static.argmax(axis=1) == sentence.argmax(axis=1),
            agreement=self._agreement,
            max_share=self._max_share,
        )


def margin_for(margins: Floats, agree: NDArray[np.bool_], *, agreement: float, max_share: float) -> float:
    """The margin below which posts go on.

    Args:
        margins: shape (n,), of the static lane.
        agree: shape (n,), whether both lanes give the same label.
        agreement: share that is to agree once those below the margin have gone on.
        max_share: cap on the share that goes on.
    """
    order = np.argsort(margins, kind="stable")
    wrong_after = (~agree[order])[::-1].cumsum()[::-1]  # disagreements left if the first i go on
    allowed = (1 - agreement) * len(order) + 1e-9
    enough = np.flatnonzero(np.append(wrong_after, 0) <= allowed)
    going_on = min(int(enough[0]), int(max_share * len(order)))
    return float(margins[order[going_on]]) if going_on < len(order) else float("inf")


def _margins(probabilities: Floats) -> Floats:
    """The best two probabilities' difference; for a lone label the distance from one half, doubled."""
    if probabilities.shape[1] == 1:
        return np.asarray(np.abs(2 * probabilities[:, 0] - 1), np.float32)
    best = np.partition(probabilities, -2, axis=1)
    return np.asarray(best[:, -1] - best[:, -2], np.float32)
