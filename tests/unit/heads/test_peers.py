"""Peers in `feedsight eval`: SetFit where it is installed, and what becomes of one that fails."""

import importlib.machinery
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cli import evaluate
from cli.main import create_app
from workers.errors import FatalError
from workers.text.heads.base import LabelSpace
from workers.text.heads.peers import choose_peers
from workers.text.heads.trials import Collection

WORDS = ("apple", "boat", "cloud")


class FakeModel:
    """Knows the word a text begins with."""

    classes_ = np.arange(3)

    def __init__(self, source: str) -> None:
        self.source = source
        self.model_head = self

    @classmethod
    def from_pretrained(cls, source: str) -> "FakeModel":
        return cls(source)

    def encode(self, texts: list[str], **_: Any) -> Any:
        return np.array([WORDS.index(text.split()[0]) for text in texts])

    def predict_proba(self, rows: Any) -> Any:
        return np.eye(3)[rows]


class FakeTrainer:
    """Remembers what it was given; fails where it is told to."""

    seen: list[dict[str, Any]]
    broken = False

    def __init__(self, **given: Any) -> None:
        self.seen.append(given)

    def train(self) -> None:
        if self.broken:
            raise RuntimeError("another version")


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> type[FakeTrainer]:
    """A SetFit that is installed."""
    made = type("FakeTrainer", (FakeTrainer,), {"seen": []})
    modules = {
        "setfit": {"SetFitModel": FakeModel, "Trainer": made, "TrainingArguments": types.SimpleNamespace},
        "datasets": {"Dataset": types.SimpleNamespace(from_dict=lambda columns: columns)},
    }
    for name, members in modules.items():
        module = types.ModuleType(name)
        module.__dict__.update(members, __spec__=importlib.machinery.ModuleSpec(name, None))
        monkeypatch.setitem(sys.modules, name, module)
    return made


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs `feedsight eval` on 60 posts of three labels."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    rows = np.eye(8)[labels] + 0.2 * rng.normal(size=(60, 8))
    unit = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    space = LabelSpace(WORDS, WORDS, np.arange(3), ("name",) * 3, np.eye(8, dtype=np.float32)[:3])
    posts = Collection([f"{WORDS[label]} {i}" for i, label in enumerate(labels)], unit, labels)
    monkeypatch.setattr(evaluate, "read_posts", lambda *_, **__: (space, posts))
    (tmp_path / "l.yaml").write_text("name: x\nlabels: [apple, boat, cloud]\n")

    def run(*arguments: str) -> Any:
        common = ("eval", "p.jsonl", "--labels", str(tmp_path / "l.yaml"), "--seeds", "2")
        return CliRunner().invoke(create_app(), [*common, *arguments])

    return run


def heads_of(output: str) -> set[tuple[str, int]]:
    return {(row["head"], row["shots"]) for row in json.loads(output)["results"]}


def test_setfit_is_among_those_compared_where_it_is_installed(judge, trainer):
    done = judge("--shots", "0,2", "--compare", "--json")

    assert done.exit_code == 0, done.output
    assert ("setfit", 2) in heads_of(done.stdout)
    assert ("setfit", 0) not in heads_of(done.stdout)
    assert [len(one["train_dataset"]["text"]) for one in trainer.seen] == [6, 6]
    assert Path(trainer.seen[0]["model"].source, "modules.json").exists()  # a folder: nothing is downloaded
    row = next(row for row in json.loads(done.stdout)["results"] if row["head"] == "setfit")
    assert row["accuracy"]["mean"] == 1.0


def test_peers_are_chosen_by_name(judge, trainer):
    done = judge("--shots", "2", "--peers", "setfit", "--json")

    assert heads_of(done.stdout) == {("product", 2), ("setfit", 2)}
    done = judge("--shots", "2", "--heads", "wmap", "--peers", "tfidf_logistic_regression", "--json")
    assert heads_of(done.stdout) == {("wmap", 2), ("tfidf_logistic_regression", 2)}


def test_a_peer_that_fails_is_left_out_and_said(judge, trainer):
    trainer.broken = True
    done = judge("--shots", "2,4", "--peers", "setfit", "--json")

    assert done.exit_code == 1
    assert heads_of(done.stdout) == {("product", 2), ("product", 4)}
    assert done.stderr.count("setfit is left out: SetFit failed: RuntimeError: another version") == 1


def test_a_peer_that_is_not_there_is_said_at_once(judge, monkeypatch):
    monkeypatch.setitem(sys.modules, "setfit", None)
    monkeypatch.setattr("workers.text.heads.peers.importlib.util.find_spec", lambda _: None)

    done = judge("--peers", "setfit")
    assert (done.exit_code, "pip install setfit" in done.stderr) == (2, True)
    done = judge("--peers", "magic")
    assert (done.exit_code, "no peer 'magic'" in done.stderr) == (2, True)
    assert [peer.name for peer in choose_peers(None, "sentence")] == [
        "logistic_regression",
        "tfidf_logistic_regression",
    ]


def test_a_setfit_that_does_not_work_here_is_left_out(trainer, monkeypatch, caplog):
    def refuse(_: str) -> Any:
        raise ImportError("cannot import name 'default_logdir'")

    monkeypatch.setattr("workers.text.heads.peers.importlib.import_module", refuse)

    assert "setfit" not in [peer.name for peer in choose_peers(None, "sentence")]
    assert "setfit doesn't work with what is installed" in caplog.text
    with pytest.raises(FatalError, match="default_logdir"):
        choose_peers(["setfit"], "sentence")


def test_word_vectors_bring_the_classics_that_need_them(judge, tmp_path, monkeypatch):
    words = [f"{a}{b}{c}" for a in "bcdfg" for b in "aeiou" for c in "nrst"]
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "v.npz", words=np.array(words), vectors=rng.normal(size=(len(words), 5)))
    monkeypatch.setattr(
        "workers.text.models.SentenceEncoder.encode", lambda _, texts: rng.normal(size=(len(texts), 8))
    )
    done = judge("--shots", "0,2", "--vectors", str(tmp_path / "v.npz"), "--json")

    assert done.exit_code == 0, done.output
    assert {("zmap", 0), ("zmap", 2), ("zmap_wmap", 2)} <= heads_of(done.stdout)
    done = judge("--vectors", str(tmp_path / "none.kv"))
    assert (done.exit_code, "none.kv does not exist" in done.stderr) == (2, True)
