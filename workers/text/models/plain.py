"""What one writes first: `SentenceTransformer.encode` and the nearest label. Benchmarks measure against it.

Nothing of a worker imports this; torch is imported when it is loaded.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from schemas import LabelSet
from workers.text.models.sentence import BUNDLED_NAME, bundled_folder


class PlainLabeller:
    """Texts to labels by torch, as sentence-transformers comes: float32, all cores, batches of 32.

    Args:
        label_set: what to label with.
        source: a name or folder of sentence-transformers; `sentence` is the bundled model.
    """

    def __init__(self, label_set: LabelSet, source: str = "sentence") -> None:
        self._label_set = label_set
        self._source = source
        self._model: Any = None
        self._labels: Any = None

    def load(self) -> None:
        """Load the model and embed each label's name and description."""
        from sentence_transformers import SentenceTransformer

        source = bundled_folder() if self._source in ("sentence", BUNDLED_NAME) else self._source
        self._model = SentenceTransformer(source, device="cpu")
        said = [f"{label.name}: {label.description or label.name}" for label in self._label_set.labels]
        self._labels = self._model.encode(said, normalize_embeddings=True)

    def label_one(self, text: str) -> tuple[str, float]:
        """The nearest label and its cosine similarity, by a call of `encode` for this text alone."""
        return self._nearest(self._model.encode(text, normalize_embeddings=True)[None])[0]

    def label(self, texts: Sequence[str]) -> list[tuple[str, float]]:
        """The nearest label of each text, by one call of `encode`."""
        return self._nearest(self._model.encode(list(texts), normalize_embeddings=True))

    def _nearest(self, rows: Any) -> list[tuple[str, float]]:
        similarities = np.asarray(rows) @ self._labels.T
        best = similarities.argmax(axis=1)
        names = [label.name for label in self._label_set.labels]
        return [(names[i], float(row[i])) for i, row in zip(best.tolist(), similarities, strict=True)]
