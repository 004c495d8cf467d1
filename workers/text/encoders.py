"""The models that all label sets of a worker share, and what is embedded of a batch, once for all of them."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Final, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from schemas import Post
from workers.text.heads.base import Embeddings
from workers.text.models import Provider, SentenceEncoder, Window
from workers.text.vocabulary import Vocabulary

MAX_WINDOWS: Final = 32
"""Windows of a document that are embedded; of more, evenly spread ones are taken: some 7,000 words."""

KNOWN_CAPACITY: Final = 20_000
"""Phrases and examples whose embeddings are remembered: 60 MB, and a label set that changes a word is fitted
anew in the time of that word."""

LaneKind = Literal["sentence", "static", "cascade"]

Rows = NDArray[np.int64]
WordIds = NDArray[np.int32]
IdsT = TypeVar("IdsT", list[int], WordIds)
Windows = dict[int, tuple[list[tuple[int, int]], Embeddings]]


class PreparedPost(NamedTuple):
    """A post, tokenised for the lanes in use.

    Attributes:
        post: the post.
        said: the fingerprint of what it says.
        pieces: the sentence model's token ids; None where no label set needed them.
        words: the static lane's, int32; None likewise.
    """

    post: Post
    said: int
    pieces: list[int] | None = None
    words: WordIds | None = None


class Encoders:
    """The sentence model, and the word vectors distilled from it. Thread-safe once loaded.

    Args:
        source: a SentenceEncoder's.
        threads: a SentenceEncoder's.
        provider: a SentenceEncoder's.
    """

    def __init__(self, source: str, *, threads: int, provider: Provider = "auto") -> None:
        self.sentence = SentenceEncoder(source, threads=threads, provider=provider)
        self._vocabulary: Vocabulary | None = None
        self._known: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._known_lock = threading.Lock()

    @property
    def name(self) -> str:
        """The sentence model's name."""
        return self.sentence.name

    def load(self) -> None:
        """Load the sentence model.

        Raises:
            FatalError: reason model_load.
        """
        self.sentence.load()

    @property
    def vocabulary(self) -> Vocabulary:
        """The words of the static lane; the first time, they are distilled (seconds)."""
        if self._vocabulary is None:
            self._vocabulary = Vocabulary(self.sentence)
        return self._vocabulary

    @cached_property
    def silent(self) -> frozenset[int]:
        """Token ids of the sentence model that say nothing: the special ones, and the one for the unknown."""
        ids = self.sentence.vocabulary()
        unknown = {ids[token] for token in ("[UNK]", "<unk>") if token in ids}
        return frozenset(self.sentence.tokenise([""])[0]) | unknown

    def known(self, texts: Sequence[str]) -> Embeddings:
        """Embed what is said of labels; float32, shape (n, d), unit rows; see `known_wide`."""
        return self.known_wide(texts)[:, : self.sentence.dimensions]

    def known_wide(self, texts: Sequence[str]) -> Embeddings:
        """Embed what is known of labels; what was embedded before is remembered.

        Args:
            texts: n phrases or examples.

        Returns:
            float32, shape (n, width), wide rows (`SentenceEncoder.encode_tokens_wide`).
        """
        with self._known_lock:
            found = {text: self._known[text] for text in texts if text in self._known}
            for text in found:
                self._known.move_to_end(text)
        missing = list(dict.fromkeys(text for text in texts if text not in found))
        if missing:
            found.update(zip(missing, self.sentence.encode_wide(missing), strict=True))
        with self._known_lock:
            self._known.update((text, found[text]) for text in missing[-KNOWN_CAPACITY:])
            while len(self._known) > KNOWN_CAPACITY:
                self._known.popitem(last=False)
        if not texts:
            return np.zeros((0, self.sentence.width), np.float32)
        return np.stack([found[text] for text in texts])

    def prepare(self, posts: Sequence[Post], said: Sequence[int], kinds: set[LaneKind]) -> list[PreparedPost]:
        """Tokenise posts for lanes of the given kinds; the sentence model's part of a cascade comes later."""
        texts = [post.text for post in posts]
        pieces = self.sentence.tokenise(texts) if "sentence" in kinds else [None] * len(texts)
        words = self.vocabulary.tokenise(texts) if kinds - {"sentence"} else [None] * len(texts)
        return [
            PreparedPost(post, key, ids, rows)
            for post, key, ids, rows in zip(posts, said, pieces, words, strict=True)
        ]

    def batch(self, texts: Sequence[str]) -> "TextBatch":
        """Texts that are no posts, as a batch."""
        return TextBatch(self, texts, [None] * len(texts), [None] * len(texts))


