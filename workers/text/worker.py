"""The text worker: posts in, labels out. Tokenises in one thread while another infers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import xxhash

from config import TextSettings
from schemas import LabelSet, Post, TextResult
from workers.errors import FatalError, PipelineError
from workers.text.heads.base import Embeddings, Examples, Head, LabelSpace, PhraseKind
from workers.text.heads.registry import create_head
from workers.text.label_set import load_label_set
from workers.text.models import SentenceEncoder
from workers.text.results import rank, text_result

_CHARS_PER_TOKEN: Final = 4
"""Characters a token, about, in English word pieces; only for estimating work."""

_DEFAULT_THRESHOLD: Final = 0.5
"""The probability from which a label of a multi-label set, or the one label of a filter, holds."""


@dataclass(frozen=True, slots=True)
class PreparedPost:
    """A post, tokenised.

    Attributes:
        id: the post's.
        tokens: token ids, at most the model's longest window.
    """

    id: str
    tokens: list[int]


class TextWorker:
    """Labels posts with a label set; see workers.base.Worker.

    Args:
        settings: the text section.
        label_set: what to label with.
        examples: (text, label name) pairs beside those in the label set.
        unlabelled: texts of the stream to adapt to.

    Raises:
        FatalError: an example has a label that the set does not have.
    """

    def __init__(
        self,
        settings: TextSettings,
        label_set: LabelSet,
        examples: Sequence[tuple[str, str]] = (),
        unlabelled: Sequence[str] = (),
    ) -> None:
        self.label_set = label_set
        self._names = tuple(label.name for label in label_set.labels)
        self._examples = _all_examples(label_set, examples)
        self._unlabelled = tuple(unlabelled)
        self._encoder = SentenceEncoder(settings.model, threads=settings.threads)
        self._head: Head = create_head()
        self._version = _version(label_set, examples, unlabelled)
        self._max_cost = 256

    @property
    def model(self) -> str:
        """The encoder's name."""
        return self._encoder.name

    @property
    def version(self) -> str:
        """The label set's version, with a hash of the examples and the sample that were added to it."""
        return self._version

    def load(self) -> None:
        """Load the model, embed the labels and fit the head.

        Raises:
            FatalError: reason model_load or configuration.
        """
        self._encoder.load()
        self._max_cost = self._encoder.max_tokens
        self._head.fit(self._label_space(), self._embedded_examples(), self._encoder.encode(self._unlabelled))
        self.run(self.prepare([Post(id="warm", text="warm up")]))

    def cost(self, message: Post) -> int:
        """Estimated tokens."""
        return min(2 + len(message.text) // _CHARS_PER_TOKEN, self._max_cost)

    def prepare(self, batch: Sequence[Post]) -> Sequence[PreparedPost | PipelineError]:
        """Tokenise."""
        tokens = self._encoder.tokenise([post.text for post in batch])
        return [PreparedPost(post.id, ids) for post, ids in zip(batch, tokens, strict=True)]

    def run(self, prepared: Sequence[PreparedPost | PipelineError]) -> Sequence[TextResult | PipelineError]:
        """Embed and label."""
        good = [item for item in prepared if isinstance(item, PreparedPost)]
        results = iter(self._label(good, self._encoder.encode_tokens([item.tokens for item in good])))
        return [next(results) if isinstance(item, PreparedPost) else item for item in prepared]

    def _label(self, posts: Sequence[PreparedPost], embeddings: Embeddings) -> list[TextResult]:
        if not posts:
            return []
        ranked, margins = rank(self._names, self._head.predict_proba(embeddings))
        many = self.label_set.multi_label
        threshold = _threshold(self.label_set)
        made = []
        for post, candidates, margin in zip(posts, ranked, margins, strict=True):
            best = candidates[0]
            holds = tuple(c.label for c in candidates if c.probability >= threshold) if many else None
            made.append(
                text_result(
                    post.id,
                    best.label if best.probability >= threshold else None,
                    candidates,
                    model=self._encoder.name,
                    label_set=self.label_set.name,
                    version=self._version,
                    margin=margin,
                    labels=holds,
                )
            )
        return made

    def _label_space(self) -> LabelSpace:
        phrases: list[str] = []
        owners: list[int] = []
        kinds: list[PhraseKind] = []
        for index, label in enumerate(self.label_set.labels):
            own: list[tuple[str, PhraseKind]] = [(label.name.replace("_", " "), "name")]
            if label.description:
                own.append((label.description, "description"))
            own += [(phrase, "phrasing") for phrase in label.phrasings]
            for phrase, kind in own:
                phrases.append(phrase)
                owners.append(index)
                kinds.append(kind)
        return LabelSpace(
            names=self._names,
            phrases=tuple(phrases),
            phrase_labels=np.array(owners, np.int64),
            phrase_kinds=tuple(kinds),
            phrase_embeddings=self._encoder.encode(phrases),
        )

    def _embedded_examples(self) -> Examples:
        texts = [text for text, _ in self._examples]
        labels = np.array([label for _, label in self._examples], np.int64)
        return Examples(self._encoder.encode(texts), labels)


def create_text_worker(
    settings: TextSettings, examples: Sequence[tuple[str, str]] = (), unlabelled: Sequence[str] = ()
) -> TextWorker:
    """The text worker that settings ask for; not loaded yet.

    Raises:
        FatalError: reason configuration: no label set is named, or it can't be used.
    """
    if settings.labels is None:
        raise FatalError("no label set: name a file with --labels or text.labels", reason="configuration")
    label_set = load_label_set(settings.labels)
    if label_set.model is not None and "model" not in settings.model_fields_set:
        settings = settings.model_copy(update={"model": label_set.model})
    return TextWorker(settings, label_set, examples, unlabelled)


def _all_examples(label_set: LabelSet, more: Sequence[tuple[str, str]]) -> list[tuple[str, int]]:
    """Examples in the set and beside it, with the labels' indices."""
    indices = {label.name: index for index, label in enumerate(label_set.labels)}
    found = [(text, indices[label.name]) for label in label_set.labels for text in label.examples]
    for text, name in more:
        if name not in indices:
            known = ", ".join(list(indices)[:20])
            raise FatalError(
                f"an example has the label {name[:64]!r}, which the set does not have ({known})",
                reason="configuration",
            )
        found.append((text, indices[name]))
    return found


def _threshold(label_set: LabelSet) -> float:
    """The probability below which no label is given."""
    if label_set.abstain is not None and label_set.abstain.threshold is not None:
        return label_set.abstain.threshold
    return _DEFAULT_THRESHOLD if label_set.multi_label or len(label_set.labels) == 1 else 0.0


def _version(label_set: LabelSet, examples: Sequence[tuple[str, str]], unlabelled: Sequence[str]) -> str:
    version = str(label_set.version)
    if not examples and not unlabelled:
        return version
    digest = xxhash.xxh3_64()
    for text, name in examples:
        digest.update(f"{len(text)}:{text}{name}\n".encode(errors="surrogatepass"))
    for text in unlabelled:
        digest.update(f"{len(text)}:{text}\n".encode(errors="surrogatepass"))
    return f"{version}+{digest.hexdigest()[:8]}"
