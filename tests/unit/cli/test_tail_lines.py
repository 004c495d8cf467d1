"""`feedsight tail` says what happened in a line that a person reads at a glance."""

import pytest

from cli.tail import _line

AT = "2026-05-01T14:02:31.120+00:00"


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"kind": "in_force", "version": "4", "took_s": 0.212}, "version 4 in force after 0.212 s"),
        ({"kind": "refused", "version": "5", "detail": "label 'a' stands twice"}, "label 'a' stands twice"),
        ({"kind": "removed"}, "taken out of force"),
        ({"kind": "started"}, "worker w-1 starts"),
        ({"kind": "burst", "detail": "one story: 40 posts in 4 min"}, "one story: 40 posts in 4 min"),
        ({"kind": "drift", "detail": "drift since 14:00:00 UTC"}, "drift since 14:00:00 UTC"),
        ({"kind": "refit", "detail": "version 5 is better"}, "refitted: version 5 is better"),
        ({"kind": "something_new"}, "something_new"),
    ],
)
@pytest.mark.parametrize("channel", ["events", "metrics"])
def test_events_say_when_what_and_why(event, said, channel):
    line = _line(channel, {"worker": "w-1", "lane": "text", "at": AT, "name": "news", **event})
    assert line.startswith("14:02:31  news ")
    assert said in line


def test_a_diff_says_what_changes():
    found = {
        "id": "p1",
        "name": "news",
        "old": "sports",
        "new": None,
        "old_version": "1",
        "new_version": "2",
        "text": "a\nlong text",
    }
    assert _line("diffs", found).split("  ")[-1] == "a long text"
    assert "sports → –" in _line("diffs", found)
    assert "news 1 → 2" in _line("diffs", found)


def test_review_and_feedback_name_the_post_and_why():
    item = {"id": "p1", "name": "news", "why": ["uncertain", "novel"], "label": "war", "probability": 0.41}
    assert "uncertain+novel" in _line("review", item)
    assert "war 41%" in _line("review", item)
    assert "none of the labels  by ana" in _line("feedback", {"id": "p1", "label": None, "by": "ana"})


def test_what_is_not_ours_is_shown_as_it_is():
    assert _line("labels", {"candidates": 3}) == '{"candidates":3}'
    assert _line("metrics", {"error": "not JSON", "latency": []})
