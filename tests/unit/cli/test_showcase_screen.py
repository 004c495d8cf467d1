"""The screen fits its terminal, shows hostile text as text, and has plain lines as its twin."""

import io

import pytest
from rich.console import Console

from cli.showcase.report import LineReporter, summary
from cli.showcase.screen import View, plain, render
from cli.showcase.tally import DeadLetterSeen, LabelSeen, MatchSeen, Tally
from stream.topics import TopicNames

LABELS = ("help needed", "the match", "off topic")


@pytest.fixture
def view() -> View:
    tally = Tally(TopicNames(), {})
    waiting = {"text": "loading its model (3 s)", "image": "ready"}
    return View("a storm", "embedded Kafka", LABELS, tally, "live", 0.0, waiting, ["first post", "second"])


def fill(view: View) -> None:
    for number in range(50):
        view.tally.labels.append(
            LabelSeen(f"p{number}", LABELS[number % 3], 0.5, f"post\n{number} " * 30, 0.1)
        )
        view.tally.matches.append(MatchSeen(f"i{number}", "defect", 0.9, 3, "board-1", (1, 2, 3, 4)))
        view.tally.dead_letters.append(DeadLetterSeen("not_json", ("t", 0, number), "plain text"))


def drawn(view: View, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), color_system=None, force_terminal=True)
    with console.capture() as captured:
        console.print(render(view, 12.0, width, height))
    return captured.get().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (99, 30), (120, 30), (200, 60)])
@pytest.mark.parametrize("filled", [False, True])
def test_it_fits_the_terminal(view, width, height, filled):
    if filled:
        fill(view)
    lines = drawn(view, width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width


def test_posts_to_come_stand_there_until_there_are_labels(view):
    assert any("first post" in line for line in drawn(view, 120, 30))
    fill(view)
    assert not any("first post" in line for line in drawn(view, 120, 30))


def test_the_states_of_the_workers_go_when_all_are_ready(view):
    assert any("loading its model" in line for line in drawn(view, 120, 30))
    view.waiting["text"] = "ready"
    assert not any("image worker" in line for line in drawn(view, 120, 30))


def test_markup_in_a_post_is_text(view):
    view.tally.labels.append(LabelSeen("p", "the match", 0.5, "[bold red]goal[/]", None))
    assert any("[bold red]goal[/]" in line for line in drawn(view, 120, 30))


def test_plain_lines_say_the_same():
    assert plain(LabelSeen("p", None, 0.31, "a\nb", None)) == "label   (unsure)       31%  a b"
    assert "3 places, worst at (1,2)–(3,4)" in plain(MatchSeen("i", "defect", 0.9, 3, "b", (1, 2, 3, 4)))
    assert "not_json" in plain(DeadLetterSeen("not_json", ("t", 0, 5), "plain text"))
    assert plain(None) is None


def test_a_state_that_counts_seconds_is_written_once(view, capsys):
    reporter = LineReporter()
    reporter.frame(view, 1.0)
    view.waiting["text"] = "loading its model (4 s)"
    reporter.frame(view, 2.0)
    assert capsys.readouterr().out.count("loading its model") == 1


def test_the_summary_counts_what_was_lost(view):
    assert "3 lost, 0 double" in summary(view, 3, embedded=True)


def test_all_counts_are_seen_where_they_fill_more_than_a_line(view):
    view.labels = [f"label number {number}" for number in range(8)]
    lines = drawn(view, 120, 40)
    assert any("label number 7 0" in line for line in lines)
    assert any("(unsure) 0" in line for line in lines)
    assert len(lines) <= 40


def test_a_match_says_in_the_panel_where_the_worst_place_is(view):
    view.tally.matches.append(MatchSeen("part-4105", "defect", 0.91, 6, "b", (291, 300, 342, 330)))
    assert any("6 places, at 291,300" in line for line in drawn(view, 120, 40))
