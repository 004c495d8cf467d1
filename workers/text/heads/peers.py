"""What one would otherwise reach for: logistic regression on embeddings or words; SetFit where installed."""

import importlib
import importlib.util
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.text.heads.base import LabelSpace
from workers.text.heads.metrics import Probabilities
from workers.text.heads.trials import Collection, Contestant, Draw


class LogisticRegressionPeer:
    """scikit-learn's logistic regression on the same embeddings, C = 10; it needs examples."""

    name = "logistic_regression"
    least_shots = 1

    def judge(self, space: LabelSpace, posts: Collection, draw: Draw) -> tuple[Probabilities, float]:
        """Fit to the examples and judge."""
        from sklearn.linear_model import LogisticRegression

        started = time.perf_counter()
        model = LogisticRegression(C=10.0, max_iter=500)
        model.fit(posts.embeddings[draw.examples], posts.labels[draw.examples])
        took = time.perf_counter() - started
        return _all_labels(model, posts.embeddings[draw.held_out], len(space.names)), took


class TfidfPeer:
    """Words and pairs of words, weighted by TF-IDF, and logistic regression; it needs examples."""

    name = "tfidf_logistic_regression"
    least_shots = 1

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
    """SetFit (Tunstall et al., 2022), which fine-tunes the sentence model on pairs of examples.

    Args:
        source: the sentence-transformers name or folder that it starts from.
    """

    name = "setfit"
    least_shots = 1

    def __init__(self, source: str) -> None:
        self._source = source

    def judge(self, space: LabelSpace, posts: Collection, draw: Draw) -> tuple[Probabilities, float]:
        """Fine-tune on the examples' texts and judge."""
        from setfit import SetFitModel, Trainer, TrainingArguments

        started = time.perf_counter()
        texts = [posts.texts[i] for i in draw.examples]
        data = importlib.import_module("datasets").Dataset.from_dict(
            {"text": texts, "label": posts.labels[draw.examples].tolist()}
        )
        model = SetFitModel.from_pretrained(self._source)
        arguments = TrainingArguments(num_epochs=1, batch_size=16, seed=0)
        Trainer(model=model, args=arguments, train_dataset=data).train()
        took = time.perf_counter() - started
        rows = np.asarray(model.encode([posts.texts[i] for i in draw.held_out]))
        return _all_labels(model.model_head, rows, len(space.names)), took


def installed_peers(source: str) -> list[Contestant]:
    """Name the peers that can run here; SetFit where it is installed.

    Args:
        source: the sentence model that SetFit starts from.
    """
    peers: list[Contestant] = [LogisticRegressionPeer(), TfidfPeer()]
    if importlib.util.find_spec("setfit") is not None:
        peers.append(SetFitPeer(source))
    return peers


def _all_labels(model: Any, rows: Any, count: int) -> NDArray[np.float32]:
    """Probabilities with a column for each label, seen in the examples or not."""
    found = np.zeros((rows.shape[0], count), np.float32)
    found[:, model.classes_.astype(np.int64)] = model.predict_proba(rows)
    return found
