"""None of these: a head whose rows sum to less than 1, the rest being posts about something else."""

import numpy as np
from numpy.typing import NDArray

from workers.text.heads.base import Embeddings, Examples, Head, LabelSpace
from workers.text.heads.independent import Similarity, fit_similarity
from workers.text.heads.level import Level, fit_level
from workers.text.heads.phrases import of_labels
from workers.text.heads.widening import narrow

BEST_OF_REST, BEST_OF_ABOUT = 0.07, 0.20
"""Similarity to the nearest label of posts about other things and of posts about one of them."""

SHARE_ABOUT = 0.5
"""Share of a stream that is about one of the labels, before anything is seen."""

COUNT = 60.0
"""Posts that the similarities above count for: a stream all of whose posts fit must not be cut in two."""


class OpenSetHead:
    """Another head's probabilities, times the probability that a post is about any of the labels at all.

    1 − the row's sum is the probability of none of these. How near a post and its neighbours lie to the
    nearest label tells (`independent`): the stream is split into two bells of that similarity, and examples
    of label −1 are clamped to the lower one.

    Args:
        head: tells the labels apart; not yet fitted.
    """

    def __init__(self, head: Head) -> None:
        self._head = head
        self.name = head.name
        self._similarity: Similarity | None = None
        self._level = Level(1.0, 0.0)

    def fit(self, space: LabelSpace, examples: Examples, unlabelled: Embeddings) -> None:
        """Fit both to labels, examples (label −1: none of them) and an unlabelled sample of the stream."""
        self._head.fit(space, of_labels(examples), unlabelled)
        # examples gather around their mean and would raise the level for others: only phrases measure
        nothing = Examples(examples.embeddings[:0], examples.labels[:0])
        similarity = fit_similarity(space, nothing, unlabelled)
        known = narrow(examples.embeddings, space.phrase_embeddings.shape[1])
        posts = np.concatenate([similarity.references, known]).astype(np.float32)
        measured = similarity.measure(posts).max(axis=1)
        unknown = np.full(len(similarity.references), np.nan)
        truth = np.concatenate([unknown, (examples.labels >= 0).astype(np.float64)])
        self._level = fit_level(
            measured, truth, rest=BEST_OF_REST, about=BEST_OF_ABOUT, share=SHARE_ABOUT, count=COUNT
        )
        self._similarity = similarity

    def predict_proba(self, embeddings: Embeddings) -> NDArray[np.float32]:
        """Probabilities, float32, shape (m, L); what a row lacks to 1 is none of these."""
        found = self._head.predict_proba(embeddings)
        if self._similarity is None:
            return found
        about = self._level.probability(self._similarity.measure(embeddings).max(axis=1))
        return np.asarray(found * about[:, None], dtype=np.float32)
