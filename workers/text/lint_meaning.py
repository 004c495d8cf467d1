"""What the sentence model finds doubtful about a label set: other words that mean the same."""

from collections.abc import Iterator
from itertools import combinations
from typing import Final

import numpy as np

from schemas import LabelSet
from workers.text.heads.phrases import framed_prototypes, unit_rows
from workers.text.lane import Encode, label_space, read_knowledge
from workers.text.lint import LintWarning

NEAR_LABELS: Final = 0.7
"""Cosine between two labels from which posts fall to either, by the model that comes with Feedsight. Of 14
label sets the nearest pair lies at 0.37 to 0.70 but for one, of two groups on religion: 0.78. Joy and
happiness, by name alone: 0.72."""

SAME_TEXT: Final = 0.9
"""Cosine between two examples from which they say the same."""

MOST_EXAMPLES: Final = 4_000
"""Examples compared with each other; of more, evenly spread ones."""

MOST_SHOWN: Final = 10
"""Pairs of labels, and of examples, that are said; the nearest first."""


def lint_meaning(label_set: LabelSet, encode: Encode) -> list[LintWarning]:
    """Look for labels, and for examples of two labels, that mean nearly the same.

    Args:
        label_set: the labels.
        encode: embeds texts with the bundled sentence model, which the limits above are for.
    """
    return [*_labels(label_set, encode), *_examples(label_set, encode)]


def _labels(label_set: LabelSet, encode: Encode) -> Iterator[LintWarning]:
    space = label_space(read_knowledge(label_set, (), ()), encode)
    centres = unit_rows(framed_prototypes(space))
    near = centres @ centres.T
    pairs = [pair for pair in combinations(range(len(centres)), 2) if near[pair] >= NEAR_LABELS]
    for i, j in sorted(pairs, key=lambda pair: -near[pair])[:MOST_SHOWN]:
        names = (space.names[i], space.names[j])
        yield LintWarning(
            "advice",
            names,
            f"{names[0]!r} and {names[1]!r} mean nearly the same to the model (cosine {near[i, j]:.2f}): "
            "say what sets them apart, or make them one",
        )


def _examples(label_set: LabelSet, encode: Encode) -> Iterator[LintWarning]:
    if label_set.multi_label:  # a text may have two labels there
        return
    known = [(text, label.name) for label in label_set.labels for text in label.examples]
    known = known[:: 1 + len(known) // MOST_EXAMPLES]
    if not known:
        return
    rows = encode([text for text, _ in known])
    near = np.triu(rows @ rows.T, 1)
    owners = np.unique([name for _, name in known], return_inverse=True)[1]
    near[owners[:, None] == owners[None, :]] = 0
    pairs = sorted(zip(*np.nonzero(near >= SAME_TEXT), strict=True), key=lambda pair: -near[pair])
    for i, j in pairs[:MOST_SHOWN]:
        (one, first), (two, second) = known[i], known[j]
        yield LintWarning(
            "problem",
            (first, second),
            f"an example of {first!r} says what one of {second!r} says: {_short(one)!r}, {_short(two)!r}",
        )


def _short(text: str) -> str:
    return " ".join(text.split())[:60]
