"""No pickle is loaded from anywhere: no code asks for it, and gensim's files are read without trust."""

import ast
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workers.text.models.gensim_file import read_gensim

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("schemas", "config", "workers", "stream", "cli", "web", "sources", "benchmarks", "examples")
SOURCES = sorted(path for folder in SHIPPED for path in (ROOT / folder).rglob("*.py"))
READER = ROOT / "workers/text/models/gensim_file.py"
"""The one module that may import pickle: to forbid in one what nobody needs."""

LOADERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle"}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Calls by their dotted names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def keyword(call: ast.Call, name: str) -> Any:
    return next((ast.literal_eval(k.value) for k in call.keywords if k.arg == name), None)


def test_no_module_loads_a_pickle() -> None:
    assert SOURCES
    for path in SOURCES:
        check(path)


def check(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert path == READER or not LOADERS & {name.split(".")[0] for name in names}, path
    for name, call in calls(tree):
        if name in ("np.load", "numpy.load"):
            assert not keyword(call, "allow_pickle"), path
        if name == "torch.load":
            assert keyword(call, "weights_only") is True, path
        assert name != "torch.jit.load", path
        assert not name.endswith((".read_pickle", "KeyedVectors.load", "Word2Vec.load"))
        assert keyword(call, "trust_remote_code") is not True if "from_pretrained" in name else True
        if name.endswith("yaml.load"):
            assert "Safe" in ast.unparse(call.args[1]) or "_UniqueKeyLoader" in ast.unparse(call.args[1])


def keyed(count: int, size: int) -> Any:
    from gensim.models import KeyedVectors

    vectors = KeyedVectors(vector_size=size)
    rows = np.arange(count * size, dtype=np.float32).reshape(count, size)
    vectors.add_vectors([f"word{n}" for n in range(count)], rows)
    return vectors


@pytest.mark.parametrize("separately", [[], ["vectors"]], ids=["in one file", "beside the file"])
def test_what_gensim_saved_is_read_whole(tmp_path: Path, separately: list[str]) -> None:
    saved = keyed(20, 3)
    saved.save(str(tmp_path / "v.kv"), separately=separately)
    assert (tmp_path / "v.kv.vectors.npy").exists() == bool(separately)
    words, vectors = read_gensim(tmp_path / "v.kv")
    assert words == saved.index_to_key
    assert np.array_equal(vectors, saved.vectors)


class RunsCode:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_a_file_that_would_run_code_is_not_opened(tmp_path: Path) -> None:
    for evil in (RunsCode(tmp_path / "ran"), [keyed(2, 3), RunsCode(tmp_path / "ran")]):
        (tmp_path / "v.kv").write_bytes(pickle.dumps(evil))
        with pytest.raises(ValueError, match="it names pathlib"):
            read_gensim(tmp_path / "v.kv")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"word vectors", pickle.dumps([1, 2]), pickle.dumps({"a": 1})])
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "v.kv").write_bytes(content)
    with pytest.raises(ValueError, match=r"."):
        read_gensim(tmp_path / "v.kv")


def test_a_matrix_of_objects_beside_the_file_is_not_opened(tmp_path: Path) -> None:
    keyed(20, 3).save(str(tmp_path / "v.kv"), separately=["vectors"])
    np.save(tmp_path / "v.kv.vectors.npy", np.array([RunsCode(tmp_path / "ran")], object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        read_gensim(tmp_path / "v.kv")
    assert not (tmp_path / "ran").exists()
