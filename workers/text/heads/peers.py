"""What one would otherwise reach for: logistic regression on embeddings or words; SetFit and NLI models."""

import contextlib
import importlib
import importlib.util
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workers.errors import FatalError
from workers.text.heads.base import LabelSpace
from workers.text.heads.metrics import Probabilities
from workers.text.heads.trials import Collection, Contestant, Draw
from workers.text.heads.widening import narrow
from workers.text.models.sentence import BUNDLED_NAME, bundled_folder

logger = logging.getLogger(__name__)

SETFIT_PAIRS: Final = 20
"""Pairs of each kind for an example, as published. SetFit's later default, all pairs there are, grows with
the square of the examples: hours at 64 a label."""

NLI_TOKENS: Final = 512
"""The longest pair of post and hypothesis; longer posts are cut."""

RESERVED: Final = 4
"""Places that some models (RoBERTa) keep before the first token."""

HYPOTHESIS: Final = "This text is about {}."
"""What an NLI model is asked of a post."""


class LogisticRegressionPeer:
    """scikit-learn's logistic regression on the same embeddings, C = 10; it needs examples."""

    name = "logistic_regression"
    least_shots = 1
    slow = False

    def judge(self, space: LabelSpace, posts: Collection, draw: Draw) -> tuple[Probabilities, float]:
        """Fit to the examples and judge."""
        from sklearn.linear_model import LogisticRegression

        started = time.perf_counter()
        model = LogisticRegression(C=10.0, max_iter=500)
        embeddings = narrow(posts.embeddings, space.phrase_embeddings.shape[1])
        model.fit(embeddings[draw.examples], posts.labels[draw.examples])
        took = time.perf_counter() - started
        return _all_labels(model, embeddings[draw.held_out], len(space.names)), took


class TfidfPeer:
    """Words and pairs of words, weighted by TF-IDF, and logistic regression; it needs examples."""

    name = "tfidf_logistic_regression"
    least_shots = 1
    slow = False

    def judge(self, space: LabelSpace, posts: Collection, draw: Draw) -> tuple[Probabilities, float]:
        """Fit to the examples' texts and judge."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        started = time.perf_counter()
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        rows = words.fit_transform([posts.texts[i] for i in draw.examples])
        model = LogisticRegression(C=10.0, max_iter=500).fit(rows, posts.labels[draw.examples])
        took = time.perf_counter() - started
        held_out = words.transform([posts.texts[i] for i in draw.held_out])
        return _all_labels(model, held_out, len(space.names)), took


class SetFitPeer:
    """SetFit (Tunstall et al., 2022): fine-tunes the sentence model on pairs of examples, as published.

    Twenty pairs of the same label and twenty of two labels for each example, one pass, batches of 16, then
    logistic regression. On a processor that is minutes for 8 examples a label of 4, an hour for 64.

    Args:
        source: the sentence-transformers name or folder that it starts from.
        pairs: of each kind for an example.

    Raises:
        FatalError: SetFit is not installed, or doesn't work with what is.
    """

    name = "setfit"
    least_shots = 1
    slow = True

    def __init__(self, source: str, pairs: int = SETFIT_PAIRS) -> None:
        self._source = bundled_folder() if source == BUNDLED_NAME else source
        self._pairs = pairs
        self._setfit: Any = _import("setfit")
        self._datasets: Any = _import("datasets")

    def judge(self, space: LabelSpace, posts: Collection, draw: Draw) -> tuple[Probabilities, float]:
        """Fine-tune on the examples' texts and judge."""
        try:
            return self._judge(posts, draw, len(space.names))
        except Exception as error:  # whatever a library of another version raises
            raise FatalError(f"SetFit failed: {type(error).__name__}: {_in_short(error)}") from error

    def _judge(self, posts: Collection, draw: Draw, count: int) -> tuple[Probabilities, float]:
        texts = [posts.texts[i] for i in draw.examples]
        started = time.perf_counter()
        data = self._datasets.Dataset.from_dict(
            {"text": texts, "label": posts.labels[draw.examples].tolist()}
        )
        model = self._setfit.SetFitModel.from_pretrained(self._source)
        with tempfile.TemporaryDirectory() as scratch:  # its trainer writes a folder, whatever it is told
            arguments = self._setfit.TrainingArguments(
                output_dir=scratch,
                num_iterations=self._pairs,
                num_epochs=1,
                batch_size=16,
                seed=0,
                save_strategy="no",
                report_to="none",
                show_progress_bar=False,
            )
            with contextlib.redirect_stdout(sys.stderr):
                self._setfit.Trainer(model=model, args=arguments, train_dataset=data).train()
        took = time.perf_counter() - started
        rows = np.asarray(model.encode([posts.texts[i] for i in draw.held_out], show_progress_bar=False))
        return _all_labels(model.model_head, rows, count), took


