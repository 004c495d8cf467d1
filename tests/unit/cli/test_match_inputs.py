"""What `feedsight match` makes of its arguments and of what stands beside one another in a manifest."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from typer.testing import CliRunner, Result

from cli.main import create_app


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A board with a flaw, and two references of which one is the board without it."""
    rng = np.random.default_rng(7)
    board = np.kron(rng.integers(0, 2, (16, 16)) * 180 + 30, np.ones((16, 16))).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "good.png")
    Image.fromarray(board[::-1].copy()).save(tmp_path / "other.png")
    flawed = Image.fromarray(board)
    ImageDraw.Draw(flawed).rectangle([100, 60, 129, 79], fill=120)
    flawed.save(tmp_path / "part.png")
    return tmp_path


def _match(*arguments: object) -> Result:
    return CliRunner().invoke(create_app(), ["match", *map(str, arguments)])


def _lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_neighbours_reference_is_not_lent_to_an_image_that_names_none(folder: Path) -> None:
    """What an image is compared with does not depend on the lines around it."""
    manifest = folder / "list.jsonl"
    manifest.write_text(
        '{"id": "own", "path": "part.png", "reference": "good.png"}\n{"id": "none", "path": "part.png"}\n'
    )
    result = _match("--mode", "compare", manifest)
    own, none = _lines(result)
    assert (own["verdict"], own["compared_with"]) == ("defect", "good.png")
    assert none["id"] == "none"
    assert "error" in none
    assert result.exit_code == 1


def test_the_only_reference_stays_the_default_beside_lent_ones(folder: Path) -> None:
    """An image that names none is compared with the one reference there is."""
    references = folder / "references"
    references.mkdir()
    (folder / "good.png").rename(references / "good.png")
    manifest = folder / "list.jsonl"
    manifest.write_text(
        '{"id": "own", "path": "part.png", "reference": "other.png"}\n{"id": "none", "path": "part.png"}\n'
    )
    result = _match("--mode", "compare", "--references", references, manifest)
    assert [line["compared_with"] for line in _lines(result)] == ["other.png", "good.png"]
    assert result.exit_code == 0


def test_the_margin_widens_boxes(folder: Path) -> None:
    """`--margin` is in pixels, on each side."""
    boxes = {}
    for margin in (0, 5):
        manifest = folder / "list.jsonl"
        manifest.write_text('{"path": "part.png", "reference": "good.png"}\n')
        found = _lines(_match("--mode", "compare", "--margin", margin, manifest))[0]
        (region,) = found["regions"]
        boxes[margin] = np.array(region["box"])
    assert (boxes[0] - boxes[5]).tolist() == [5, 5, -5, -5]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--threshold", "nan", "part.png"], "finite"),
        (["--margin", "-1", "part.png"], "margin_px"),
        (["empty"], "folder empty holds no image"),
        (["gone.jsonl"], "does not exist"),
    ],
)
def test_wrong_arguments_are_one_line_and_status_2(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    """Nothing is written to standard output."""
    monkeypatch.chdir(folder)
    (folder / "empty").mkdir()
    result = _match("--mode", "compare", "--references", "good.png", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
