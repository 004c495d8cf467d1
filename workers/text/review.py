"""Which posts a person should look at: a fair sample, the least sure, and what is unlike all that is known.

On the thirteen events of crisis_events, with 2 % of posts answered, novel posts teach more than uncertain or
random ones (docs/benchmarks/loop.md); that novel posts have much company there makes no difference.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from schemas import Review
from schemas.loop import Why

WINDOW: Final = 2_048
"""Values that say which are extreme: a few minutes of a busy feed, a day of a quiet one."""

FEWEST: Final = 20
"""Values below which none is called extreme."""

MOST_OWED: Final = 4.0
"""Posts that a quiet time may leave owed: after it people aren't flooded."""

CONTEST: Final = 8.0
"""Posts that pass the threshold for each that is owed, so that the share is reached though values drift; the
greatest of a batch are taken."""

ALIKE: Final = 0.8
"""Cosine from which one post under review speaks for another: a burst is one question, not a hundred."""

MAX_KNOWN: Final = 128
"""Phrases and examples that novelty is measured by; of more, evenly spread ones: 1 µs a post."""

PICKED: Final = 128
"""Posts lately picked that others are held against."""

Floats = NDArray[np.float32]
Places = NDArray[np.int64]


class _Recent:
    """The last rows given, in a ring.

    Args:
        size: rows kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: NDArray[np.float32] | None = None
        self._seen = 0

    def add(self, rows: Floats) -> None:
        """Keep rows, shape (n, d) or (n,); of more than fit, evenly spread ones."""
        if len(rows) > self._size:
            rows = rows[np.linspace(0, len(rows) - 1, self._size).astype(np.int64)]
        if self._rows is None or self._rows.shape[1:] != rows.shape[1:]:
            self._rows, self._seen = np.zeros((self._size, *rows.shape[1:]), np.float32), 0
        self._rows[(self._seen + np.arange(len(rows))) % self._size] = rows
        self._seen += len(rows)

    def rows(self) -> Floats | None:
        """What is kept; None before the first."""
        return None if self._rows is None else self._rows[: min(self._seen, self._size)]


class _Extremes:
    """Gives leave to pick the greatest values of a stream, never more than a share of it.

    Args:
        share: in (0, 1].
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._window = _Recent(WINDOW)
        self._seen = 0
        self._owed = 0.0

    def passing(self, values: Floats) -> Places:
        """Places of the values beyond the threshold, greatest first; none while nothing may be picked.

        Args:
            values: of a batch, shape (n,).
        """
        self._window.add(values)
        self._seen += len(values)
        # what was owed before the batch is capped, the batch's own share never is
        self._owed = min(self._owed, MOST_OWED) + self._share * len(values)
        if self._seen < FEWEST or self._owed < 1.0:
            return np.empty(0, np.int64)
        window = self._window.rows()
        assert window is not None  # noqa: S101 - values were added above
        wide = min(1.0, self._share * CONTEST * min(self._owed, MOST_OWED))
        threshold = float(np.quantile(window, 1.0 - wide))
        beyond = np.flatnonzero(values >= threshold)
        return beyond[np.argsort(-values[beyond], kind="stable")]

    @property
    def leave(self) -> int:
        """How many may be picked now."""
        return int(self._owed)

    def picked(self, count: int) -> None:
        """Count posts as picked."""
        self._owed -= count


class ReviewPicker:
    """Picks posts of one campaign for review. Not thread-safe; no clock, the same input picks the same.

    `random` goes by a hash of the result's id, so that a replay picks the same; its share holds on average.
    `uncertain` and `novel` take what is extreme among the last WINDOW posts, and never exceed their share.
    Where embeddings are given, a post like one lately picked for its margin or novelty is passed over: a
    burst is one question.

    Args:
        review: the shares.
        seed: of the lot.
    """

    def __init__(self, review: Review, seed: int = 0) -> None:
        self._seed = seed
        self._lot = int(review.random * 2**64)
        self._uncertain = _Extremes(review.uncertain) if review.uncertain else None
        self._novel = _Extremes(review.novel) if review.novel else None
        self._picked = _Recent(PICKED)

    def pick(
        self,
        margins: Floats,
        novelty: Floats,
        keys: Sequence[str],
        embeddings: Floats | None = None,
    ) -> dict[int, tuple[Why, ...]]:
        """Pick posts of a batch.

        Args:
            margins: of the best label over the next, in [0, 1], shape (n,).
            novelty: 1 − cosine to the nearest phrase or example, in [0, 2], shape (n,).
            keys: the results' ids, n of them.
            embeddings: shape (n, d), unit rows.

        Returns:
            Places in the batch, rising, with all reasons that apply.
        """
        found: dict[int, list[Why]] = {}
        if self._lot and len(keys):
            digest, seed, lot = xxhash.xxh3_64_intdigest, self._seed, self._lot
            for place in [i for i, key in enumerate(keys) if digest(key.encode(), seed) < lot]:
                found[place] = ["random"]
        if len(keys) and self._uncertain is not None:
            places = self._uncertain.passing(-margins)
            for place in self._unlike(places, self._uncertain, embeddings):
                found.setdefault(place, []).append("uncertain")
        if len(keys) and self._novel is not None:
            places = self._novel.passing(novelty)
            for place in self._unlike(places, self._novel, embeddings):
                found.setdefault(place, []).append("novel")
        return {place: tuple(found[place]) for place in sorted(found)}

    def _unlike(self, places: Places, rule: _Extremes, embeddings: Floats | None) -> list[int]:
        """Of places in order, those that may be picked and are unlike all lately picked."""
        chosen: list[int] = []
        for place in places.tolist():
            if len(chosen) == rule.leave:
                break
            if embeddings is not None:
                row = embeddings[place : place + 1]
                before = self._picked.rows()
                if before is not None and float((before @ row[0]).max()) >= ALIKE:
                    continue
                self._picked.add(row)
            chosen.append(place)
        rule.picked(len(chosen))
        return chosen


class CampaignReview:
    """Picks for one campaign: by lot among all posts, by margin and novelty among what says something new.

    One thread owns it.

    Args:
        review: the shares.
        known: embeddings of what is known of the labels, unit rows.
        name: of the campaign; another draws another lot.
    """

    def __init__(self, review: Review, known: Floats, name: str) -> None:
        self.review = review
        self._known = known[:: -(-len(known) // MAX_KNOWN) or 1]
        seed = xxhash.xxh3_64_intdigest(name.encode())
        self._by_lot = ReviewPicker(Review(random=review.random, uncertain=0, novel=0), seed)
        self._by_rank = ReviewPicker(review.model_copy(update={"random": 0.0}), seed)

    def take_over(self, former: "CampaignReview") -> None:
        """Go on where a former version of the campaign stopped: what is owed, and what was asked lately."""
        if former.review == self.review:
            self._by_lot, self._by_rank = former._by_lot, former._by_rank

    def by_lot(self, ids: Sequence[str]) -> dict[int, tuple[Why, ...]]:
        """Places of the posts drawn: each has the same chance, copies of others too."""
        none = np.empty(0, np.float32)
        return self._by_lot.pick(none, none, ids)

    def by_rank(
        self, margins: Sequence[float], embeddings: Floats, ids: Sequence[str]
    ) -> dict[int, tuple[Why, ...]]:
        """Places of the texts that are unsure or new.

        Args:
            margins: n of them.
            embeddings: shape (n, d), unit rows.
            ids: of the posts that said them first.
        """
        novelty = 1 - (embeddings @ self._known.T).max(axis=1)
        return self._by_rank.pick(np.asarray(margins, np.float32), novelty, ids, embeddings)
