"""Lanes: ways from texts to label probabilities. The sentence lane is the one the others are measured by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas import LabelSet
from workers.errors import FatalError
from workers.text.encoders import Encoders, LaneKind, Rows, TextBatch, Windows
from workers.text.heads.base import Embeddings, Examples, Head, LabelSpace, PhraseKind
from workers.text.heads.phrases import frame, framed_texts
from workers.text.heads.registry import create_head
from workers.text.heads.widening import narrow


@dataclass(frozen=True)
class Knowledge:
    """All that is known of the labels, as texts.

    Attributes:
        names: the L labels.
        phrases: texts that describe labels.
        phrase_labels: the label of each phrase.
        phrase_kinds: what each phrase is.
        examples: texts of known label.
        example_labels: the label of each example; -1 is none of them.
        unlabelled: a sample of the stream.
        multi_label: whether each label holds or not by itself.
        none_of_these: whether a text may be about none of the labels.
    """

    names: tuple[str, ...]
    phrases: tuple[str, ...]
    phrase_labels: tuple[int, ...]
    phrase_kinds: tuple[PhraseKind, ...]
    examples: tuple[str, ...]
    example_labels: tuple[int, ...]
    unlabelled: tuple[str, ...]
    multi_label: bool
    none_of_these: bool = False

    @property
    def independent(self) -> bool:
        """Whether each label has a probability by itself."""
        return self.multi_label or len(self.names) == 1


Encode = Callable[[Sequence[str]], Embeddings]
"""Embeds n texts: float32, shape (n, d), unit rows."""


class Fitted(NamedTuple):
    """The labels, embedded by the sentence model, and the head fitted to them.

    Attributes:
        space: what is said of the labels.
        examples: plain embeddings, shape (n, d), as for `unlabelled`.
        unlabelled: the stream's sample.
        head: fitted; takes wide rows.
        wide: wide rows of the sample, and of the examples after them, as the head takes them.
    """

    space: LabelSpace
    examples: Examples
    unlabelled: Embeddings
    head: Head
    wide: Embeddings = np.zeros((0, 0), np.float32)


class Prediction(NamedTuple):
    """What a lane says of m texts.

    Attributes:
        probabilities: float32, shape (m, L).
        embeddings: float32, shape (m, d), unit rows, in the sentence model's space.
        windows: for each text that was cut, (start, end) of each window in characters and the windows'
            embeddings, by the text's index.
    """

    probabilities: NDArray[np.float32]
    embeddings: Embeddings
    windows: Windows


class Lane(Protocol):
    """From texts to probabilities, for one label set. Fitted once, then only read."""

    name: str
    kind: LaneKind

    def fit(self, knowledge: Knowledge) -> Fitted:
        """Fit to the labels."""

    def predict(self, batch: TextBatch, rows: Rows) -> Prediction:
        """Probabilities of texts of a batch.

        Args:
            batch: texts, embedded as needed.
            rows: shape (m,), which of them.
        """


def read_knowledge(
    label_set: LabelSet, examples: Sequence[tuple[str, str | None]], unlabelled: Sequence[str]
) -> Knowledge:
    """Gather what the label set says and what stands beside it.

    Args:
        label_set: the labels.
        examples: texts and label names; None says that a text is about none of the labels.
        unlabelled: a sample of the stream.

    Raises:
        FatalError: an example has a label that the set does not have.
    """
    phrases: list[tuple[str, int, PhraseKind]] = []
    given: list[tuple[str, int]] = []
    for index, label in enumerate(label_set.labels):
        phrases.append((" ".join(label.name.replace("_", " ").split()) or label.name, index, "name"))
        if label.description:
            phrases.append((label.description, index, "description"))
        phrases += [(phrase, index, "phrasing") for phrase in label.phrasings]
        given += [(text, index) for text in label.examples]
    given += [(text, -1) for text in label_set.counterexamples]
    indices = {label.name: index for index, label in enumerate(label_set.labels)}
    for text, name in examples:
        if name is None:
            given.append((text, -1))
            continue
        if name not in indices:
            known = ", ".join(list(indices)[:20])
            raise FatalError(
                f"an example has the label {name[:64]!r}, which the set does not have ({known})",
                reason="configuration",
            )
        given.append((text, indices[name]))
    return Knowledge(
        names=tuple(indices),
        phrases=tuple(text for text, _, _ in phrases),
        phrase_labels=tuple(index for _, index, _ in phrases),
        phrase_kinds=tuple(kind for _, _, kind in phrases),
        examples=tuple(text for text, _ in given),
        example_labels=tuple(index for _, index in given),
        unlabelled=tuple(unlabelled),
        multi_label=label_set.multi_label,
        none_of_these=label_set.none_of_these and not label_set.multi_label and len(indices) > 1,
    )


def phrases_of(label_set: LabelSet) -> list[str]:
    """All texts of a label set that fitting to it embeds."""
    knowledge = read_knowledge(label_set, (), ())
    return [*knowledge.phrases, *framed_texts(knowledge.phrases), *knowledge.examples]


def label_space(knowledge: Knowledge, encode: Encode) -> LabelSpace:
    """Embed what is said of labels."""
    return LabelSpace(
        names=knowledge.names,
        phrases=knowledge.phrases,
        phrase_labels=np.array(knowledge.phrase_labels, np.int64),
        phrase_kinds=knowledge.phrase_kinds,
        phrase_embeddings=encode(knowledge.phrases),
        framed_embeddings=frame(encode, knowledge.phrases),
    )


def fit_head(
    knowledge: Knowledge,
    encode: Encode,
    encode_examples: Encode | None = None,
    encode_stream: Encode | None = None,
) -> Fitted:
    """Embed what is known and fit the default head to it.

    Args:
        knowledge: the texts.
        encode: embeds what is said of labels.
        encode_examples: embeds examples, in wide rows or not; `encode` where it is left out.
        encode_stream: embeds the unlabelled sample likewise; `encode_examples` where it is left out.
    """
    space = label_space(knowledge, encode)
    encode_examples = encode_examples or encode
    examples = encode_examples(knowledge.examples)
    unlabelled = (encode_stream or encode_examples)(knowledge.unlabelled)
    labels = np.array(knowledge.example_labels, np.int64)
    head = _new_head(knowledge)
    head.fit(space, Examples(examples, labels), unlabelled)
    width = space.phrase_embeddings.shape[1]
    return Fitted(
        space,
        Examples(narrow(examples, width), labels),
        narrow(unlabelled, width),
        head,
        np.concatenate([unlabelled, examples]),
    )


def fit_narrow(knowledge: Knowledge, fitted: Fitted) -> Head:
    """Fit the default head to plain embeddings alone, for texts of which no more is known."""
    head = _new_head(knowledge)
    head.fit(fitted.space, fitted.examples, fitted.unlabelled)
    return head


def _new_head(knowledge: Knowledge) -> Head:
    return create_head(multi_label=knowledge.independent, none_of_these=knowledge.none_of_these)


def fit_lane_head(encoders: Encoders, knowledge: Knowledge) -> Fitted:
    """Fit the default head by the sentence model; only the stream's sample is not worth remembering."""
    return fit_head(knowledge, encoders.known, encoders.known_wide, encoders.sentence.encode_wide)