class TextBatch:
    """Texts of one batch, each embedded at most once however many label sets ask. One thread owns it.

    Args:
        encoders: the models.
        texts: n texts.
        pieces: the sentence model's token ids of each; None where they are to be made when needed.
        words: the static lane's, likewise.
    """

    def __init__(
        self,
        encoders: Encoders,
        texts: Sequence[str],
        pieces: Sequence[list[int] | None],
        words: Sequence[WordIds | None],
    ) -> None:
        self.texts = texts
        self._encoders = encoders
        self._pieces = list(pieces)
        self._words = list(words)
        self._embeddings: Embeddings = np.zeros((0, 0), np.float32)
        self._embedded = np.zeros(len(texts), np.bool_)
        self._windows: Windows = {}
        self._by_words: Embeddings = np.zeros((0, 0), np.float32)
        self._embedded_by_words = np.zeros(len(texts), np.bool_)

    def __len__(self) -> int:
        return len(self.texts)

    def embed(self, rows: Rows) -> tuple[Embeddings, Windows]:
        """Embed texts by the sentence model; a long one in windows, whose embeddings are averaged.

        Args:
            rows: shape (m,), which texts.

        Returns:
            float32, shape (m, width), wide rows (`SentenceEncoder.encode_tokens_wide`); and the windows of
            those that were cut, by their place in `rows`, their embeddings of shape (w, d).
        """
        if not len(rows):
            return np.zeros((0, self._encoders.sentence.width), np.float32), {}
        missing = rows[~self._embedded[rows]]
        if len(missing):
            self._embed_missing(missing)
        windows: Windows = {}
        if self._windows:
            windows = {at: self._windows[row] for at, row in enumerate(rows.tolist()) if row in self._windows}
        return self._embeddings[rows], windows

    def embed_words(self, rows: Rows) -> Embeddings:
        """Embed texts by the words' general table; float32, shape (m, d), unit rows, to be written to."""
        missing = rows[~self._embedded_by_words[rows]]
        if len(missing) or not len(self._by_words):
            table = self._encoders.vocabulary.general
            found = table.embed(self.counts(missing) @ table.rows)
            if not len(self._by_words):
                self._by_words = np.zeros((len(self), found.shape[1]), np.float32)
            self._by_words[missing] = found
            self._embedded_by_words[missing] = True
        return self._by_words[rows]

    def counts(self, rows: Rows) -> csr_matrix:
        """Count words: a row for each text, a column for each word of the vocabulary."""
        return self._encoders.vocabulary.counts(self._words_of(rows))

    def silent(self, rows: Rows) -> NDArray[np.bool_]:
        """Whether the sentence model knows nothing in a text, shape (m,): to the bundled one, emoji alone."""
        tokens = self._tokens(self._pieces, rows, self._encoders.sentence.tokenise)
        return np.array([self._encoders.silent.issuperset(ids) for ids in tokens], np.bool_)

    def unread(self, rows: Rows) -> NDArray[np.bool_]:
        """Whether no word of a text is known, shape (m,): emoji, or another script."""
        return np.array([not len(ids) for ids in self._words_of(rows)], np.bool_)

    def _words_of(self, rows: Rows) -> list[WordIds]:
        return self._tokens(self._words, rows, self._encoders.vocabulary.tokenise)

    def _tokens(
        self, held: list[IdsT | None], rows: Rows, tokenise: Callable[[Sequence[str]], list[IdsT]]
    ) -> list[IdsT]:
        """Token ids of texts; those that are not held yet are made, and held."""
        chosen = rows.tolist()
        untold = [row for row in chosen if held[row] is None]
        if untold:
            for row, ids in zip(untold, tokenise([self.texts[row] for row in untold]), strict=True):
                held[row] = ids
        return [ids for row in chosen if (ids := held[row]) is not None]

    def _embed_missing(self, rows: Rows) -> None:
        encoder = self._encoders.sentence
        tokens = self._tokens(self._pieces, rows, encoder.tokenise)
        chosen = rows.tolist()
        cut: dict[int, list[Window]] = {
            at: _spread(encoder.windows(self.texts[chosen[at]]))
            for at, ids in enumerate(tokens)
            if len(ids) >= encoder.max_tokens
        }
        more = [window.ids for found in cut.values() for window in found[1:]]
        found = encoder.encode_tokens_wide([*tokens, *more])
        embeddings = found[: len(tokens)]
        next_more = len(tokens)
        for at, windows in cut.items():
            own = np.concatenate([embeddings[at : at + 1], found[next_more : next_more + len(windows) - 1]])
            next_more += len(windows) - 1
            spans = [(window.start, window.end) for window in windows]
            self._windows[chosen[at]] = (spans, np.ascontiguousarray(own[:, : encoder.dimensions]))
            embeddings[at] = encoder.pool(own, [len(window.ids) for window in windows])
        if not len(self._embeddings):
            self._embeddings = np.zeros((len(self), encoder.width), np.float32)
        self._embeddings[rows] = embeddings
        self._embedded[rows] = True


def _spread(windows: list[Window]) -> list[Window]:
    """At most MAX_WINDOWS windows, the first among them."""
    if len(windows) <= MAX_WINDOWS:
        return windows
    return [windows[i * len(windows) // MAX_WINDOWS] for i in range(MAX_WINDOWS)]
