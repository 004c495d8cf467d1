"""What is doubtful about a label set that can be read: labels alike, little said, contradicting examples."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Final, Literal

from schemas import Label, LabelSet
from workers.text.duplicates import fingerprint

ALIKE: Final = 0.8
"""The share of common words from which two descriptions say the same."""

MANY_EXAMPLES: Final = 20
"""A label with this many examples outweighs one with none."""

IMBALANCE: Final = 20
"""Times the examples of another label from which one is said to be swamped."""

FEW: Final = 4
"""Labels that the same advice is given to one by one; more are named in one line."""

NAMED: Final = 8
"""Labels named in a line that is about more."""

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
    found += [*_uneven(label_set), *_foreign(label_set), *_abstaining(label_set)]
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
    """Copies count as the same: without case, punctuation, links and mentions, as posts are compared."""
    if label_set.multi_label:  # a text may have two labels there
        return
    owners: dict[int, str] = {}
    for label in label_set.labels:
        for example in label.examples:
            other = owners.setdefault(fingerprint(_plain(example)), label.name)
            if other != label.name:
                yield LintWarning(
                    "problem",
                    (other, label.name),
                    f"an example of {label.name!r} is also one of {other!r}: {_plain(example)[:60]!r}",
                )
    for text in label_set.counterexamples:
        owner = owners.get(fingerprint(_plain(text)))
        if owner is not None:
            yield LintWarning(
                "problem",
                (owner,),
                f"a counterexample is also an example of {owner!r}: {_plain(text)[:60]!r}",
            )


def _repeats(label_set: LabelSet) -> Iterator[LintWarning]:
    for label in label_set.labels:
        repeated = len(label.examples) - len({fingerprint(_plain(text)) for text in label.examples})
        if repeated:
            stand = "1 example stands" if repeated == 1 else f"{repeated} examples stand"
            yield LintWarning("advice", (label.name,), f"{label.name!r}: {stand} twice")
        blank = sum(not example.strip() for example in (*label.examples, *_said(label), label.name))
        if blank:
            yield LintWarning("problem", (label.name,), f"{label.name!r}: {blank} of its texts are blank")


def _silent(label_set: LabelSet) -> Iterator[LintWarning]:
    by_name = [label for label in label_set.labels if not _said(label) and not label.examples]
    wordless = [label.name for label in by_name if not _words(label.name.replace("_", " "))]
    for name in wordless:
        yield LintWarning(
            "problem",
            (name,),
            f"{name!r} has no word in its name, and nothing else is said of it: describe it",
        )
    named = [label.name for label in by_name if label.name not in wordless]
    yield from _each(named, "has its name only: a description or phrasings would help")
    shown = [label.name for label in label_set.labels if not _said(label) and label.examples]
    yield from _each(shown, "has no description")


def _each(names: list[str], what: str) -> Iterator[LintWarning]:
    """The same advice for some labels: a line for each of a few, one line for many."""
    if len(names) <= FEW:
        for name in names:
            yield LintWarning("advice", (name,), f"{name!r} {what}")
        return
    listed = ", ".join(map(repr, names[:NAMED])) + (" …" if len(names) > NAMED else "")
    yield LintWarning("advice", tuple(names), f"each of {len(names)} labels {what}: {listed}")


def _foreign(label_set: LabelSet) -> Iterator[LintWarning]:
    """Labels in another script, where no model is named that may read it."""
    if label_set.model not in (None, "sentence", "static", "cascade"):
        return
    names = [label.name for label in label_set.labels if _other_script(" ".join([label.name, *_said(label)]))]
    if names:
        listed = ", ".join(map(repr, names[:NAMED])) + (" …" if len(names) > NAMED else "")
        yield LintWarning(
            "advice",
            tuple(names),
            f"the model that comes with Feedsight reads English: for {listed} set text.model to one of "
            "their language",
        )


def _other_script(text: str) -> bool:
    """Whether most letters of a text are not Latin ones."""
    letters = [letter for letter in text if letter.isalpha()]
    latin = sum("LATIN" in unicodedata.name(letter, "") for letter in letters)
    return 2 * latin < len(letters)


def _uneven(label_set: LabelSet) -> Iterator[LintWarning]:
    if len(label_set.labels) < 2:
        return
    counts = {label.name: len(label.examples) for label in label_set.labels}
    most = max(counts, key=lambda name: counts[name])
    few = [name for name, count in counts.items() if counts[most] >= max(MANY_EXAMPLES, IMBALANCE * count)]
    if few:
        listed = ", ".join(f"{name!r} {counts[name]}" for name in few[:NAMED])
        yield LintWarning(
            "advice",
            (most, *few),
            f"{most!r} has {counts[most]} examples, and {listed}{' …' if len(few) > NAMED else ''}: "
            "a handful for each would help",
        )


def _abstaining(label_set: LabelSet) -> Iterator[LintWarning]:
    abstain = label_set.abstain
    if abstain and abstain.precision and not any(label.examples for label in label_set.labels):
        yield LintWarning(
            "advice",
            (),
            "abstain.precision without an example is an estimate: examples make it hold",
        )
