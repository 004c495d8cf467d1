"""Whether what corrections teach is published: measured, decided, and said why."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from schemas import Json, LabelSet
from workers.text.lane import Encode
from workers.text.learning.corrections import Correction, Pool
from workers.text.learning.examples import learned, same_examples, takes_none
from workers.text.learning.measure import Comparison, compare, wilson

FEWEST: Final = 2
"""Corrections below which nothing can be held back and something still be learned."""

MANY: Final = 30
"""Corrections from which on a candidate must measure better. Of fewer a measurement says little, and a
person's word more: it is learned unless that measures worse."""

WORSE: Final = 0.1
"""The probability of losses by chance below which few corrections are said to make labels worse."""

BETTER: Final = 0.25
"""The probability of gains by chance up to which many corrections are said to make labels better."""


@dataclass(frozen=True)
class Refit:
    """What came of the corrections.

    Attributes:
        label_set: to be published, with the version of the one in force; None where that one is kept.
        reason: one line for a person.
        comparison: the measurement; None where there was none.
        facts: figures for programs.
    """

    label_set: LabelSet | None
    reason: str
    comparison: Comparison | None
    facts: dict[str, Json]


def refit(label_set: LabelSet, pool: Pool, encode: Encode, *, most: int) -> Refit | None:
    """Learn corrections, and measure whether that helps.

    Args:
        label_set: in force.
        pool: all corrections for it.
        encode: embeds texts.
        most: examples learned for each label at most.

    Returns:
        None where the corrections hold nothing that the label set does not know.
    """
    candidate = learned(label_set, pool, encode, most)
    if same_examples(candidate, label_set):
        return None
    usable = answerable(label_set, pool.corrections)
    facts: dict[str, Json] = {"corrections": len(usable), "disputed": len(pool.disputed)}
    facts |= stream_accuracy(pool.corrections)
    if len(usable) < FEWEST:
        return Refit(None, f"{len(usable)} corrections; {FEWEST} are needed to measure", None, facts)
    found = compare(label_set, candidate, usable, encode)
    facts |= figures(found)
    if better(found):
        why = "better" if found.count >= MANY else "few corrections, and no worse by more than chance"
        return Refit(candidate, f"{why}: {_words(found)}", found, facts)
    why = "no better" if found.count >= MANY else "worse"
    return Refit(None, f"{why}: {_words(found)}", found, facts)


def better(found: Comparison) -> bool:
    """Whether a candidate is to be published; see MANY.

    Both agree on nearly all posts, so what counts is where they differ: a paired sign test. A candidate from
    many corrections must not lose macro F1 either, so that no rare label is given up for a frequent one.
    """
    if found.count < MANY:
        return found.bad_luck > WORSE
    no_label_lost = found.after.macro_f1 >= found.before.macro_f1
    return found.gained > found.lost and found.chance <= BETTER and no_label_lost


def answerable(label_set: LabelSet, corrections: Sequence[Correction]) -> list[Correction]:
    """Corrections that this label set could get right: of labels it has, or of none where it takes none."""
    names = {label.name for label in label_set.labels}
    none = takes_none(label_set)
    return [one for one in corrections if (set(one.labels) <= names if one.labels else none)]


def stream_accuracy(corrections: Sequence[Correction]) -> dict[str, Json]:
    """How right the labels on the stream are, by posts drawn by lot: a share, and its 95 % interval.

    Answers to posts that were chosen for being hard say nothing about the stream and are left out.
    """
    drawn = [one for one in corrections if one.random]
    if not drawn:
        return {}
    right = sum((one.given in one.labels) if one.labels else one.given is None for one in drawn)
    low, high = wilson(right, len(drawn))
    return {
        "stream_count": len(drawn),
        "stream_accuracy": round(right / len(drawn), 4),
        "stream_accuracy_low": round(low, 4),
        "stream_accuracy_high": round(high, 4),
    }


def figures(found: Comparison) -> dict[str, Json]:
    """Lay a measurement out for an event."""
    return {
        "measured": found.count,
        "accuracy": round(found.after.accuracy, 4),
        "accuracy_before": round(found.before.accuracy, 4),
        "macro_f1": round(found.after.macro_f1, 4),
        "macro_f1_before": round(found.before.macro_f1, 4),
        "gained": found.gained,
        "lost": found.lost,
        "chance": round(found.chance, 4),
    }


def _words(found: Comparison) -> str:
    before, after = found.before, found.after
    return (
        f"accuracy {before.accuracy:.0%} → {after.accuracy:.0%}, macro F1 {100 * before.macro_f1:.0f} → "
        f"{100 * after.macro_f1:.0f} on {found.count} held-back corrections "
        f"(+{found.gained} −{found.lost}, as good by chance: {found.chance:.0%})"
    )