def of_silence(knowledge: Knowledge) -> float:
    """The probability of each label for a text that says nothing: none holds, or all are as likely."""
    return 0.0 if knowledge.independent else 1 / (len(knowledge.names) + knowledge.none_of_these)


class SentenceLane:
    """Each text through the sentence model.

    Args:
        encoders: the models.
    """

    kind: LaneKind = "sentence"

    def __init__(self, encoders: Encoders) -> None:
        self.name = encoders.name
        self._encoders = encoders
        self._head: Head | None = None
        self._of_silence = 0.0

    def fit(self, knowledge: Knowledge) -> Fitted:
        """Fit the default head."""
        fitted = fit_lane_head(self._encoders, knowledge)
        self._head = fitted.head
        self._of_silence = of_silence(knowledge)
        return fitted

    def predict(self, batch: TextBatch, rows: Rows) -> Prediction:
        """Embed and classify."""
        if self._head is None:
            raise FatalError("the lane is not fitted", reason="model_load")
        wide, windows = batch.embed(rows)
        probabilities = self._head.predict_proba(wide)
        embeddings = np.ascontiguousarray(narrow(wide, self._encoders.sentence.dimensions))
        probabilities[batch.silent(rows)] = self._of_silence
        return Prediction(probabilities, embeddings, windows)
