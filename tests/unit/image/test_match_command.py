"""`feedsight match` keeps its contract: a line for each image, in order, and a telling exit status."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import create_app
from tests.unit.image.drawn import EPS, SVG, encoded, gradient, part, png_header_only


@pytest.fixture
def line(tmp_path: Path) -> Path:
    """A folder `good` of good parts and one, `seen`, of parts to judge, the last with a flaw."""
    for folder, seeds in (("good", range(8)), ("seen", range(20, 23))):
        (tmp_path / folder).mkdir()
        for seed in seeds:
            (tmp_path / folder / f"{seed}.png").write_bytes(encoded(part(seed)))
    (tmp_path / "seen" / "flawed.jpg").write_bytes(encoded(part(30, flaw=(50, 110, 9)), "JPEG", quality=95))
    return tmp_path


def match(*arguments: object, stdin: str | None = None) -> tuple[int, list[dict[str, Any]]]:
    done = CliRunner().invoke(create_app(), ["match", *map(str, arguments)], input=stdin)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, [json.loads(text) for text in done.stdout.splitlines()]


def test_a_defect_is_found_and_boxed(line):
    status, results = match("--mode", "defect", "--references", line / "good", line / "seen")
    assert status == 0
    assert [r["id"] for r in results] == ["20.png", "21.png", "22.png", "flawed.jpg"]
    flawed = results[-1]
    assert flawed["verdict"] == "defect"
    assert flawed["score"] > max(r["score"] for r in results[:-1])
    x1, y1, x2, y2 = flawed["regions"][0]["box"]
    assert x1 < 50 < x2
    assert y1 < 110 < y2
    assert flawed["heat_map"]["width"] > 4


def test_bad_inputs_get_an_error_in_their_place(line):
    bad = {
        "cut.jpg": encoded(gradient(), "JPEG")[:300],
        "huge.png": png_header_only(30_000, 30_000),
        "svg.jpg": SVG,
        "eps.jpg": EPS,
    }
    for name, content in bad.items():
        (line / name).write_bytes(content)
    entries = ["good/1.png", *bad, "missing.png", "good/2.png"]
    texts = [json.dumps({"id": f"#{i}", "path": path}) for i, path in enumerate(entries)]
    texts += ["no json", json.dumps({"id": "extra", "path": "good/1.png", "colour": "red"})]
    texts += [
        json.dumps({"id": "hash", "path": "good/1.png", "sha256": "0" * 64}),
        json.dumps({"path": "good/3.png"}),
    ]
    (line / "all.jsonl").write_text("\n".join(texts) + "\n\n")
    status, results = match("--mode", "similarity", "--references", line / "good", line / "all.jsonl")
    assert status == 1
    assert [(r["id"], r.get("error", {}).get("reason", "")) for r in results] == [
        ("#0", ""),
        ("#1", "image_undecodable"),
        ("#2", "image_too_large"),
        ("#3", "image_format"),
        ("#4", "image_format"),
        ("#5", "claim_check_unreachable"),
        ("#6", ""),
        ("line 8", "not_json"),
        ("extra", "unknown_field"),
        ("hash", "claim_check_mismatch"),
        ("good/3.png", ""),
    ]
    assert all(set(r) == {"id", "error"} and r["error"]["detail"] for r in results if "error" in r)


def test_the_best_match_of_an_image_is_itself(line):
    one = line / "good" / "3.png"
    status, [result] = match("--mode", "similarity", "--references", line / "good", "--top", 3, one)
    assert status == 0
    assert result["id"] == str(one)
    assert result["neighbors"][0]["id"] == "3.png"
    assert result["neighbors"][0]["similarity"] == pytest.approx(1, abs=1e-4)
    assert [n["similarity"] for n in result["neighbors"]] == sorted(
        (n["similarity"] for n in result["neighbors"]), reverse=True
    )
    assert (len(result["neighbors"]), result["verdict"], result["score"]) == (
        3,
        "match",
        pytest.approx(1, abs=1e-4),
    )


def test_a_threshold_turns_the_verdict(line):
    arguments = ("--mode", "similarity", "--references", line / "good", line / "seen" / "20.png")
    verdicts = [match(*arguments, "--threshold", bound)[1][0]["verdict"] for bound in (0.0, 1.5)]
    assert verdicts == ["match", "no_match"]


def test_a_manifest_comes_by_standard_input(line):
    text = json.dumps({"id": "x", "path": str(line / "seen" / "20.png")}) + "\n"
    status, [result] = match("--mode", "similarity", "--references", line / "good", "-", stdin=text)
    assert (status, result["id"]) == (0, "x")


def test_references_may_be_a_manifest_with_labels(line):
    manifest = line / "gallery.jsonl"
    manifest.write_text(
        json.dumps({"id": "A", "path": "good/1.png", "label": "steel", "metadata": {"price": 3}})
    )
    _, [result] = match("--mode", "similarity", "--references", manifest, line / "good" / "1.png")
    [neighbor] = result["neighbors"]
    assert (neighbor["id"], neighbor["label"], neighbor["metadata"]) == ("A", "steel", {"price": 3})


def test_pictures_of_heat_maps_are_written(line):
    heat = line / "heat"
    match("--mode", "defect", "--references", line / "good", "--heatmaps", heat, line / "seen")
    assert sorted(path.name for path in heat.iterdir()) == [
        "20.png.png",
        "21.png.png",
        "22.png.png",
        "flawed.jpg.png",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--mode", "similarity", "x.png"],
        ["--mode", "guess", "x.png"],
        ["--mode", "defect", "--references", "nowhere", "x.png"],
        ["--mode", "similarity", "--references", ".", "missing.jsonl"],
        ["--mode", "similarity", "--top", "0", "x.png"],
        ["--mode", "similarity", "--model", "no-such-model", "--references", ".", "x.png"],
        [],
    ],
)
def test_usage_and_configuration_errors_end_with_status_2(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert match(*arguments) == (2, [])


def test_stdout_holds_results_only(line):
    command = [sys.executable, "-c", "from cli.main import main; main()", "match", "--mode", "similarity"]
    done = subprocess.run(
        [*command, "--references", line / "good", line / "seen"], capture_output=True, text=True, check=True
    )
    assert len(done.stdout.splitlines()) == 4
    assert done.stderr == ""
