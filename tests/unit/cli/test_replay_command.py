"""`feedsight replay` refuses what it can't do before it touches a broker, and sums up what it did."""

import pytest
from typer.testing import CliRunner

from cli.main import create_app
from cli.replay import _options, _print
from schemas import Label, LabelDiff, LabelSet
from stream.replay_summary import Summary

LABELS = LabelSet(name="news", version=2, labels=(Label(name="war"), Label(name="peace")))


@pytest.fixture
def labels(tmp_path):
    file = tmp_path / "v2.yaml"
    file.write_text("name: news\nlabels: [war, peace]\n")
    return file


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "yesterday"], "no time: 'yesterday'"),
        (["--from", "1h", "--to", "2h"], "--to 2h is not after --from 1h"),
        (["--from", "1h", "--labels", "nowhere.yaml"], "label set nowhere.yaml does not exist"),
        (["--from", "1h", "--limit", "0"], "limit"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(labels, arguments, said):
    result = CliRunner().invoke(create_app(), ["replay", "--labels", str(labels), *arguments])
    assert result.exit_code == 2
    assert said in result.output


def test_a_rate_of_nought_is_no_limit():
    assert _options("1h", None, 0.0, None, None).rate_per_s is None
    assert _options("1h", None, 50.0, 7, "posts").rate_per_s == 50.0


def test_the_summary_says_what_changes_and_how_to_put_it_in_force(capsys):
    summary = Summary("news", "2", read=110, failed=2, without_old=8)
    for _ in range(90):
        summary.count("war", "war", "1")
    for number in range(10):
        summary.count("war", None, "1")
        summary.weigh(0.6, 0.5)
        summary.show(
            LabelDiff(
                id=f"p{number}",
                name="news",
                old="war",
                new=None,
                old_version="1",
                new_version="2",
                text="a \x1b[31mtruce",
            )
        )
    _print(summary, LABELS, stopped=True, archived=True)
    shown = capsys.readouterr().out
    assert "news: 2 against 1 (interrupted)" in shown
    assert "10 of 100 posts change their label: 10.0%" in shown
    assert "8 of 110 read: without a former result" in shown
    assert "war → (no label): 10" in shown
    assert "a \\x1b[31mtruce" in shown  # nothing from outside steers the terminal
    assert "feedsight labels promote news@2" in shown


def test_nothing_to_compare_is_said(capsys):
    _print(Summary("news", "2", read=5, without_old=5), LABELS, stopped=False, archived=False)
    assert "none of 5 posts read has a former result" in capsys.readouterr().out
