"""Models that users bring in a folder: a multilingual sentence model, and an NLI model to compare with."""

import json
from pathlib import Path
from typing import Any

import pytest
from text_tiny_models import make_nli_model, make_sentence_model
from typer.testing import CliRunner

from cli.main import create_app

LABELS = "name: kinds\nlabels: [спорт, 政治, {name: اقتصاد, description: shares of the bank}]\n"
POSTS = ("el equipo ganó el partido", "洪水が街を襲った", "فيضان في المدينة", "🔥🔥🔥")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tiny")
    (made / "labels.yaml").write_text(LABELS, encoding="utf-8")
    make_sentence_model(made)
    make_nli_model(made / "nli")
    posts = [{"id": str(i), "text": text} for i, text in enumerate(POSTS)]
    (made / "posts.jsonl").write_text("\n".join(map(json.dumps, posts)), encoding="utf-8")
    (made / "long.txt").write_text("the team won the match. " * 60, encoding="utf-8")
    judged = [
        {"text": f"{text} {i} " * (1 + 40 * i), "label": name}
        for i in range(3)
        for text, name in zip(POSTS, ("спорт", "政治", "اقتصاد", "спорт"), strict=True)
    ]
    (made / "judged.jsonl").write_text("\n".join(map(json.dumps, judged)), encoding="utf-8")
    return made


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("FEEDSIGHT_CACHE", str(folder / "cache"))
    return CliRunner().invoke(create_app(), [*arguments, "--labels", "labels.yaml", "--threads", "1"])


def test_a_sentence_model_of_other_languages_labels_by_its_folder(folder, monkeypatch):
    done = run(folder, monkeypatch, "label", "--model", "model", "--explain", "posts.jsonl", "long.txt")

    assert done.exit_code == 0, done.output
    *posts, document = map(json.loads, done.stdout.splitlines())
    assert {c["label"] for c in posts[0]["candidates"]} == {"спорт", "政治", "اقتصاد"}
    assert len({json.dumps(post["candidates"]) for post in posts}) == len(POSTS)
    assert all(post["evidence"]["nearest"] for post in posts)
    start, end = document["evidence"]["window"]
    assert 0 <= start < end <= 24 * 60


def test_an_nli_model_is_compared_with_by_its_folder(folder, monkeypatch):
    command = ("eval", "judged.jsonl", "--model", "model", "--shots", "0", "--seeds", "2", "--json")
    done = run(folder, monkeypatch, *command, "--nli", "nli")

    assert done.exit_code == 0, done.output
    heads = {row["head"]: row for row in json.loads(done.stdout)["results"]}
    assert set(heads) == {"product", "nli"}
    assert 0 <= heads["nli"]["accuracy"]["mean"] <= 1


def test_a_model_that_is_no_nli_model_is_refused(folder, monkeypatch):
    make_nli_model(folder / "moods", ("sad", "glad"))
    command = ("eval", "judged.jsonl", "--model", "model", "--shots", "0", "--nli")

    for name, said in (("moods", "no NLI model"), ("posts.jsonl", "not a folder")):
        done = run(folder, monkeypatch, *command, name)
        assert (done.exit_code, said in done.stderr) == (2, True)
