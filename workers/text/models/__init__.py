"""Models for text: the only place in workers.text that imports torch or ONNX Runtime."""

from workers.text.models.provider import Provider
from workers.text.models.sentence import BUNDLED_NAME, SentenceEncoder, Window
from workers.text.models.word_vectors import (
    RidgeMap,
    WordVectors,
    fit_ridge,
    load_word_vectors,
    to_keyed_vectors,
)

__all__ = [
    "BUNDLED_NAME",
    "Provider",
    "RidgeMap",
    "SentenceEncoder",
    "Window",
    "WordVectors",
    "fit_ridge",
    "load_word_vectors",
    "to_keyed_vectors",
]
