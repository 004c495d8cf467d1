"""What is doubtful about a label set that can be read: labels alike, little said, contradicting examples."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Final, Literal

from schemas import Label, LabelSet

ALIKE: Final = 0.8
"""The share of common words from which two descriptions say the same."""

MANY_EXAMPLES: Final = 20
"""A label with this many examples outweighs one with none."""

IMBALANCE: Final = 20
"""Times the examples of another label from which one is said to be swamped."""

Severity = Literal["problem", "advice"]


@dataclass(frozen=True)
class LintWarning:
    """One thing to look at.

    Attributes:
        severity: a problem makes labels wrong; advice would make them better.
        labels: the labels it is about.
        message: one line for a person.
    """

    severity: Severity
    labels: tuple[str, ...]
    message: str


def lint(label_set: LabelSet) -> list[LintWarning]:
    """Look a label set over; problems first."""
    found = [*_alike(label_set), *_contradictions(label_set), *_repeats(label_set), *_silent(label_set)]
    found += [*_uneven(label_set), *_abstaining(label_set)]
    return sorted(found, key=lambda warning: warning.severity != "problem")


def _words(text: str) -> frozenset[str]:
    """The words of a text without case, punctuation and plural s."""
    return frozenset(word.removesuffix("s") for word in re.findall(r"\w+", text.casefold()))


def _said(label: Label) -> list[str]:
    return [text for text in (label.description, *label.phrasings) if text]


def _alike(label_set: LabelSet) -> Iterator[LintWarning]:
    names = [_words(label.name.replace("_", " ")) for label in label_set.labels]
    said = [_words(" ".join(_said(label))) for label in label_set.labels]
    for (i, one), (j, two) in combinations(enumerate(label_set.labels), 2):
        pair = (one.name, two.name)
        if names[i] and names[i] == names[j]:
            yield LintWarning("problem", pair, f"{one.name!r} and {two.name!r} are the same words")
        elif said[i] and said[j] and len(said[i] & said[j]) >= ALIKE * len(said[i] | said[j]):
            yield LintWarning(
                "problem", pair, f"{one.name!r} and {two.name!r} are described alike: posts fall to either"
            )
        for phrase in sorted(set(map(_plain, _said(one))) & set(map(_plain, _said(two)))):
            yield LintWarning(
                "problem", pair, f"{one.name!r} and {two.name!r} share the phrase {phrase[:60]!r}"
            )


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _contradictions(label_set: LabelSet) -> Iterator[LintWarning]:
    if label_set.multi_label:  # a text may have two labels there
        return
    owners: dict[str, str] = {}
    for label in label_set.labels:
        for example in label.examples:
            other = owners.setdefault(_plain(example), label.name)
            if other != label.name:
                yield LintWarning(
                    "problem",
                    (other, label.name),
                    f"an example of {label.name!r} is also one of {other!r}: {_plain(example)[:60]!r}",
                )


def _repeats(label_set: LabelSet) -> Iterator[LintWarning]:
    for label in label_set.labels:
        repeated = len(label.examples) - len(set(map(_plain, label.examples)))
        if repeated:
            yield LintWarning("advice", (label.name,), f"{label.name!r}: {repeated} examples stand twice")
        blank = sum(not example.strip() for example in (*label.examples, *_said(label), label.name))
        if blank:
            yield LintWarning("problem", (label.name,), f"{label.name!r}: {blank} of its texts are blank")


def _silent(label_set: LabelSet) -> Iterator[LintWarning]:
    for label in label_set.labels:
        if not _said(label) and not label.examples:
            yield LintWarning(
                "advice",
                (label.name,),
                f"{label.name!r} has its name only: a description or phrasings would help",
            )
        elif not label.description and not label.phrasings:
            yield LintWarning("advice", (label.name,), f"{label.name!r} has no description")


def _uneven(label_set: LabelSet) -> Iterator[LintWarning]:
    if len(label_set.labels) < 2:
        return
    counts = {label.name: len(label.examples) for label in label_set.labels}
    most = max(counts, key=lambda name: counts[name])
    least = min(counts, key=lambda name: counts[name])
    if counts[most] >= max(MANY_EXAMPLES, IMBALANCE * counts[least]):
        yield LintWarning(
            "advice", (most, least), f"{most!r} has {counts[most]} examples and {least!r} {counts[least]}"
        )


def _abstaining(label_set: LabelSet) -> Iterator[LintWarning]:
    abstain = label_set.abstain
    if abstain and abstain.precision and not any(label.examples for label in label_set.labels):
        yield LintWarning(
            "advice",
            (),
            "abstain.precision without an example is an estimate: examples make it hold",
        )
