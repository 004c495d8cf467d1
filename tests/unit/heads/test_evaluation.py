"""`feedsight eval` and what it measures with."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cli import evaluate
from cli.evaluate_picture import draw_confusion
from cli.main import create_app
from workers.text.heads.base import LabelSpace
from workers.text.heads.metrics import average_precision, confusion, coverage_at_precision, macro_f1
from workers.text.heads.trials import Collection, draw_posts


def make_collection(groups: bool = False) -> tuple[LabelSpace, Collection]:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 16))
    labels = np.arange(120) % 3
    rows = centres[labels] + 0.8 * rng.normal(size=(120, 16))
    unit = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    phrases = (centres / np.linalg.norm(centres, axis=1, keepdims=True)).astype(np.float32)
    space = LabelSpace(("a", "b", "c"), ("a", "b", "c"), np.arange(3), ("name",) * 3, phrases)
    words = ("apple", "boat", "cloud")
    texts = [f"{words[label]} number {i}" for i, label in enumerate(labels)]
    events = [f"event {i % 4}" for i in range(120)] if groups else None
    return space, Collection(texts, unit, labels, events)


def test_macro_f1_counts_each_label_alike_and_leaves_out_absent_ones() -> None:
    truth = np.array([0, 0, 0, 0, 1, 1])
    found = np.array([0, 0, 0, 0, 0, 1])
    assert macro_f1(found, truth, 3) == pytest.approx((8 / 9 + 2 / 3) / 2)


def test_confusion_has_the_truth_in_rows() -> None:
    assert confusion(np.array([1, 1]), np.array([0, 1]), 2).tolist() == [[0, 1], [0, 1]]


def test_coverage_at_precision_takes_the_surest_first() -> None:
    sure = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]], np.float32)
    truth = np.array([0, 0, 1, 0])
    assert coverage_at_precision(sure, truth, 1.0) == 0.5
    assert coverage_at_precision(sure, truth, 0.75) == 1.0
    assert coverage_at_precision(sure, 1 - truth, 1.0) == 0.0


def test_average_precision_of_a_ranking() -> None:
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    assert average_precision(scores, np.array([True, False, True])) == pytest.approx((1 + 2 / 3) / 2)


def test_draws_share_no_post_and_have_the_shots_asked_for() -> None:
    _, posts = make_collection()
    draw = draw_posts(posts, 5, seed=1)
    parts = [set(part.tolist()) for part in (draw.examples, draw.unlabelled, draw.held_out)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 120
    assert np.bincount(posts.labels[draw.examples]).tolist() == [5, 5, 5]
    again = draw_posts(posts, 5, seed=1)
    np.testing.assert_array_equal(draw.held_out, again.held_out)


def test_given_examples_are_known_in_every_draw_and_never_judged() -> None:
    _, plain = make_collection(groups=True)
    assert plain.groups is not None
    for groups in (None, plain.groups[:117]):
        posts = replace(plain, groups=groups, given=3)
        for shots in (0, 5):
            draw = draw_posts(posts, shots, seed=1)
            assert draw.examples[-3:].tolist() == [117, 118, 119]
            assert max(draw.held_out) < 117 > max(draw.unlabelled)


def test_across_groups_examples_are_of_other_events() -> None:
    _, posts = make_collection(groups=True)
    draw = draw_posts(posts, 5, seed=0)
    assert posts.groups is not None
    learned = {posts.groups[i] for i in draw.examples}
    judged = {posts.groups[i] for i in [*draw.held_out, *draw.unlabelled]}
    assert not learned & judged


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str, str]:
    space, posts = make_collection()
    monkeypatch.setattr(evaluate, "read_posts", lambda *_, **__: (space, posts))
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as labels:
        labels.write("name: x\nlabels: [a, b, c]\n")
        labels.flush()
        result = CliRunner().invoke(
            create_app(), ["eval", "posts.jsonl", "--labels", labels.name, *arguments]
        )
    return result.exit_code, result.stdout, result.stderr


def test_eval_compares_heads_and_peers_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    status, out, _ = run(monkeypatch, "--shots", "0,4", "--seeds", "2", "--compare", "--json")
    rows = json.loads(out)["results"]
    seen = {(row["head"], row["shots"]) for row in rows}
    assert status == 0
    assert {("product", 0), ("product", 4), ("zero_shot", 0), ("wmap", 4), ("linear", 4)} <= seen
    assert {("logistic_regression", 4), ("tfidf_logistic_regression", 4)} <= seen
    assert ("logistic_regression", 0) not in seen
    best = next(row for row in rows if (row["head"], row["shots"]) == ("product", 4))
    assert best["accuracy"]["mean"] > 0.8
    assert np.sum(best["confusion"]) == 120


def test_eval_prints_a_table_and_draws_a_picture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    picture = tmp_path / "c.png"
    status, out, _ = run(monkeypatch, "--shots", "4", "--seeds", "1", "--plot", str(picture))
    assert status == 0
    assert "macro F1" in out
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_eval_says_what_is_wrong_with_status_2(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status, _, said = run(monkeypatch, "--shots", "few")
    assert (status, "0,8,64" in said) == (2, True)
    status, _, said = run(monkeypatch, "--heads", "magic")
    assert (status, "magic" in said) == (2, True)
    missing = tmp_path / "none.jsonl"
    labels = tmp_path / "l.yaml"
    labels.write_text("name: x\nlabels: [a, b]\n", encoding="utf-8")
    monkeypatch.undo()
    result = CliRunner().invoke(create_app(), ["eval", str(missing), "--labels", str(labels)])
    assert (result.exit_code, "none.jsonl" in result.stderr) == (2, True)


def test_confusion_picture_holds_twenty_long_names(tmp_path: Path) -> None:
    names = [f"a rather long label name {i}" for i in range(20)]
    draw_confusion(np.eye(20, dtype=np.int64), names, "title", tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size > 1000


def test_eval_of_a_label_set_with_examples_of_its_own(tmp_path: Path) -> None:
    posts: list[tuple[str, str | int]] = [
        ("Goal in the last minute", "sports"),
        ("Shares fall", "business"),
        ("A red card", "sports"),
    ]
    posts += [("The bank reports a loss", "business"), ("Goal in the last minute!", "sports"), ("x", 7)]
    lines = [json.dumps({"text": text, "label": label}) for text, label in posts]
    (tmp_path / "p.jsonl").write_text("\n".join(lines))
    (tmp_path / "l.yaml").write_text(
        "name: x\nlabels:\n- {name: sports, examples: [The match ends in a draw, A red card]}\n"
        "- {name: business}\n- {name: '7'}\n"
    )
    command = ["eval", str(tmp_path / "p.jsonl"), "--labels", str(tmp_path / "l.yaml"), "--json"]
    done = CliRunner().invoke(create_app(), [*command, "--shots", "0", "--seeds", "1", "--threads", "1"])

    assert done.exit_code == 0, done.output
    assert "1 posts left out: examples of the label set" in done.stderr
    assert np.sum(json.loads(done.stdout)["results"][0]["confusion"]) == 3
    done = CliRunner().invoke(create_app(), [*command, "--plot", str(tmp_path / "no" / "c.png")])
    assert (done.exit_code, "no such folder" in done.stderr) == (2, True)


def test_eval_judges_the_faster_lanes_beside(tmp_path: Path) -> None:
    sports, business = "The striker scores in match {}", "Shares of bank {} fall after a loss"
    posts = [{"text": t.format(i), "label": n} for i in range(8) for t, n in ((sports, "s"), (business, "b"))]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, posts)))
    (tmp_path / "l.yaml").write_text(
        "name: x\nlabels:\n- {name: s, description: sports and matches}\n"
        "- {name: b, description: business and banks}\n"
    )
    command = [
        "eval",
        str(tmp_path / "p.jsonl"),
        "--labels",
        str(tmp_path / "l.yaml"),
        "--json",
        "--threads",
        "1",
    ]
    shots = ["--shots", "0,2", "--seeds", "1"]
    done = CliRunner().invoke(create_app(), [*command, *shots, "--lanes", "static,cascade"])

    assert done.exit_code == 0, done.output
    found = {
        (row["head"], row["shots"]): row["accuracy"]["mean"] for row in json.loads(done.stdout)["results"]
    }
    assert found["static lane", 2] == found["cascade lane", 2] == found["product", 2] == 1
    done = CliRunner().invoke(create_app(), [*command, "--model", "static"])
    assert (done.exit_code, "--lanes static" in done.stderr) == (2, True)
    done = CliRunner().invoke(create_app(), [*command, "--lanes", "fast"])
    assert (done.exit_code, "no lane 'fast'" in done.stderr) == (2, True)
