"""`feedsight feedback` on the embedded broker."""

import asyncio
from pathlib import Path

from typer.testing import CliRunner

from cli.main import create_app
from schemas import Feedback
from tests.support.lanes import everything, fresh_settings

runner = CliRunner()


def run(bootstrap: str, *arguments: str, stdin: str | None = None) -> tuple[int, list[Feedback], str]:
    """Exit status, what lies on the topic then, and stderr."""
    settings = fresh_settings(bootstrap)
    where = ["--kafka", bootstrap, "--prefix", settings.topics.prefix]
    done = runner.invoke(create_app(), ["feedback", *arguments, *where], input=stdin)
    if done.exit_code == 2:
        return 2, [], done.stderr
    records = asyncio.run(everything(settings, "feedback"))
    return done.exit_code, [Feedback.model_validate_json(one.value or b"") for one in records], done.stderr


def test_one_correction_says_who_and_when(embedded_bootstrap: str) -> None:
    status, (sent,), _ = run(embedded_bootstrap, "p1", "flood", "--name", "k", "--text", "t", "--by", "ann")
    assert status == 0
    assert (sent.id, sent.label, sent.name, sent.text, sent.by) == ("p1", "flood", "k", "t", "ann")
    assert sent.at is not None


def test_none_says_that_it_is_none_of_the_labels(embedded_bootstrap: str) -> None:
    status, (sent,), _ = run(embedded_bootstrap, "p1", "--none")
    assert (status, sent.label) == (0, None)


def test_a_file_is_sent_and_bad_lines_are_told(embedded_bootstrap: str, tmp_path: Path) -> None:
    file = tmp_path / "c.jsonl"
    file.write_text('{"id": "p1", "label": "a"}\n\nno\n{"id": "p2", "label": null, "name": "m"}\n')
    status, sent, said = run(embedded_bootstrap, str(file), "--name", "k")
    assert status == 1
    assert sorted((one.id, one.name) for one in sent) == [("p1", "k"), ("p2", "m")]
    assert "line 3" in said


def test_a_post_without_a_label_is_wrong_usage(embedded_bootstrap: str) -> None:
    status, _, said = run(embedded_bootstrap, "p1")
    assert status == 2
    assert "--none" in said
    assert run(embedded_bootstrap, "p1", "flood", "--none")[0] == 2
