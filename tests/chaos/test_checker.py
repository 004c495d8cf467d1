"""The checker of the chaos run finds what it is there to find: each invariant broken, on made-up topics."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from tests.chaos.check import Checker
from tests.chaos.verdict import Topics, Verdict
from tests.chaos.watch import Sample
from tests.chaos.worker import RAISES, label_of

TOPICS = Topics("posts", "images", "labels", "matches", "dead")
TEXTS = ("goal one", "goal two", "goal three", f"{RAISES} 4")
COUNTS = (
    "lost",
    "double",
    "acknowledged_but_gone",
    "without_input",
    "wrong_answer",
    "wrong_dead_letter",
    "out_of_order",
    "committed_too_far",
    "committed_back",
)


class Record:
    """What the checker reads of a confluent-kafka message; all lie in partition 0."""

    def __init__(self, offset: int, value: bytes, at_ms: int = 0, headers: Any = None) -> None:
        self._offset, self._value, self._at_ms, self._headers = offset, value, at_ms, headers

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes:
        return self._value

    def headers(self) -> Any:
        return self._headers

    def timestamp(self) -> tuple[int, int]:
        return 2, self._at_ms


def post(offset: int) -> Record:
    return Record(offset, orjson.dumps({"id": f"p{offset}", "text": TEXTS[offset]}))


def result(offset: int, at_ms: int = 100, label: str | None = None) -> Record:
    known = TEXTS[offset] if offset < len(TEXTS) else ""
    body = {
        "label": label or label_of(known),
        "result_id": f"posts-0-{offset}-abc",
        "source": {"topic": "posts", "partition": 0, "offset": offset},
    }
    return Record(0, orjson.dumps(body), at_ms)


def letter(offset: int, at_ms: int = 100) -> Record:
    headers = [("source_topic", b"posts"), ("source_partition", b"0"), ("source_offset", b"%d" % offset)]
    return Record(0, post(offset).value(), at_ms, [*headers, ("reason", b"model_failed")])


class MadeUp(Checker):
    """Reads made-up topics."""

    def __init__(self, **topics: list[Record]) -> None:
        super().__init__("", TOPICS, 1, (RAISES,))
        self._records = topics

    def _read(self, topic: str) -> Iterator[Any]:
        return iter(self._records.get(topic, []))


GOOD = [result(0), result(1), result(2)]


def judge(
    labels: list[Record] = GOOD,
    dead: tuple[Record, ...] = (letter(3),),
    acked: tuple[int, ...] = (0, 1, 2, 3),
    samples: tuple[tuple[float, int], ...] = ((50, 0), (150, 4)),
) -> Verdict:
    checker = MadeUp(posts=[post(n) for n in range(4)], labels=labels, dead=list(dead))
    where = ("posts", 0)
    return checker.judge({where: acked}, {where: [Sample(at_ms, offset) for at_ms, offset in samples]})


def test_what_is_right_is_found_right() -> None:
    verdict = judge()
    assert verdict.faultless
    assert (verdict.inputs, verdict.results, verdict.dead_letters, verdict.samples) == (4, 3, 1, 2)


@pytest.mark.parametrize(
    ("fault", "verdict"),
    [
        ("lost", lambda: judge(labels=[result(0), result(2)])),
        ("lost", lambda: judge(dead=())),
        ("double", lambda: judge(labels=[*GOOD, result(2)])),
        ("acknowledged_but_gone", lambda: judge(acked=(0, 1, 2, 3, 4))),
        ("without_input", lambda: judge(labels=[*GOOD, result(7)])),
        ("wrong_answer", lambda: judge(labels=[*GOOD[:2], result(2, label="none such")])),
        ("out_of_order", lambda: judge(labels=[result(0), result(2), result(1)])),
        ("committed_too_far", lambda: judge(labels=[result(0), result(1, at_ms=160), result(2)])),
        ("committed_too_far", lambda: judge(samples=((150, 5),))),
        ("committed_back", lambda: judge(samples=((150, 4), (200, 3)))),
    ],
)
def test_each_broken_invariant_is_found_and_no_other(fault: str, verdict: Any) -> None:
    found = verdict()
    assert {name for name in COUNTS if getattr(found, name)} == {fault}
    assert not found.faultless
    assert found.examples


def test_a_good_post_in_the_dead_letters_is_found() -> None:
    assert judge(labels=GOOD[:2], dead=(letter(2), letter(3))).wrong_dead_letter == 1


def test_a_quarantined_post_is_counted_and_is_no_fault() -> None:
    quarantined = letter(2)
    quarantined._headers[-1] = ("reason", b"crashed_worker")
    found = judge(labels=GOOD[:2], dead=(quarantined, letter(3)))
    assert found.quarantined == 1
    assert found.faultless
