"""Why a label was given: the nearest phrase or example, the window that decided, the words that counted."""

import re
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.text.heads.base import Embeddings, PhraseKind
from workers.text.lane import Fitted, Knowledge, Prediction

MAX_EXAMPLES: Final = 256
"""Examples a label that are looked through for the nearest; of more, evenly spread ones."""

MAX_NEAREST_CHARS: Final = 500
"""Characters of the nearest text that are shown."""

MAX_WORDS: Final = 32
"""Words of a text that are left out in turn; of more, the first."""

TOP_WORDS: Final = 5
"""Words named in the evidence."""

_WORD: Final = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]+")

Probabilities = NDArray[np.float32]


class NearestText:
    """Finds the phrase or example of a label that is nearest to a text.

    Args:
        knowledge: the texts.
        fitted: the same, embedded.
    """

    def __init__(self, knowledge: Knowledge, fitted: Fitted) -> None:
        self._texts: list[str] = []
        self._kinds: list[PhraseKind | str] = []
        chosen: list[NDArray[np.float32]] = []
        owners: list[int] = []
        for label in range(len(knowledge.names)):
            phrases = np.flatnonzero(fitted.space.phrase_labels == label)
            examples = np.flatnonzero(fitted.examples.labels == label)
            if len(examples) > MAX_EXAMPLES:
                examples = examples[np.linspace(0, len(examples) - 1, MAX_EXAMPLES).astype(np.int64)]
            texts = [knowledge.phrases[i] for i in phrases] + [knowledge.examples[i] for i in examples]
            self._texts += [text[:MAX_NEAREST_CHARS] for text in texts]
            self._kinds += [knowledge.phrase_kinds[i] for i in phrases] + ["example"] * len(examples)
            chosen += [fitted.space.phrase_embeddings[phrases], fitted.examples.embeddings[examples]]
            owners += [label] * (len(phrases) + len(examples))
        self._rows = np.concatenate(chosen)
        self._owners = np.array(owners)

    def find(self, prediction: Prediction) -> list[dict[str, object]]:
        """The evidence for the best label of each text, as fields of an Evidence."""
        best = prediction.probabilities.argmax(axis=1)
        similarities = prediction.embeddings @ self._rows.T
        similarities[self._owners[None, :] != best[:, None]] = -np.inf
        nearest = similarities.argmax(axis=1)
        values = np.round(similarities[np.arange(len(best)), nearest].astype(np.float64), 4).tolist()
        made: list[dict[str, object]] = []
        for index, (at, similarity) in enumerate(zip(nearest.tolist(), values, strict=True)):
            facts: dict[str, object] = {
                "nearest": self._texts[at],
                "nearest_kind": self._kinds[at],
                "nearest_similarity": similarity,
            }
            if index in prediction.windows:
                facts["window"] = self._decisive(*prediction.windows[index], int(best[index]))
            made.append(facts)
        return made

    def _decisive(self, spans: list[tuple[int, int]], rows: Embeddings, label: int) -> tuple[int, int]:
        """The window that speaks most for a label: nearer to it than to all others, by its length.

        Of 68 documents put together from four articles it lies in one of the label's 98.5 % of the time; the
        window nearest to the label 94.1 %, and too often the last, which is short and so says one thing.
        """
        near, own = rows @ self._rows.T, self._owners == label
        gain = near[:, own].max(axis=1)
        if not own.all():
            gain -= near[:, ~own].max(axis=1)
            lengths = np.array([end - start for start, end in spans], np.float32)
            gain[gain > 0] *= lengths[gain > 0]
        return spans[int(gain.argmax())]


def words_that_counted(
    text: str, label: int, probability: float, predict: Callable[[Sequence[str]], Probabilities]
) -> tuple[tuple[str, float], ...]:
    """Leave each word out in turn and see how much less the label is likely.

    Args:
        text: the text.
        label: the label asked about.
        probability: of the label, for the whole text.
        predict: texts to probabilities, shape (m, L).

    Returns:
        Words with their share of all that was lost, greatest first; empty where no word counts.
    """
    spans = [found.span() for found in _WORD.finditer(text)][:MAX_WORDS]
    if len(spans) < 2:
        return ()
    without = [f"{text[:start]} {text[end:]}" for start, end in spans]
    lost = np.maximum(probability - predict(without)[:, label], 0)
    total = float(lost.sum())
    if total < 1e-6:
        return ()
    order = np.argsort(-lost, kind="stable")[:TOP_WORDS]
    return tuple(
        (text[spans[i][0] : spans[i][1]], round(float(lost[i]) / total, 4)) for i in order if lost[i] > 0
    )
