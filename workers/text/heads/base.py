"""The contract of a head: label probabilities from embeddings, fitted without fine-tuning the encoder."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Embeddings = NDArray[np.float32]
"""float32, shape (n, d), L2-normalised rows.

Those of examples and posts may be wide, shape (n, d + e): behind the d numbers of the embedding stand as many
unit rows of the model's middle layers (`widening`). Phrases are never wide, which tells d."""

PhraseKind = Literal["name", "description", "phrasing"]


@dataclass(frozen=True)
class LabelSpace:
    """The labels and what is said of them, embedded.

    Attributes:
        names: the L label names, in the order of the label set.
        phrases: the P texts that describe labels.
        phrase_labels: int64, shape (P,): the label each phrase describes, in [0, L).
        phrase_kinds: what each phrase is, length P.
        phrase_embeddings: float32, shape (P, d), unit rows.
        framed_embeddings: the same in sentences about a text (`phrases.frame`), shape (P, d), unit rows;
            None where only the phrases themselves are known.
    """

    names: tuple[str, ...]
    phrases: tuple[str, ...]
    phrase_labels: NDArray[np.int64]
    phrase_kinds: tuple[PhraseKind, ...]
    phrase_embeddings: Embeddings
    framed_embeddings: Embeddings | None = None


@dataclass(frozen=True)
class Examples:
    """Labelled examples, embedded; n may be 0.

    Attributes:
        embeddings: float32, shape (n, d), unit rows.
        labels: int64, shape (n,), in [0, L), or -1 for an example that is about none of the labels.
    """

    embeddings: Embeddings
    labels: NDArray[np.int64]


class Head(Protocol):
    """A classifier over embeddings. Fitting replaces all former state; predicting is thread-safe.

    A head that has no use for the middle layers' part of wide rows leaves it aside.
    """

    name: str

    def fit(self, space: LabelSpace, examples: Examples, unlabelled: Embeddings) -> None:
        """Fit to labels, examples (n may be 0) and an unlabelled sample of the stream (may be empty)."""

    def predict_proba(self, embeddings: Embeddings) -> NDArray[np.float32]:
        """Probabilities.

        Args:
            embeddings: shape (m, d), unit rows.

        Returns:
            float32, shape (m, L), in [0, 1]; rows sum to 1 unless the head is multi-label.
        """