class NliPeer:
    """Zero-shot classification by entailment (Yin et al., 2019), by transformers' pipeline.

    Each phrase of a label is a hypothesis, "This text is about …"; a label has the mean of its phrases'
    scores. It learns from no example, and takes a pass of its model for each post and phrase.

    Args:
        folder: of a sequence-classification model with a label called entailment.

    Raises:
        FatalError: the folder holds no such model.
    """

    name = "nli"
    least_shots = 0
    slow = True

    def __init__(self, folder: str) -> None:
        if not Path(folder).is_dir():
            raise FatalError(f"{folder} is not a folder with a model")
        transformers = _import("transformers")
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        try:
            self._pipeline: Any = transformers.pipeline(
                "zero-shot-classification", model=folder, device="cpu"
            )
        except Exception as error:  # whatever a model of another kind raises
            said = _in_short(error)
            raise FatalError(f"{folder} holds no model that classifies sequences: {said}") from error
        if self._pipeline.entailment_id == -1:
            raise FatalError(f"{folder}: none of its labels is called entailment, so it is no NLI model")
        places = int(getattr(self._pipeline.model.config, "max_position_embeddings", NLI_TOKENS))
        tokenizer = self._pipeline.tokenizer  # many say nothing of a limit, and a long post then fails
        tokenizer.model_max_length = min(tokenizer.model_max_length, NLI_TOKENS, places - RESERVED)
        self._known: dict[tuple[str, tuple[str, ...]], NDArray[np.float32]] = {}

    def judge(self, space: LabelSpace, posts: Collection, draw: Draw) -> tuple[Probabilities, float]:
        """Judge; there is nothing to fit, and a post that an earlier draw held out isn't judged again."""
        try:
            return np.array([self._label(posts.texts[i], space) for i in draw.held_out], np.float32), 0.0
        except Exception as error:  # whatever a library of another version raises
            raise FatalError(f"the NLI model failed: {type(error).__name__}: {_in_short(error)}") from error

    def _label(self, text: str, space: LabelSpace) -> NDArray[np.float32]:
        key = (text, space.phrases)
        if key not in self._known:
            found = self._pipeline(text, list(dict.fromkeys(space.phrases)), hypothesis_template=HYPOTHESIS)
            scores = dict(zip(found["labels"], found["scores"], strict=True))
            each = np.array([scores[phrase] for phrase in space.phrases])
            counts = np.bincount(space.phrase_labels)
            means = np.bincount(space.phrase_labels, each) / counts
            self._known[key] = (means / means.sum()).astype(np.float32)
        return self._known[key]


ALWAYS: Final[dict[str, Callable[[], Contestant]]] = {
    LogisticRegressionPeer.name: LogisticRegressionPeer,
    TfidfPeer.name: TfidfPeer,
}
"""Peers that come with what Feedsight needs anyway."""


def choose_peers(names: Sequence[str] | None, source: str, nli: str | None = None) -> list[Contestant]:
    """Build peers.

    Args:
        names: which; where left out, all that can run here: SetFit where it is installed.
        source: the sentence model that SetFit starts from.
        nli: the folder of an NLI model; none where left out.

    Raises:
        FatalError: there is no peer of a name, it is not installed, or no NLI model is in the folder.
    """
    peers: list[Contestant] = []
    if names is None:
        peers = [create() for create in ALWAYS.values()]
        if importlib.util.find_spec(SetFitPeer.name) is not None:
            try:
                peers.append(SetFitPeer(source))
            except FatalError as error:
                logger.warning("left out: %s", error.detail)
    for name in names or ():
        if name not in (*ALWAYS, SetFitPeer.name):
            raise FatalError(f"no peer {name!r}; there are {', '.join(ALWAYS)} and {SetFitPeer.name}")
        peers.append(ALWAYS[name]() if name in ALWAYS else SetFitPeer(source))
    return peers if nli is None else [*peers, NliPeer(nli)]


def _in_short(error: Exception) -> str:
    """What a library says, in a line."""
    return " ".join(str(error).split())[:200]


def _import(name: str) -> Any:
    if importlib.util.find_spec(name) is None:
        raise FatalError(f"{name} is not installed: pip install {name}")
    try:
        return importlib.import_module(name)
    except Exception as error:  # of one version beside another: ImportError, AttributeError, RuntimeError
        raise FatalError(f"{name} doesn't work with what is installed: {_in_short(error)}") from error


def _all_labels(model: Any, rows: Any, count: int) -> NDArray[np.float32]:
    """Probabilities with a column for each label, seen in the examples or not."""
    found = np.zeros((rows.shape[0], count), np.float32)
    found[:, model.classes_.astype(np.int64)] = model.predict_proba(rows)
    return found
