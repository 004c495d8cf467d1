"""Benchmarks: what they send, how contestants take turns, and what is said of them."""

import io
import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cli.bench_table import show
from cli.main import create_app
from stream.bench import search
from stream.bench.contest import Contestant, Report, Row, take_turns
from stream.bench.models import measure
from stream.bench.pictures import SIDE_PX, pictures, references, write_gallery
from stream.bench.posts import drawn, posts
from workers.text.duplicates import fingerprint
from workers.text.parse import parse_post


def test_no_two_drawn_posts_say_the_same() -> None:
    """Else the answer would be remembered, and the model not measured."""
    texts = [text for text, _ in islice(drawn(), 3_000)]
    assert len({fingerprint(text) for text in texts}) == 3_000
    assert 15 < np.mean([len(text.split()) for text in texts]) < 45


def test_posts_of_a_file_are_numbered_when_it_is_gone_through_again(tmp_path: Path) -> None:
    held = [{"id": f"x{n}", "text": f"Ferries stay in port, line {n}", "label": "world"} for n in range(3)]
    file = tmp_path / "posts.jsonl"
    file.write_text("\n".join([*map(json.dumps, held), "no json"]))
    found = list(posts(8, file))
    texts = [parse_post(sent.value).text for sent in found]
    assert [int(sent.key) for sent in found] == list(range(8))
    assert {sent.label for sent in found} == {"world"}
    assert len({fingerprint(text) for text in texts}) == 8
    assert texts[:3] == [post["text"] for post in held]


def test_a_file_without_posts_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("nothing\n")
    with pytest.raises(ValueError, match="holds no post"):
        list(posts(1, tmp_path / "empty.jsonl"))


def test_drawn_pictures_are_jpegs_of_the_side_that_is_said(tmp_path: Path) -> None:
    (picture,) = pictures(1)
    opened = Image.open(io.BytesIO(picture))
    assert (opened.format, opened.size) == ("JPEG", (SIDE_PX, SIDE_PX))
    write_gallery(tmp_path)
    assert len(list(tmp_path.iterdir())) == len(references())
    assert pictures(3, tmp_path) == [path.read_bytes() for path in sorted(tmp_path.iterdir())[:3]]


def turns() -> tuple[list[str], list[Contestant]]:
    order: list[str] = []
    speeds = {"ours": iter([10.0, 30.0, 20.0]), "peer": iter([5.0, 10.0, 20.0])}

    def one(name: str) -> dict[str, float]:
        order.append(name)
        return {"per_s": next(speeds[name])}

    return order, [Contestant(name, lambda name=name: one(name)) for name in speeds]  # type: ignore[misc]


def test_contestants_take_turns_round_by_round() -> None:
    order, contestants = turns()
    rows = take_turns(contestants, 3, lambda _: None)
    assert order == ["ours", "peer"] * 3
    assert [row.median("per_s") for row in rows] == [20.0, 10.0]
    assert rows[0].spread("per_s") == (10.0, 30.0)


def test_the_ratio_is_the_median_of_the_ratios_of_each_round() -> None:
    _, contestants = turns()
    report = Report("t", "per_s", take_turns(contestants, 3, lambda _: None))
    assert report.ratio("ours", "peer") == 2.0
    assert report.ratio("ours", "nobody") is None


def test_one_that_fails_is_left_out_and_the_others_go_on() -> None:
    def fails() -> dict[str, float]:
        raise RuntimeError("no such model")

    said: list[str] = []
    order, contestants = turns()
    rows = take_turns([contestants[0], Contestant("broken", fails), contestants[1]], 2, said.append)
    assert [(row.name, len(row.rounds), row.failed) for row in rows] == [
        ("ours", 2, None),
        ("broken", 0, "no such model"),
        ("peer", 2, None),
    ]
    assert order == ["ours", "peer"] * 2
    assert sum("no such model" in line for line in said) == 1


def test_a_report_is_printed_as_tables_and_kept_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        Row("static", [{"per_s": 21_000.0, "cpu_us": 44.0}]),
        Row("faust", [{"per_s": 100.0, "cpu_us": 9_000.0}]),
        Row("absent", [], "it is not installed"),
        Row("static at 50%", [{"per_s": 10_500.0, "p50_ms": 20.0, "p99_ms": 41.0}]),
    ]
    file = tmp_path / "bench.json"
    show(Report("Text", "per_s", rows, facts={"share": 0.9}), file)
    shown = capsys.readouterr().out
    for wanted in ("21,000", "210.00", "41.00", "share: 0.9", "absent could not run: it is not installed"):
        assert wanted in shown
    kept = json.loads(file.read_text())
    assert kept["rows"][0]["median"] == {"per_s": 21_000.0, "cpu_us": 44.0}
    assert {"cpu", "cores", "versions", "load"} <= set(kept["machine"])


def test_a_model_without_a_stream_is_measured_with_its_accuracy() -> None:
    class Post:
        label = "a"

    batches = iter(lambda: [Post(), Post()], None)
    found = measure(lambda batch: ["a", "b"], batches, warmup_s=0.0, seconds=0.01)
    assert found["accuracy"] == 0.5
    assert found["per_s"] > 0


def test_the_product_s_index_finds_what_numpy_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "QUERIES", 20)
    ours, numpy = search.searchers(400, None)
    assert ours.run()["recall"] == numpy.run()["recall"] == 1.0


def test_an_unknown_peer_is_a_usage_error() -> None:
    asked = CliRunner().invoke(create_app(), ["bench", "text", "--against", "nobody"])
    assert asked.exit_code == 2
    assert "plain-each" in asked.stderr
