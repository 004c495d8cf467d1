"""Figures of a search, and the command that gives them for one's own folder."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cli.main import create_app
from tests.unit.image.drawn import gradient, part
from workers.image.evaluation.figures import attainable, precision_at, search_score


def test_the_search_score_counts_the_first_most():
    assert search_score(np.ones((2, 15), bool)) == 100
    assert search_score(np.zeros((2, 15), bool)) == 0
    first = np.zeros((1, 15), bool)
    first[0, 0] = True
    assert search_score(first) == pytest.approx(100 * 15 / 120)
    assert search_score(first[:, ::-1]) == pytest.approx(100 * 1 / 120)


def test_a_class_of_ten_cannot_reach_all_of_fifteen():
    labels = ["a"] * 10 + ["b"] * 16
    nine_first = np.array([[True] * 9 + [False] * 6])
    assert attainable(labels[:10]) == pytest.approx(search_score(nine_first)) == 82.5
    assert attainable(labels[10:]) == 100


def test_precision_is_the_share_of_right_ones():
    assert precision_at(np.array([[True, False, True, True]]), 2) == 0.5


@pytest.fixture
def folder(tmp_path):
    for seed in range(4):
        for name, image in (
            ("metal", part(seed)),
            ("sky", gradient(64 + 4 * seed, 48).resize((160, 120 + seed))),
        ):
            (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
            image.save(tmp_path / "set" / name / f"{seed}.png")
    (tmp_path / "set" / "sky" / "broken.png").write_bytes(b"no image")
    return tmp_path / "set"


def test_the_command_compares_layers_and_metrics_and_draws_them(folder, tmp_path):
    picture = tmp_path / "p.png"
    done = CliRunner().invoke(
        create_app(),
        ["eval-images", str(folder), "--layers", "block4", "-k", "3", "--json", "--plot", str(picture)],
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["images"], found["classes"], found["k"]) == (8, 2, 3)
    assert {(row["layer"], row["metric"]) for row in found["results"]} == {
        (layer, metric)
        for layer in ("head", "pooled", "block4")
        for metric in ("context", "cosine", "euclidean")
        if (layer, metric) != ("pooled", "context")
    }
    assert found["results"][0]["name"] == "similarity mode"
    assert found["results"][0]["precision"] == 1
    assert "1 images left out" in done.stderr
    assert Image.open(picture).format == "PNG"


def test_the_command_prints_a_table(folder):
    done = CliRunner().invoke(create_app(), ["eval-images", str(folder), "--layers", "head", "--limit", "6"])
    assert done.exit_code == 0
    assert "similarity mode" in done.stdout
    assert "euclidean" in done.stdout


@pytest.mark.parametrize("layers", ["nosuch", "head,nosuch"])
def test_an_unknown_layer_is_a_usage_error(folder, layers):
    done = CliRunner().invoke(create_app(), ["eval-images", str(folder), "--layers", layers])
    assert done.exit_code == 2


def test_a_folder_of_one_class_is_a_usage_error(folder):
    done = CliRunner().invoke(create_app(), ["eval-images", str(folder / "metal")])
    assert done.exit_code == 2
    assert "two classes" in done.stderr
