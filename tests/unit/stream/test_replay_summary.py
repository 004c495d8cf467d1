"""A replay counts each post once, and says by label what would change."""

from types import SimpleNamespace

import orjson

from schemas import LabelDiff
from stream.past import FormerResults
from stream.replay_summary import EXAMPLES, Summary


def test_a_summary_counts_changes_by_label():
    summary = Summary("news", "2")
    for old, new in [("a", "a")] * 6 + [("a", "b")] * 3 + [(None, "b")]:
        summary.count(old, new, "1")
    assert summary.share_changed == 0.4
    assert summary.changes() == [(("a", "b"), 3), ((None, "b"), 1)]
    assert summary.by_label() == {"a": (9, 6), "b": (0, 4), None: (1, 0)}
    shown = summary.to_json()
    assert shown["agreement"] == 0.6
    assert shown["changes"][1] == {"from": None, "to": "b", "posts": 1, "examples": []}


def test_confidence_is_of_the_posts_whose_former_one_is_known():
    summary = Summary("news", "2")
    summary.weigh(0.5, 0.9)
    summary.weigh(None, 0.1)
    assert summary.to_json()["confidence"] == {"old": 0.5, "new": 0.9}


def test_a_few_examples_of_each_change_are_kept():
    summary = Summary("news", "2")
    for number in range(10):
        summary.show(
            LabelDiff(id=f"p{number}", name="news", old="a", new="b", old_version="1", new_version="2")
        )
    assert [diff.id for diff in summary.examples["a", "b"]] == ["p0", "p1", "p2"][:EXAMPLES]


def test_nothing_to_compare_is_no_division_by_nought():
    shown = Summary("news", "2").to_json()
    assert shown["share_changed"] is shown["agreement"] is shown["confidence"]["old"] is None


class Log:
    """A results topic of two partitions, a few records at a time."""

    def __init__(self, partitions: dict[int, list[bytes]]) -> None:
        self.left = {number: list(values) for number, values in partitions.items()}
        self.asked: list[list[int] | None] = []

    async def unread(self) -> list[int]:
        return [number for number, values in self.left.items() if values]

    async def read(self, most: int, partitions: list[int] | None = None):
        self.asked.append(partitions)
        found = []
        for number in partitions or list(self.left):
            taken, self.left[number] = self.left[number][:2], self.left[number][2:]
            found += [SimpleNamespace(partition=number, value=value) for value in taken]
        return found


def result(partition: int, offset: int, label: str | None = "a", name: str = "news", **more) -> bytes:
    return orjson.dumps(
        {
            "label": label,
            "label_set": name,
            "version": "1",
            "candidates": [{"label": "a", "probability": 0.8}],
            "source": {"topic": "posts", "partition": partition, "offset": offset},
            **more,
        }
    )


async def test_former_results_are_found_by_where_posts_were_read():
    log = Log({0: [result(0, 5), result(0, 6, None), result(0, 8)], 1: [result(1, 2, "b"), result(1, 3)]})
    former = FormerResults(log, "posts", "news")
    found = await former.take([(0, 5), (0, 6), (0, 7), (1, 2)])
    assert [one and one.label for one in found] == ["a", None, None, "b"]
    assert found[1] is not None
    assert found[2] is None  # a later result stands there: this post has none
    assert [one and one.label for one in await former.take([(0, 8), (1, 3), (1, 9)])] == ["a", "a", None]


async def test_results_of_other_label_sets_and_topics_are_passed_over():
    other = orjson.dumps({"source": {"topic": "elsewhere", "partition": 0, "offset": 99}})
    log = Log({0: [b"no JSON", other, result(0, 1, "x", "mood"), result(0, 1), result(0, 2, "x", "mood")]})
    former = FormerResults(log, "posts", "news")
    assert [one and one.label for one in await former.take([(0, 1), (0, 2)])] == ["a", None]


async def test_only_what_is_needed_is_read_and_what_was_passed_is_forgotten():
    log = Log({0: [result(0, n) for n in range(10)], 1: [result(1, n) for n in range(10)]})
    former = FormerResults(log, "posts", "news")
    await former.take([(0, 1)])
    await former.take([(0, 4)])
    assert len(log.left[1]) >= 6  # the other partition was not read on once it was known to be another
    assert all(offset > 4 for offset in former._found[0])
