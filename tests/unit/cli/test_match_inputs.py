"""What `feedsight match` makes of its arguments and of what stands beside one another in a manifest."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from typer.testing import CliRunner, Result

from cli.live_manifest import live_entries
from cli.main import create_app
from workers.image.manifest import Entry


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


def test_a_result_comes_while_standard_input_is_still_open(folder: Path) -> None:
    """A line camera's feed waits for no batch to fill."""
    command = [sys.executable, "-c", "from cli.main import main; main()", "match", "--mode", "compare"]
    with subprocess.Popen(
        [*command, "--references", str(folder / "good.png"), "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=folder,
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        for name in ("part.png", "good.png"):
            running.stdin.write(b'{"path": "%s"}\n' % name.encode())
            running.stdin.flush()
            assert json.loads(running.stdout.readline())["id"] == name
        running.stdin.write(b"not json\n")
        running.stdin.close()
        assert "error" in json.loads(running.stdout.readline())
    assert running.returncode == 1


def test_a_live_manifest_says_when_nothing_has_come_yet() -> None:
    """So that what is there can go on."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as lines:
        entries = live_entries(lines)
        os.write(writer, b'{"path": "a.png"}\n')
        found = [next(entries)]
        while found[-1] is None:
            found.append(next(entries))
        assert next(entries) is None
        os.close(writer)
        assert list(entries) == []
    assert isinstance(found[-1], Entry)
