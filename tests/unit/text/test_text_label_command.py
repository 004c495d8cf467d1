"""`feedsight label` keeps its contract: a line for each input, in order, and a telling exit status."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LABELS = """
name: news
version: 7
labels:
  - name: sports
    description: Sports, games and players
  - name: business
    description: Business, companies and markets
"""
COMMAND = [sys.executable, "-c", "from cli.main import main; main()", "label"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "labels.yaml").write_text(LABELS)
    return tmp_path


def label(folder: Path, *arguments: object, stdin: bytes = b"") -> tuple[int, list[dict[str, Any]], str]:
    done = subprocess.run(
        [*COMMAND, "--labels", "labels.yaml", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        cwd=folder,
        check=False,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr.decode()


GOAL = {"id": "g", "text": "What a goal! The striker scores in the last minute of the match"}
SHARES = {"id": "s", "text": "Shares of the bank fell after it reported a quarterly loss"}


def lines(*posts: object) -> bytes:
    return b"".join(json.dumps(post).encode() + b"\n" for post in posts)


def test_every_post_gets_a_line_with_all_labels_best_first(folder):
    status, results, complaints = label(folder, "-", stdin=lines(GOAL, SHARES))

    assert (status, complaints) == (0, "")
    assert [(r["id"], r["label"]) for r in results] == [("g", "sports"), ("s", "business")]
    for result in results:
        probabilities = [c["probability"] for c in result["candidates"]]
        assert {c["label"] for c in result["candidates"]} == {"sports", "business"}
        assert probabilities == sorted(probabilities, reverse=True)
        assert result["candidates"][0]["label"] == result["label"]
        assert (result["label_set"], result["version"]) == ("news", "7")
        assert result["model"]


def test_bad_lines_get_an_error_in_their_place_and_status_1(folder):
    long = json.dumps({"id": "long", "text": "x" * 1_000_000}).encode() + b"\n"
    bad = (
        b'not json\nnull\n{"id": "e", "text": " "}\n{"id": "u", "text": "a", "colour": 1}\n'
        b'{"id": 5, "text": "a"}\n{"id": "b", "text": "caf\xe9"}\n\n' + long
    )
    status, results, _ = label(folder, "-", stdin=lines(GOAL) + bad + lines(SHARES).rstrip())

    assert status == 1
    assert [r.get("error", {}).get("reason") for r in results] == [
        None,
        "not_json",
        "null_value",
        "empty_text",
        "unknown_field",
        "schema",
        "bad_encoding",
        "not_json",
        "too_large",
        None,
    ]
    assert [r["id"] for r in results] == ["g", None, None, "e", "u", None, "b", None, "long", "s"]
    assert [r["line"] for r in results if "error" in r] == list(range(2, 10))
    assert "colour" in results[4]["error"]["detail"]


def test_unknown_fields_are_dropped_where_asked_for(folder):
    status, results, _ = label(
        folder, "--unknown-fields", "ignore", "-", stdin=lines(GOAL | {"colour": "red"})
    )

    assert status == 0
    assert results[0]["label"] == "sports"


def test_text_files_and_folders_are_documents_or_lines(folder):
    (folder / "docs").mkdir()
    (folder / "docs" / "b.txt").write_text(SHARES["text"])
    (folder / "docs" / "a.txt").write_text(GOAL["text"] + "\n" + GOAL["text"])
    (folder / "docs" / "bad.TXT").write_bytes(b"\xff\xfe")

    status, results, _ = label(folder, "docs")
    assert status == 1
    assert [(r["id"], r.get("label")) for r in results] == [
        ("a.txt", "sports"),
        ("b.txt", "business"),
        ("bad.TXT", None),
    ]
    status, results, _ = label(folder, "--lines", "docs/a.txt")
    assert status == 0
    assert [r["id"] for r in results] == ["a.txt:1", "a.txt:2"]


def test_results_flow_while_input_still_comes(folder):
    with subprocess.Popen(
        [*COMMAND, "--labels", "labels.yaml", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=folder,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for post in (GOAL, SHARES):
            child.stdin.write(lines(post))
            child.stdin.flush()
            assert json.loads(child.stdout.readline())["id"] == post["id"]
        child.stdin.close()
        assert child.wait() == 0


def test_a_reader_that_goes_away_ends_it_quietly(folder):
    (folder / "posts.jsonl").write_bytes(lines(*[GOAL] * 3_000))
    with subprocess.Popen(
        [*COMMAND, "--labels", "labels.yaml", "posts.jsonl"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.readline()
        child.stdout.close()
        child.wait()
        assert child.stderr.read() == b""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.jsonl"], "none.jsonl does not exist"),
        (["empty"], "no .txt file"),
        (["--labels", "none.yaml", "-"], "none.yaml does not exist"),
        (["--examples", "none.jsonl", "-"], "none.jsonl can't be read"),
        (["--examples", "wrong.jsonl", "-"], "which the set does not have"),
        (["--examples", "broken.jsonl", "-"], "broken.jsonl, line 1"),
        (["--adapt", "blank.jsonl", "-"], "no text in it"),
        (["--model", "/no/such/model", "-"], "can't be exported"),
        (["--unknown-fields", "maybe", "-"], "maybe"),
        ([], "Missing argument"),
    ],
)
def test_wrong_use_is_one_clear_line_and_status_2(folder, arguments, words):
    (folder / "empty").mkdir()
    (folder / "wrong.jsonl").write_text('{"text": "a", "label": "weather"}\n')
    (folder / "broken.jsonl").write_text("{\n")
    (folder / "blank.jsonl").write_text("\n")

    status, results, complaints = label(folder, *arguments)

    assert (status, results) == (2, [])
    assert words in complaints


def test_without_a_label_set_it_says_so(folder):
    done = subprocess.run([*COMMAND, "-"], capture_output=True, cwd=folder, input=b"", check=False)

    assert done.returncode == 2
    assert b"no label set" in done.stderr


def test_examples_and_an_unlabelled_sample_are_taken_in(folder):
    (folder / "examples.jsonl").write_bytes(
        lines(
            {"text": "the keeper saved a penalty", "label": "sports", "id": 3},
            {"text": "profits rose by a fifth", "labels": ["business"]},
        )
    )
    (folder / "stream.jsonl").write_bytes(lines(*[GOAL, SHARES] * 10) + b"broken\n")

    status, results, complaints = label(
        folder, "--examples", "examples.jsonl", "--adapt", "stream.jsonl", "-", stdin=lines(GOAL, SHARES)
    )

    assert status == 0
    assert [r["label"] for r in results] == ["sports", "business"]
    assert results[0]["version"].startswith("7+")
    assert "1 lines passed over" in complaints


def test_a_worker_with_a_cached_model_never_holds_torch(folder):
    (folder / "posts.jsonl").write_bytes(lines(GOAL))
    code = (
        "import sys\nfrom cli.main import create_app\nfrom typer.testing import CliRunner\n"
        "r = CliRunner().invoke(create_app(), ['label', '--labels', 'labels.yaml', 'posts.jsonl'])\n"
        "assert r.exit_code == 0, r.output\n"
        "assert not {'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=folder, env=os.environ, check=True)


@pytest.mark.parametrize("model", ["sentence", "static"])
def test_a_precision_is_asked_for_without_a_sample_or_an_example(folder, model):
    (folder / "labels.yaml").write_text(LABELS + "abstain: {precision: 0.9}\n")
    status, results, _ = label(folder, "--model", model, "-", stdin=lines(GOAL))

    assert status == 0
    assert results[0]["candidates"][0]["label"] == "sports"


@pytest.mark.parametrize("model", ["sentence", "static", "cascade"])
def test_emoji_alone_speak_for_no_label(folder, model):
    posts = lines({"id": "e", "text": "🔥🔥🔥"}, {"id": "z", "text": "\u200b"}, GOAL)
    _, (emoji, nothing, goal), _ = label(folder, "--model", model, "-", stdin=posts)

    assert [c["probability"] for c in emoji["candidates"]] == [0.5, 0.5]
    assert [c["probability"] for c in nothing["candidates"]] == [0.5, 0.5]
    assert goal["label"] == "sports"
    (folder / "labels.yaml").write_text(LABELS + "multi_label: true\n")
    _, (emoji, *_), _ = label(folder, "--model", model, "-", stdin=posts)
    assert (emoji["label"], emoji["labels"]) == (None, [])
