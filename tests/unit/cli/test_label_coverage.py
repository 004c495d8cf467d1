"""A label set that abstains by coverage keeps to it over the files at hand."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.label_sample import MAX_SAMPLE, sample_inputs
from cli.main import create_app

LABELS = """
name: news
abstain: {coverage: 0.5}
labels:
  - name: sports
  - name: business
"""
TEXTS = [
    "the striker scores in the last minute of the match",
    "shares of the bank fell after a quarterly loss",
    "the tennis final went to five sets",
    "the company sold its factory to investors",
    "rain again",
    "who has seen my keys",
    "a cup of tea and a biscuit",
    "the coach praised the goalkeeper",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "labels.yaml").write_text(LABELS)
    posts = [json.dumps({"id": str(number), "text": text}) for number, text in enumerate(TEXTS)]
    (tmp_path / "posts.jsonl").write_text("\n".join(posts))
    return tmp_path


def _label(folder: Path, posts: object, given: str = "") -> tuple[Result, list[str | None]]:
    arguments = ["label", "--labels", str(folder / "labels.yaml"), "--model", "static", str(posts)]
    result = CliRunner().invoke(create_app(), arguments, input=given)
    return result, [json.loads(line)["label"] for line in result.stdout.splitlines()]


def test_half_of_a_file_gets_a_label(folder: Path) -> None:
    """Without --adapt, the file itself is what coverage is reckoned on."""
    result, labels = _label(folder, folder / "posts.jsonl")
    assert (result.exit_code, result.stderr) == (0, "")
    assert sum(label is not None for label in labels) == len(TEXTS) // 2


def test_a_sample_is_spread_evenly_over_the_files(tmp_path: Path) -> None:
    """Neither the first file nor the first lines make the sample."""
    for name in ("a", "b"):
        lines = [json.dumps({"id": f"{n}", "text": f"{name}{n}"}) for n in range(MAX_SAMPLE)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    sample = sample_inputs([str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")], lines=False)
    assert MAX_SAMPLE // 2 <= len(sample) <= MAX_SAMPLE
    assert sum(text.startswith("a") for text in sample) == len(sample) // 2


def test_documents_of_a_folder_are_texts(tmp_path: Path) -> None:
    """A document counts as one text, or as its lines with --lines; blank and broken ones are left out."""
    (tmp_path / "one.txt").write_text("first\nsecond\n")
    (tmp_path / "blank.txt").write_text(" \n")
    (tmp_path / "broken.txt").write_bytes(b"caf\xe9")
    assert sample_inputs([str(tmp_path)], lines=False) == ["first\nsecond\n"]
    assert sample_inputs([str(tmp_path)], lines=True) == ["first", "second"]


def test_standard_input_is_no_sample(tmp_path: Path) -> None:
    """It can be read only once, and its results are to flow."""
    assert sample_inputs(["-"], lines=False) == []
