"""Lanes: ways from texts to label probabilities. The sentence lane is the one the others are measured by."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas import LabelSet
from workers.errors import FatalError
from workers.text.heads.base import Embeddings, Examples, Head, LabelSpace, PhraseKind
from workers.text.heads.phrases import frame
from workers.text.heads.registry import create_head
from workers.text.models import SentenceEncoder, Window

MAX_WINDOWS = 32
"""Windows of a document that are embedded; of more, evenly spread ones are taken: some 7,000 words."""


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


class Fitted(NamedTuple):
    """The labels, embedded by the sentence model, and the head fitted to them."""

    space: LabelSpace
    examples: Examples
    unlabelled: Embeddings
    head: Head


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
    windows: dict[int, tuple[list[tuple[int, int]], Embeddings]]


class Lane(Protocol):
    """From texts to probabilities. `tokenise` and `predict` may run in two threads."""

    name: str
    max_tokens: int

    def load(self) -> None:
        """Load models."""

    def fit(self, knowledge: Knowledge) -> Fitted:
        """Fit to the labels; replaces all former state."""

    def tokenise(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text."""

    def predict(self, texts: Sequence[str], tokens: Sequence[list[int]]) -> Prediction:
        """Probabilities of each text."""


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


def fit_head(encoder: SentenceEncoder, knowledge: Knowledge) -> Fitted:
    """Embed what is known and fit the default head to it."""
    space = LabelSpace(
        names=knowledge.names,
        phrases=knowledge.phrases,
        phrase_labels=np.array(knowledge.phrase_labels, np.int64),
        phrase_kinds=knowledge.phrase_kinds,
        phrase_embeddings=encoder.encode(knowledge.phrases),
        framed_embeddings=frame(encoder.encode, knowledge.phrases),
    )
    examples = Examples(encoder.encode(knowledge.examples), np.array(knowledge.example_labels, np.int64))
    unlabelled = encoder.encode(knowledge.unlabelled)
    head = create_head(multi_label=knowledge.independent, none_of_these=knowledge.none_of_these)
    head.fit(space, examples, unlabelled)
    return Fitted(space, examples, unlabelled, head)


class SentenceLane:
    """Each text through the sentence model; a long one in windows, whose embeddings are averaged.

    Args:
        source: a SentenceEncoder's.
        threads: a SentenceEncoder's.
    """

    def __init__(self, source: str, *, threads: int) -> None:
        self.encoder = SentenceEncoder(source, threads=threads)
        self.name = self.encoder.name
        self.max_tokens = 256
        self._head: Head | None = None

    def load(self) -> None:
        """Load the sentence model."""
        self.encoder.load()
        self.max_tokens = self.encoder.max_tokens

    def fit(self, knowledge: Knowledge) -> Fitted:
        """Fit the default head."""
        fitted = fit_head(self.encoder, knowledge)
        self._head = fitted.head
        return fitted

    def tokenise(self, texts: Sequence[str]) -> list[list[int]]:
        """Word pieces, cut at the longest window."""
        return self.encoder.tokenise(texts)

    def predict(self, texts: Sequence[str], tokens: Sequence[list[int]]) -> Prediction:
        """Embed and classify."""
        cut: dict[int, list[Window]] = {
            index: _spread(self.encoder.windows(texts[index]))
            for index, ids in enumerate(tokens)
            if len(ids) >= self.max_tokens
        }
        more = [window.ids for found in cut.values() for window in found[1:]]
        rows = self.encoder.encode_tokens([*tokens, *more])
        embeddings = rows[: len(tokens)]
        windows: dict[int, tuple[list[tuple[int, int]], Embeddings]] = {}
        at = len(tokens)
        for index, found in cut.items():
            own = np.concatenate([embeddings[index : index + 1], rows[at : at + len(found) - 1]])
            at += len(found) - 1
            windows[index] = ([(window.start, window.end) for window in found], own)
            weights = np.array([len(window.ids) for window in found], np.float32)
            mean = weights @ own
            embeddings[index] = mean / max(float(np.linalg.norm(mean)), 1e-12)
        if self._head is None:
            raise FatalError("the lane is not fitted", reason="model_load")
        return Prediction(self._head.predict_proba(embeddings), embeddings, windows)


def _spread(windows: list[Window]) -> list[Window]:
    """At most MAX_WINDOWS windows, the first among them."""
    if len(windows) <= MAX_WINDOWS:
        return windows
    return [windows[i * len(windows) // MAX_WINDOWS] for i in range(MAX_WINDOWS)]
