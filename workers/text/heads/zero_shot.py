"""The classic `zero_shot`: the label whose text lies closest."""

import numpy as np
from numpy.typing import NDArray

from workers.text.heads.base import Embeddings, Examples, LabelSpace
from workers.text.heads.mixture import softmax
from workers.text.heads.phrases import SHARPNESS, filter_probability, prototypes, unit_rows
from workers.text.heads.widening import narrow


class ZeroShotHead:
    """Cosine between a post and each label's phrases, averaged to one prototype a label.

    Probabilities are a softmax over 20 · cosine. Examples and the unlabelled sample are not used. Broad
    label names attract everything ("funny" took up to two thirds of ten subreddits): a description helps.

    Source: Reimers and Gurevych, "Sentence-BERT" (2019), as used for labels by Veeranna et al. (2016).
    """

    name = "zero_shot"

    def __init__(self) -> None:
        self._centres = np.zeros((0, 0))

    def fit(self, space: LabelSpace, examples: Examples, unlabelled: Embeddings) -> None:  # noqa: ARG002
        """Take the labels' prototypes; examples and unlabelled posts play no part."""
        self._centres = prototypes(space)

    def predict_proba(self, embeddings: Embeddings) -> NDArray[np.float32]:
        """Probabilities, float32, shape (m, L)."""
        cosines = unit_rows(narrow(embeddings, self._centres.shape[1])) @ self._centres.T
        if cosines.shape[1] == 1:
            return filter_probability(cosines)
        return softmax(SHARPNESS * cosines).astype(np.float32)
