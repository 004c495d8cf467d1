"""The parts of lanes: copies, margins, the student, samples."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from workers.errors import FatalError
from workers.text.cascade_lane import margin_for
from workers.text.duplicates import Remembered, fingerprint
from workers.text.models import RidgeMap, fit_ridge
from workers.text.samples import read_examples, read_unlabelled
from workers.text.student import probabilities_of, teach


@pytest.mark.parametrize(
    "copy",
    [
        "RT @fan: Goal! Two nil, what a match",
        "goal, two nil: what a match!!!",
        "Goal! Two nil, what a match https://t.co/abc",
        "  GOAL…  two nil “what a match” @you",
    ],
)
def test_copies_have_one_fingerprint(copy):
    assert fingerprint(copy) == fingerprint("Goal! Two nil, what a match")


def test_other_texts_and_short_ones_are_no_copies():
    texts = [
        "Goal! Two nil, what a match",
        "Goal! Three nil, what a match",
        "ok",
        "ok!",
        "🙂",
        "🙃",
        "@a",
        "@b",
    ]

    assert len({fingerprint(text) for text in texts}) == len(texts)


def test_the_oldest_in_use_is_forgotten():
    memory: Remembered[str] = Remembered(2)
    memory.keep(1, "a", "A")
    memory.keep(2, "b", "B")
    memory.find(1)
    memory.keep(3, "c", "C")

    assert memory.find(1) == ("a", "A")
    assert memory.find(2) is None


def test_the_margin_sends_on_just_enough_for_the_agreement():
    margins = np.array([0.1, 0.2, 0.3, 0.4, 0.5], np.float32)
    agree = np.array([False, True, False, True, True])

    assert margin_for(margins, agree, agreement=1.0, max_share=1.0) == pytest.approx(0.4)
    assert margin_for(margins, agree, agreement=0.8, max_share=1.0) == pytest.approx(0.2)
    assert margin_for(margins, agree, agreement=1.0, max_share=0.4) == pytest.approx(0.3)
    assert margin_for(margins, agree, agreement=0.5, max_share=1.0) == pytest.approx(0.1)


def test_lanes_that_never_agree_send_on_all():
    assert margin_for(np.ones(3, np.float32), np.zeros(3, bool), agreement=1.0, max_share=1.0) == float("inf")


def test_a_ridge_map_finds_the_map_it_was_made_with():
    random = np.random.default_rng(0)
    inputs = random.normal(size=(400, 5)).astype(np.float32)
    true = RidgeMap(
        np.zeros(5, np.float32), random.normal(size=(5, 5)).astype(np.float32), np.ones(5, np.float32)
    )

    found = fit_ridge(inputs, true.apply(inputs), ridge=1e-6)

    np.testing.assert_allclose(found.apply(inputs), true.apply(inputs), atol=1e-3)


@pytest.mark.parametrize("independent", [False, True])
def test_a_student_learns_which_words_mean_which_label(independent):
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 400)
    counts = random.poisson(0.3, (400, 12)).astype(np.float32)
    counts[np.arange(400), labels] += 2
    rows = random.normal(size=(400, 4)).astype(np.float32)
    targets = np.where(np.eye(2)[labels] > 0, 3.0, -3.0).astype(np.float32)
    sparse = csr_matrix(counts)

    student = teach(sparse, rows, targets, independent=independent)
    scores = student.score(sparse @ student.words, sparse @ student.lengths, rows)
    found = probabilities_of(scores, independent=independent)

    assert (found.argmax(axis=1) == labels).mean() > 0.95
    assert ((found >= 0) & (found <= 1)).all()


def test_examples_may_have_one_label_several_or_none(tmp_path):
    (tmp_path / "e.jsonl").write_text(
        '{"text": "a", "label": "x", "id": 1}\n\n{"text": "b", "labels": ["x", "y"]}\n'
        '{"text": "c", "label": null}\n'
    )

    assert read_examples(tmp_path / "e.jsonl") == [("a", "x"), ("b", "x"), ("b", "y"), ("c", None)]


@pytest.mark.parametrize(
    "line", ["[]", '{"text": "a"}', '{"text": " ", "label": "x"}', '{"text": "a", "label": 3}']
)
def test_a_line_that_is_no_example_is_named(tmp_path, line):
    (tmp_path / "e.jsonl").write_text('{"text": "a", "label": "x"}\n' + line + "\n")

    with pytest.raises(FatalError, match="line 2"):
        read_examples(tmp_path / "e.jsonl")


def test_a_sample_skips_bad_lines_and_is_thinned_evenly(tmp_path):
    lines = [f'{{"text": "post {i}"}}' for i in range(100)]
    (tmp_path / "u.jsonl").write_text("\n".join([*lines, "bad", '{"text": 3}', ""]))

    texts, skipped = read_unlabelled(tmp_path / "u.jsonl")
    assert (len(texts), skipped) == (100, 2)
    few, _ = read_unlabelled(tmp_path / "u.jsonl", limit=10)
    assert len(few) == 10
    assert int(few[-1].split()[1]) > 80
