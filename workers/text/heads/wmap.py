"""The classic `wmap`: a linear map fitted on the examples, in closed form, and held near the identity."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.text.heads.base import Embeddings, Examples, LabelSpace
from workers.text.heads.mixture import softmax
from workers.text.heads.phrases import SHARPNESS, filter_probability, of_labels, prototypes, unit_rows
from workers.text.heads.whitening import Matrix

PENALTIES: Final = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""λ to choose from, for unit rows."""

DEFAULT_PENALTY: Final = 1.0
"""λ where there are too few examples to choose by: the best on AG News with unit rows."""

FEWEST_TO_CHOOSE: Final = 4
"""Examples below which leaving one out says nothing."""


class WmapHead:
    """Posts are moved towards their labels by W, the minimiser of ‖XW − Y‖² + λ‖W − I‖².

    W = (XᵀX + λI)⁻¹(XᵀY + λI), with X the examples and Y the label prototype of each; without an example
    W = I, which is zero-shot. It is applied to posts only, never to labels. XᵀX and XᵀY are sums, so an
    example is added or taken back exactly, at once (`add_examples`, `remove_examples`).

    λ is chosen by leaving one out, in closed form: V = W − I is a ridge of Y − X on X, and its residual
    without example i is its residual with it over 1 − hᵢᵢ.

    Source: Cloudera Fast Forward, "Few-Shot Text Classification" (2020), where W came from SGD; the closed
    form and λ by leaving one out are ours.

    Args:
        mapping: a map to apply first, Z of `zmap`, shape (d, e); none where left out.
    """

    name = "wmap"

    def __init__(self, mapping: Matrix | None = None) -> None:
        self._mapping = mapping
        self._width = 0
        self._centres = np.zeros((0, 0))
        self._gram = np.zeros((0, 0))
        self._cross = np.zeros((0, 0))
        self.penalty = DEFAULT_PENALTY
        self._map: Matrix = np.zeros((0, 0))

    def fit(self, space: LabelSpace, examples: Examples, unlabelled: Embeddings) -> None:  # noqa: ARG002
        """Choose λ and fit W; unlabelled posts play no part."""
        known = of_labels(examples)
        self._width = space.phrase_embeddings.shape[1]
        self._centres = self._mapped(prototypes(space))
        width = self._centres.shape[1]
        self._gram, self._cross = np.zeros((width, width)), np.zeros((width, width))
        self.penalty = self._best_penalty(known)
        self._change(known, 1.0)

    def add_examples(self, examples: Examples) -> None:
        """Learn further examples of the same labels, at the λ in force."""
        self._change(of_labels(examples), 1.0)

    def remove_examples(self, examples: Examples) -> None:
        """Take back examples that were learned: the same as never having seen them, up to rounding."""
        self._change(of_labels(examples), -1.0)

    def predict_proba(self, embeddings: Embeddings) -> NDArray[np.float32]:
        """Probabilities, float32, shape (m, L)."""
        cosines = unit_rows(self._mapped(embeddings) @ self._map) @ self._centres.T
        if cosines.shape[1] == 1:
            return filter_probability(cosines)
        return softmax(SHARPNESS * cosines).astype(np.float32)

    def _mapped(self, rows: Embeddings | Matrix) -> Matrix:
        own = rows[:, : self._width]
        return unit_rows(own if self._mapping is None else own @ self._mapping)

    def _change(self, examples: Examples, sign: float) -> None:
        rows, targets = self._mapped(examples.embeddings), self._centres[examples.labels]
        self._gram = self._gram + sign * (rows.T @ rows)
        self._cross = self._cross + sign * (rows.T @ targets)
        held = self.penalty * np.eye(len(self._gram))
        self._map = np.asarray(np.linalg.solve(self._gram + held, self._cross + held), dtype=np.float64)

    def _best_penalty(self, examples: Examples) -> float:
        """Choose λ by the log-loss of each example under the map fitted without it."""
        if len(examples.labels) < FEWEST_TO_CHOOSE or len(self._centres) < 2:
            return DEFAULT_PENALTY
        rows, targets = self._mapped(examples.embeddings), self._centres[examples.labels]
        left, values, _ = np.linalg.svd(rows, full_matrices=False)
        shift = targets - rows
        losses = []
        for penalty in PENALTIES:
            kept = left * (values**2 / (values**2 + penalty))
            leverage = np.einsum("ij,ij->i", kept, left)[:, None]
            fitted = kept @ (left.T @ shift)
            without = rows + (fitted - leverage * shift) / np.maximum(1.0 - leverage, 1e-6)
            sure = softmax(SHARPNESS * (unit_rows(without) @ self._centres.T))
            losses.append(-float(np.log(sure[np.arange(len(rows)), examples.labels] + 1e-12).mean()))
        return PENALTIES[int(np.argmin(losses))]
