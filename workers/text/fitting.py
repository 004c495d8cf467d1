"""From a label set to a campaign: the lane that it asks for, fitted, and its threshold."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import xxhash

from config import TextSettings
from schemas import Abstain, LabelSet, Review
from workers.errors import FatalError
from workers.text.campaign import Campaign
from workers.text.campaign_watch import known_of
from workers.text.cascade_lane import CascadeLane
from workers.text.duplicates import CAPACITY
from workers.text.encoders import Encoders, LaneKind, TextBatch
from workers.text.evidence import NearestText
from workers.text.heads.abstain import choose_threshold
from workers.text.lane import Fitted, Knowledge, Lane, SentenceLane, read_knowledge
from workers.text.static_lane import StaticLane

DEFAULT_THRESHOLD: Final = 0.5
"""The probability from which a label of a multi-label set, or the one label of a filter, holds."""

THRESHOLD_SAMPLE: Final = 2_000
"""Posts of the sample that a threshold is chosen on: enough to place a quantile within a point."""


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
    lane = create_lane(lane_kind(settings, encoders, label_set), settings, encoders)
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


def create_lane(kind: LaneKind, settings: TextSettings, encoders: Encoders) -> Lane:
    """Make a lane that is yet to be fitted, as a worker has it."""
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
