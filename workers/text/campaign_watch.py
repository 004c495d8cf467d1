"""What a campaign's stream looks like to who watches it: drift, from the posts that say something new."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from config import DriftSettings
from workers.text.drift import Drift, DriftMonitor, Reading
from workers.text.heads.base import Embeddings
from workers.text.lane import Fitted, Prediction

SAMPLE: Final = 256
"""Posts of a batch that are looked at; of more, evenly spread ones: drift shows in them as well."""

MAX_KNOWN: Final = 512
"""Phrases and examples that posts are held against for novelty; of more examples, evenly spread ones."""

MAX_WAITING: Final = 100
"""Drifts that nobody took yet; of more, the oldest go."""


def known_of(fitted: Fitted) -> Embeddings:
    """Embeddings of all that is known of the labels: phrases and examples, unit rows, at most MAX_KNOWN."""
    phrases, examples = fitted.space.phrase_embeddings, fitted.examples.embeddings
    left = max(MAX_KNOWN - len(phrases), 0)
    if len(examples) > left:
        examples = examples[np.linspace(0, len(examples) - 1, left).astype(np.int64)]
    return np.concatenate([phrases[:MAX_KNOWN], examples])


class CampaignWatch:
    """Watches one campaign. The model's thread feeds it, another may look on.

    Each text counts once while it is remembered: a story that is told a thousand times is a burst, no drift.

    Args:
        labels: names of the labels, in the order of probabilities.
        known: see known_of.
        settings: sizes of windows, and what is reported.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        labels: Sequence[str],
        known: Embeddings,
        settings: DriftSettings,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._monitor = DriftMonitor(labels, settings)
        self._known = known
        self._block_posts = settings.block_posts
        self._now = now
        self._found: deque[Drift] = deque(maxlen=MAX_WAITING)

    def see(self, prediction: Prediction, given: NDArray[np.bool_]) -> None:
        """Take in what a lane said of a batch.

        Args:
            prediction: of n texts.
            given: whether each got a label, shape (n,).
        """
        rows = np.arange(0, len(given), -(-len(given) // SAMPLE) or 1)
        probabilities, embeddings = prediction.probabilities[rows], prediction.embeddings[rows]
        best = probabilities.argmax(axis=1)
        labels = np.where(given[rows], best, -1)
        sure = probabilities[np.arange(len(rows)), best]
        novelty = 1 - (embeddings @ self._known.T).max(axis=1)
        at = self._now()
        for start in range(0, len(rows), self._block_posts):  # a large batch is several blocks
            part = slice(start, start + self._block_posts)
            mean = embeddings[part].mean(axis=0)
            drift = self._monitor.observe(labels[part], sure[part], novelty[part], mean, at)
            if drift is not None:
                self._found.append(drift)

    def reading(self) -> Reading:
        """Where the stream stands now."""
        return self._monitor.reading()

    def take(self) -> list[Drift]:
        """Drifts found since the last call."""
        taken = []
        while self._found:
            taken.append(self._found.popleft())
        return taken
