"""From corrections to the label set that has learned them."""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from schemas import Label, LabelSet
from workers.text.duplicates import fingerprint
from workers.text.lane import Encode
from workers.text.learning.corrections import Correction, Pool

NEAR: Final = 0.97
"""Cosine from which two examples of a label say the same; the older is left out."""


def learned(label_set: LabelSet, pool: Pool, encode: Encode, most: int) -> LabelSet:
    """Make the label set that has learned the corrections.

    Its own examples stay, unless people spoke of what they say; what former versions had learned gives way
    to what the corrections are now. Labels that the set does not have are passed over.

    Args:
        label_set: in force.
        pool: corrections.
        encode: embeds texts, to choose among many.
        most: examples learned for each label at most, and for none of them; as unlike each other as can be.

    Returns:
        The label set with other examples, all else and the version unchanged.
    """
    spoken_of = pool.keys
    labels = []
    for label in label_set.labels:
        own = _unspoken(label.examples, spoken_of)
        holding = [one for one in pool.corrections if label.name in one.labels]
        examples = (*own, *_choose(holding, encode, most))
        labels.append(_with_examples(label, examples))
    none = [one for one in pool.corrections if not one.labels] if takes_none(label_set) else []
    counter = (*_unspoken(label_set.counterexamples, spoken_of), *_choose(none, encode, most))
    changes: dict[str, object] = {"labels": tuple(labels)}
    if counter or label_set.counterexamples:
        changes["counterexamples"] = counter
    return label_set.model_copy(update=changes)


def takes_none(label_set: LabelSet) -> bool:
    """Whether a post may be about none of the labels."""
    return label_set.none_of_these or label_set.multi_label or len(label_set.labels) == 1


def same_examples(one: LabelSet, other: LabelSet) -> bool:
    """Whether two versions know the same examples, in whatever order."""
    return _known(one) == _known(other)


def without(label_set: LabelSet, keys: frozenset[int]) -> LabelSet:
    """Take away all examples that say what these fingerprints stand for."""
    labels = tuple(_with_examples(label, _unspoken(label.examples, keys)) for label in label_set.labels)
    changes: dict[str, object] = {"labels": labels}
    if label_set.counterexamples:
        changes["counterexamples"] = _unspoken(label_set.counterexamples, keys)
    return label_set.model_copy(update=changes)


def _known(label_set: LabelSet) -> set[tuple[str | None, str]]:
    known: set[tuple[str | None, str]] = {(None, text) for text in label_set.counterexamples}
    return known | {(label.name, text) for label in label_set.labels for text in label.examples}


def _with_examples(label: Label, examples: tuple[str, ...]) -> Label:
    return label if examples == label.examples else label.model_copy(update={"examples": examples})


def _unspoken(texts: Iterable[str], spoken_of: frozenset[int]) -> tuple[str, ...]:
    return tuple(text for text in texts if fingerprint(text) not in spoken_of)


def _choose(corrections: Sequence[Correction], encode: Encode, most: int) -> tuple[str, ...]:
    """Choose texts: the newest first, then again and again the one most unlike all that is chosen.

    Returns:
        At most `most` texts, in the order of the corrections.
    """
    if len(corrections) < 2:
        return tuple(one.text for one in corrections)
    rows = encode([one.text for one in corrections])
    chosen = [len(rows) - 1]
    nearest = rows @ rows[-1]
    while len(chosen) < min(most, len(rows)):
        place = int(np.argmin(nearest))
        if nearest[place] >= NEAR:
            break
        chosen.append(place)
        nearest = np.maximum(nearest, rows @ rows[place])
    return tuple(corrections[place].text for place in sorted(chosen))
