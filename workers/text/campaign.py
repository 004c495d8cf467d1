"""A campaign: one label set, fitted and in force. It never changes; a new version is a new campaign."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from config import DriftSettings, TextSettings
from schemas import Abstain, LabelSet, Review, TextResult, Why
from workers.errors import FatalError
from workers.text.campaign_watch import CampaignWatch, known_of
from workers.text.cascade_lane import CascadeLane
from workers.text.duplicates import CAPACITY, Remembered
from workers.text.encoders import Encoders, LaneKind, PreparedPost, Rows, TextBatch
from workers.text.evidence import NearestText, words_that_counted
from workers.text.filters import PostFilter
from workers.text.heads.abstain import choose_threshold
from workers.text.heads.base import Embeddings
from workers.text.lane import Fitted, Knowledge, Lane, Prediction, SentenceLane, read_knowledge
from workers.text.results import Answer, rank, result_of, shared_fields
from workers.text.review import CampaignReview
from workers.text.static_lane import StaticLane

DEFAULT_THRESHOLD: Final = 0.5
"""The probability from which a label of a multi-label set, or the one label of a filter, holds."""

THRESHOLD_SAMPLE: Final = 2_000
"""Posts of the sample that a threshold is chosen on: enough to place a quantile within a point."""

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


def fit_campaign(
    settings: TextSettings,
    encoders: Encoders,
    label_set: LabelSet,
    examples: Sequence[tuple[str, str | None]] = (),
    unlabelled: Sequence[str] = (),
    threshold_sample: Sequence[str] = (),
    *,
    review: Review | None = None,
    capacity: int = CAPACITY,
) -> Campaign:
    """Fit to a label set; this takes tens of milliseconds to some seconds.

    Args:
        settings: the text section.
        encoders: loaded.
        label_set: what to label with.
        examples: (text, label name) pairs beside those in the label set; None: none of the labels.
        unlabelled: texts of the stream to adapt to, beside the label set's own.
        threshold_sample: texts of the stream that a threshold is chosen on without adapting to them, where
            there is nothing unlabelled.
        review: a Campaign's.
        capacity: a Campaign's.

    Raises:
        FatalError: reason configuration: an example has a label that the set does not have, or the set asks
            for a model that these encoders are not.
    """
    knowledge = read_knowledge(label_set, examples, (*label_set.sample, *unlabelled))
    lane = _create_lane(settings, encoders, label_set)
    fitted = lane.fit(knowledge)
    sample = (knowledge.unlabelled or tuple(threshold_sample))[:THRESHOLD_SAMPLE]
    nearest = None
    if settings.explain or lane.kind != "static":  # there it would cost a quarter of the time
        nearest = NearestText(knowledge, fitted)
    return Campaign(
        label_set,
        _version(label_set, examples, unlabelled or threshold_sample),
        knowledge,
        lane,
        threshold=_threshold(label_set, knowledge, lane, fitted, encoders.batch(sample)),
        known=known_of(fitted),
        nearest=nearest,
        explain=encoders if settings.explain else None,
        review=review,
        capacity=capacity,
    )


def lane_kind(settings: TextSettings, encoders: Encoders, label_set: LabelSet) -> LaneKind:
    """The lane that a label set is labelled by: the worker's own, where somebody chose it, else the set's.

    Raises:
        FatalError: reason configuration: the label set names a model that this worker does not have.
    """
    named = label_set.model
    kinds: dict[str, LaneKind] = {"sentence": "sentence", "static": "static", "cascade": "cascade"}
    own = kinds.get(settings.model, "sentence")
    if named is None:
        return own
    if named not in kinds and named not in (encoders.name, encoders.sentence.source):
        raise FatalError(
            f"label set {label_set.name!r} asks for the model {named[:100]!r}; this worker has "
            f"{encoders.name} (sentence, static or cascade)",
            reason="configuration",
        )
    return own if "model" in settings.model_fields_set else kinds.get(named, "sentence")


def _create_lane(settings: TextSettings, encoders: Encoders, label_set: LabelSet) -> Lane:
    kind = lane_kind(settings, encoders, label_set)
    if kind == "static":
        return StaticLane(encoders)
    if kind == "cascade":
        return CascadeLane(
            encoders, agreement=settings.cascade_agreement, max_share=settings.cascade_max_share
        )
    return SentenceLane(encoders)


def _threshold(
    label_set: LabelSet, knowledge: Knowledge, lane: Lane, fitted: Fitted, sample: TextBatch
) -> float:
    """The probability below which no label is given, by the label set's rule and the sample of the stream."""
    rule = label_set.abstain
    if rule is None or rule == Abstain():
        return DEFAULT_THRESHOLD if knowledge.independent else 0.0
    if rule.threshold is not None:
        return rule.threshold
    stream = lane.predict(sample, np.arange(len(sample))).probabilities.max(axis=1)
    validation = getattr(fitted.head, "validation", None)
    if validation is None:
        return choose_threshold(rule, stream)
    right = validation.probabilities.argmax(axis=1) == validation.labels
    return choose_threshold(rule, stream, validation.probabilities.max(axis=1), right)


def _version(
    label_set: LabelSet, examples: Sequence[tuple[str, str | None]], unlabelled: Sequence[str]
) -> str:
    """The label set's version, with a hash of the examples and the sample that stand beside it."""
    version = str(label_set.version)
    if not examples and not unlabelled:
        return version
    digest = xxhash.xxh3_64()
    for text, name in examples:
        digest.update(f"{len(text)}:{text}{name or ''}\n".encode(errors="surrogatepass"))
    for text in unlabelled:
        digest.update(f"{len(text)}:{text}\n".encode(errors="surrogatepass"))
    return f"{version}+{digest.hexdigest()[:8]}"
