"""Reads word vectors from gensim's own files without trusting them.

gensim keeps KeyedVectors as a pickle, and a pickle may run any code when it is loaded. Here nothing may be
named in one but KeyedVectors and plain arrays, and of what it holds only words and numbers are taken.
"""

import pickle
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ALLOWED: Final = frozenset(
    {
        ("gensim.models.keyedvectors", "KeyedVectors"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy.core.multiarray", "_reconstruct"),
    }
)
"""All that gensim 4 writes for KeyedVectors, with NumPy 1 or 2."""


class _NothingElse(pickle.Unpickler):
    """Refuses every name that is not allowed, before anything is imported."""

    def find_class(self, module: str, name: str) -> Any:
        """Give what a pickle names."""
        if (module, name) not in ALLOWED:
            raise ValueError(f"it names {module}.{name}, which no word vectors need: not opened")
        return super().find_class(module, name)


def read_gensim(file: Path) -> tuple[list[str], NDArray[np.float32]]:
    """Read what `KeyedVectors.save` wrote.

    Args:
        file: the main file; a large matrix stands in `FILE.vectors.npy` beside it.

    Returns:
        The words, and their vectors, float32, shape (len(words), d).

    Raises:
        ValueError: it holds anything else.
        OSError: it can't be read.
    """
    try:
        with file.open("rb") as opened:
            held = vars(_NothingElse(opened, encoding="latin1").load())
    except (pickle.UnpicklingError, EOFError, AttributeError, TypeError, IndexError, KeyError) as error:
        raise ValueError(" ".join(str(error).split())[:200] or "not a file of gensim's") from error
    vectors = held.get("vectors")
    if vectors is None and "vectors" in held.get("__numpys", ()):
        vectors = np.load(file.with_name(f"{file.name}.vectors.npy"), allow_pickle=False)
    words = held.get("index_to_key")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError("it lists no words")
    if not isinstance(vectors, np.ndarray) or vectors.dtype.kind != "f" or vectors.ndim != 2:
        raise ValueError("it holds no matrix")
    if len(vectors) != len(words):
        raise ValueError(f"{len(words)} words and {len(vectors)} vectors")
    return words, vectors.astype(np.float32)
