"""`feedsight vectors`: train, distil, show."""

import json

import numpy as np
from typer.testing import CliRunner

from cli.main import create_app


def vectors(*arguments):
    return CliRunner().invoke(create_app(), ["vectors", *map(str, arguments)])


def test_vectors_are_trained_and_shown(tmp_path):
    texts = ["rain and storm in the north", "storm and rain again", "the team won the match"] * 20
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))

    done = vectors("train", tmp_path / "t.jsonl", "--out", tmp_path / "v.kv", "--dimensions", 8)
    assert done.exit_code == 0, done.output
    shown = vectors("show", tmp_path / "v.kv")
    assert "of 8 dimensions" in shown.output
    near = vectors("show", tmp_path / "v.kv", "Storm", "--top", 3)
    assert len(near.output.splitlines()) == 3
    assert vectors("show", tmp_path / "v.kv", "unheard").exit_code == 1


def test_vectors_are_distilled_from_the_sentence_model(tmp_path):
    done = vectors("distil", "--out", tmp_path / "s.kv")

    assert done.exit_code == 0, done.output
    near = vectors("show", tmp_path / "s.kv", "storm").output
    assert "storms" in near


def test_arrays_are_read_and_other_files_refused(tmp_path):
    np.savez(tmp_path / "v.npz", words=np.array(["a", "b"]), vectors=np.eye(2, dtype=np.float16))
    (tmp_path / "no.kv").write_text("nothing")
    (tmp_path / "few.txt").write_text("one two\n")

    assert "2 words of 2 dimensions" in vectors("show", tmp_path / "v.npz").output
    assert vectors("show", tmp_path / "no.kv").exit_code == 2
    assert vectors("show", tmp_path / "none.kv").exit_code == 2
    assert vectors("train", tmp_path / "few.txt", "--out", tmp_path / "v.kv").exit_code == 2
