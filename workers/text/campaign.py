"""A campaign: one label set, fitted and in force. It never changes; a new version is a new campaign."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from config import DriftSettings
from schemas import LabelSet, Review, TextResult, Why
from workers.text.campaign_watch import CampaignWatch
from workers.text.duplicates import CAPACITY, Remembered
from workers.text.encoders import Encoders, LaneKind, PreparedPost, Rows, TextBatch
from workers.text.evidence import NearestText, words_that_counted
from workers.text.filters import PostFilter
from workers.text.heads.base import Embeddings
from workers.text.lane import Knowledge, Lane, Prediction
from workers.text.results import Answer, rank, result_of, shared_fields
from workers.text.review import CampaignReview

MIN_REMEMBERED: Final = 1_000
"""Answers a campaign remembers at least, however many campaigns share the memory."""


class LookedUp(NamedTuple):
    """Posts that a campaign is for, and what it knows of them.

    Attributes:
        posts: the posts.
        found: answers by fingerprint, each with the id of the post that said it first.
        new: places of the posts that say something first.
        rows: rows of the batch that hold what they say.
    """

    posts: Sequence[PreparedPost]
    found: dict[int, tuple[str, Answer]]
    new: list[int]
    rows: Rows


class Campaign:
    """Labels posts with one label set. One thread at a time calls `answer`; the rest is only read.

    Args:
        label_set: the labels.
        version: as it stands in results.
        knowledge: what is known of the labels.
        lane: fitted to it.
        threshold: the probability below which no label is given.
        known: embeddings of all that is known of the labels, by which novelty is measured.
        nearest: finds evidence; None where there is to be none.
        explain: the models, where results are to name the words that counted.
        review: which share of the posts a person should look at; None: of none.
        capacity: answers remembered, for posts that say the same.
    """

    def __init__(
        self,
        label_set: LabelSet,
        version: str,
        knowledge: Knowledge,
        lane: Lane,
        *,
        threshold: float,
        known: Embeddings,
        nearest: NearestText | None,
        explain: Encoders | None,
        review: Review | None = None,
        capacity: int = CAPACITY,
    ) -> None:
        self.label_set = label_set
        self.name = label_set.name
        self.version = version
        self.model = lane.name
        self.kind: LaneKind = lane.kind
        self.filter = PostFilter(label_set.filters) if label_set.filters is not None else None
        self._knowledge = knowledge
        self._lane = lane
        self._threshold = threshold
        self._known = known
        self.watch: CampaignWatch | None = None
        """Looks for drift, where somebody wants to know."""
        self._nearest = nearest
        self._explain = explain
        self._shared = shared_fields(self.model, self.name, self.version)
        self._review = None if review is None else CampaignReview(review, known, self.name)
        self._remembered: Remembered[Answer] = Remembered(max(capacity, MIN_REMEMBERED))

    def look_up(self, posts: Sequence[PreparedPost], rows: dict[int, int]) -> "LookedUp":
        """Find which posts say what has been answered before.

        Args:
            posts: those that the campaign is for.
            rows: the row of the batch that holds what a fingerprint stands for.
        """
        found: dict[int, tuple[str, Answer]] = {}
        new: dict[int, int] = {}
        for place, post in enumerate(posts):
            said = post.said
            if said in new or said in found:
                continue
            known = self._remembered.find(said)
            if known is None:
                new[said] = place
            else:
                found[said] = known
        return LookedUp(posts, found, list(new.values()), np.array([rows[said] for said in new], np.int64))

    def answer(self, looked_up: "LookedUp", batch: TextBatch) -> list[TextResult]:
        """Give each post its result; posts that say the same share one inference.

        Args:
            looked_up: what `look_up` found for them.
            batch: their texts.
        """
        posts, found, new = looked_up.posts, looked_up.found, looked_up.new
        ids = [posts[place].post.id for place in new]
        answers, picked = self._answers(batch, looked_up.rows, ids)
        for place, identity, answer in zip(new, ids, answers, strict=True):
            said = posts[place].said
            found[said] = (identity, answer)
            if answer.finite:  # else each that says the same is tried by itself
                self._remembered.keep(said, identity, answer)
        why: dict[int, tuple[Why, ...]] = {}
        if self._review is not None:
            why = self._review.by_lot([post.post.id for post in posts])
            for at, reasons in picked.items():
                why[new[at]] = (*why.get(new[at], ()), *reasons)
        results: list[TextResult] = [
            result_of(found[post.said][1], post.post.id, found[post.said][0]) for post in posts
        ]
        for place, reasons in why.items():
            results[place].__dict__["review"] = reasons
        return results

    def follow(self, former: "Campaign") -> None:
        """Go on where a former version stopped: what was asked lately is not asked again."""
        if self._review is not None and former._review is not None:
            self._review.take_over(former._review)

    def forget(self) -> None:
        """Forget all answers."""
        self._remembered.clear()

    def _answers(
        self, batch: TextBatch, rows: Rows, ids: Sequence[str]
    ) -> tuple[list[Answer], dict[int, tuple[Why, ...]]]:
        """Answers to new texts, and which of them a person should look at."""
        if not len(rows):
            return [], {}
        prediction = self._lane.predict(batch, rows)
        probabilities = prediction.probabilities
        names = self._knowledge.names
        evidence: Sequence[dict[str, object] | None] = [None] * len(rows)
        if self._nearest is not None:
            evidence = self._nearest.find(prediction)
            if self._explain is not None:
                for at, (row, facts) in enumerate(zip(rows.tolist(), evidence, strict=True)):
                    self._add_words(self._explain, batch.texts[row], facts, prediction, at)
        finite = np.asarray(np.isfinite(probabilities).all(axis=1))
        known: NDArray[np.bool_] = probabilities.max(axis=1).round(6) >= self._threshold
        if self._knowledge.none_of_these:
            known &= probabilities.max(axis=1) >= 1 - probabilities.sum(axis=1)
        if self.watch is not None:
            self.watch.see(prediction, known)
        orders, ordered, margins = rank(probabilities)
        picked = self._review.by_rank(margins, prediction.embeddings, ids) if self._review else {}
        made = []
        for order, values, margin, sound, given, facts in zip(
            orders, ordered, margins, finite.tolist(), known.tolist(), evidence, strict=True
        ):
            sorted_names = [names[i] for i in order]
            held: tuple[str, ...] | None = None
            if self.label_set.multi_label:
                pairs = zip(sorted_names, values, strict=True)
                held = tuple(name for name, value in pairs if value >= self._threshold)
            made.append(
                Answer(
                    self._shared,
                    sorted_names[0] if given else None,
                    sorted_names,
                    values,
                    margin,
                    sound,
                    held,
                    facts,
                )
            )
        return made, picked

    def watch_drift(self, settings: DriftSettings) -> None:
        """Look for drift from now on."""
        self.watch = CampaignWatch(self._knowledge.names, self._known, settings)

    def _add_words(
        self, encoders: Encoders, text: str, facts: dict[str, object] | None, prediction: Prediction, at: int
    ) -> None:
        """Name the words that counted most."""
        row = prediction.probabilities[at]
        label = int(row.argmax())

        def predict(texts: Sequence[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
            return self._lane.predict(encoders.batch(texts), np.arange(len(texts))).probabilities

        words = words_that_counted(text, label, float(row[label]), predict)
        if words and facts is not None:
            facts["words"] = words
