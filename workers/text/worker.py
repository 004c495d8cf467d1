"""The text worker: posts in, labels out. Tokenises in one thread while another infers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import xxhash

from config import TextSettings
from schemas import Abstain, Candidate, Evidence, LabelSet, Post, TextResult
from workers.errors import FatalError, PipelineError
from workers.text.cascade_lane import CascadeLane
from workers.text.duplicates import Remembered, fingerprint
from workers.text.evidence import NearestText, words_that_counted
from workers.text.heads.abstain import choose_threshold
from workers.text.label_set import load_label_set
from workers.text.lane import Fitted, Knowledge, Lane, Prediction, SentenceLane, read_knowledge
from workers.text.results import rank, text_result
from workers.text.static_lane import StaticLane

_CHARS_PER_TOKEN: Final = 4
"""Characters a token, about, in English word pieces; only for estimating work."""

_DEFAULT_THRESHOLD: Final = 0.5
"""The probability from which a label of a multi-label set, or the one label of a filter, holds."""

_THRESHOLD_SAMPLE: Final = 2_000
"""Posts of the sample that a threshold is chosen on: enough to place a quantile within a point."""


@dataclass(frozen=True, slots=True)
class PreparedPost:
    """A post, tokenised.

    Attributes:
        id: the post's.
        text: the post's.
        tokens: token ids, as the lane reads them.
        said: the fingerprint of what it says.
    """

    id: str
    text: str
    tokens: list[int]
    said: int


class _Answer(NamedTuple):
    """All of a result but whose it is."""

    label: str | None
    candidates: tuple[Candidate, ...]
    margin: float
    labels: tuple[str, ...] | None
    evidence: Evidence | None


class TextWorker:
    """Labels posts with a label set; see workers.base.Worker.

    Args:
        settings: the text section.
        label_set: what to label with.
        examples: (text, label name) pairs beside those in the label set; None: none of the labels.
        unlabelled: texts of the stream to adapt to.
        threshold_sample: texts of the stream that a threshold is chosen on without adapting to them, where
            `unlabelled` is empty.

    Raises:
        FatalError: an example has a label that the set does not have.
    """

    def __init__(
        self,
        settings: TextSettings,
        label_set: LabelSet,
        examples: Sequence[tuple[str, str | None]] = (),
        unlabelled: Sequence[str] = (),
        threshold_sample: Sequence[str] = (),
    ) -> None:
        self.label_set = label_set
        self._explain = settings.explain
        self._knowledge = read_knowledge(label_set, examples, unlabelled)
        self._threshold = 0.0
        self._threshold_sample = tuple(unlabelled or threshold_sample)[:_THRESHOLD_SAMPLE]
        self._lane = _create_lane(settings)
        self._version = _version(label_set, examples, unlabelled or threshold_sample)
        self._nearest: NearestText | None = None
        self._remembered: Remembered[_Answer] = Remembered()

    @property
    def model(self) -> str:
        """The lane's name."""
        return self._lane.name

    @property
    def version(self) -> str:
        """The label set's version, with a hash of the examples and the sample that were added to it."""
        return self._version

    def load(self) -> None:
        """Load the model, embed the labels and fit to them.

        Raises:
            FatalError: reason model_load or configuration.
        """
        self._lane.load()
        fitted = self._lane.fit(self._knowledge)
        self._threshold = _threshold(
            self.label_set, self._knowledge, self._lane, fitted, self._threshold_sample
        )
        if self._explain or not isinstance(
            self._lane, StaticLane
        ):  # there it would cost a quarter of the time
            self._nearest = NearestText(self._knowledge, fitted)
        self.run(self.prepare([Post(id="warm", text="warm up")]))
        self._remembered.clear()

    def cost(self, message: Post) -> int:
        """Estimated tokens."""
        return min(2 + len(message.text) // _CHARS_PER_TOKEN, 8 * self._lane.max_tokens)

    def prepare(self, batch: Sequence[Post]) -> Sequence[PreparedPost | PipelineError]:
        """Tokenise."""
        texts = [post.text for post in batch]
        said = map(fingerprint, texts)
        tokens = self._lane.tokenise(texts)
        return [
            PreparedPost(post.id, post.text, ids, key)
            for post, ids, key in zip(batch, tokens, said, strict=True)
        ]

    def run(self, prepared: Sequence[PreparedPost | PipelineError]) -> Sequence[TextResult | PipelineError]:
        """Label; posts that say the same share one inference, within the batch and with former ones."""
        new: dict[int, PreparedPost] = {}
        for item in prepared:
            if (
                isinstance(item, PreparedPost)
                and item.said not in new
                and not self._remembered.find(item.said)
            ):
                new[item.said] = item
        for item, answer in zip(new.values(), self._answer(list(new.values())), strict=True):
            self._remembered.keep(item.said, item.id, answer)
        return [self._result(item) if isinstance(item, PreparedPost) else item for item in prepared]

    def _result(self, post: PreparedPost) -> TextResult:
        found = self._remembered.find(post.said)
        if found is None:  # pushed out by a batch larger than the memory
            self._remembered.keep(post.said, post.id, self._answer([post])[0])
            return self._result(post)
        first, answer = found
        return text_result(
            post.id,
            answer.label,
            answer.candidates,
            model=self._lane.name,
            label_set=self.label_set.name,
            version=self._version,
            margin=answer.margin,
            labels=answer.labels,
            evidence=answer.evidence,
            duplicate_of=None if first == post.id else first,
        )

    def _answer(self, posts: Sequence[PreparedPost]) -> list[_Answer]:
        if not posts:
            return []
        prediction = self._lane.predict([post.text for post in posts], [post.tokens for post in posts])
        ranked, margins = rank(self._knowledge.names, prediction.probabilities)
        evidence: Sequence[Evidence | None] = [None] * len(posts)
        if self._nearest is not None:
            evidence = self._nearest.find(prediction)
            if self._explain:
                evidence = [
                    self._with_words(post, one, prediction, index)
                    for index, (post, one) in enumerate(zip(posts, evidence, strict=True))
                ]
        many = self.label_set.multi_label
        made = []
        for candidates, margin, why in zip(ranked, margins, evidence, strict=True):
            best = candidates[0]
            known = best.probability >= self._threshold
            if self._knowledge.none_of_these:
                known = known and best.probability >= 1 - sum(c.probability for c in candidates)
            held = tuple(c.label for c in candidates if c.probability >= self._threshold) if many else None
            label = best.label if known else None
            made.append(_Answer(label, candidates, margin, held, why))
        return made

    def _with_words(
        self, post: PreparedPost, evidence: Evidence, prediction: Prediction, index: int
    ) -> Evidence:
        row = prediction.probabilities[index]
        label = int(row.argmax())
        words = words_that_counted(
            post.text,
            label,
            float(row[label]),
            lambda texts: self._lane.predict(texts, self._lane.tokenise(texts)).probabilities,
        )
        return evidence.model_copy(update={"words": words}) if words else evidence


def create_text_worker(
    settings: TextSettings,
    examples: Sequence[tuple[str, str | None]] = (),
    unlabelled: Sequence[str] = (),
    threshold_sample: Sequence[str] = (),
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
    return TextWorker(settings, label_set, examples, unlabelled, threshold_sample)


def _create_lane(settings: TextSettings) -> Lane:
    if settings.model == "static":
        return StaticLane(settings.sentence_model, threads=settings.threads)
    if settings.model == "cascade":
        return CascadeLane(
            settings.sentence_model,
            threads=settings.threads,
            agreement=settings.cascade_agreement,
            max_share=settings.cascade_max_share,
        )
    return SentenceLane(settings.model, threads=settings.threads)


def _threshold(
    label_set: LabelSet, knowledge: Knowledge, lane: Lane, fitted: Fitted, sample: Sequence[str]
) -> float:
    """The probability below which no label is given, by the label set's rule and the sample of the stream."""
    rule = label_set.abstain
    if rule is None or rule == Abstain():
        return _DEFAULT_THRESHOLD if knowledge.independent else 0.0
    if rule.threshold is not None:
        return rule.threshold
    stream = lane.predict(sample, lane.tokenise(sample)).probabilities.max(axis=1)
    validation = getattr(fitted.head, "validation", None)
    if validation is None:
        return choose_threshold(rule, stream)
    right = validation.probabilities.argmax(axis=1) == validation.labels
    return choose_threshold(rule, stream, validation.probabilities.max(axis=1), right)


def _version(
    label_set: LabelSet, examples: Sequence[tuple[str, str | None]], unlabelled: Sequence[str]
) -> str:
    version = str(label_set.version)
    if not examples and not unlabelled:
        return version
    digest = xxhash.xxh3_64()
    for text, name in examples:
        digest.update(f"{len(text)}:{text}{name or ''}\n".encode(errors="surrogatepass"))
    for text in unlabelled:
        digest.update(f"{len(text)}:{text}\n".encode(errors="surrogatepass"))
    return f"{version}+{digest.hexdigest()[:8]}"
