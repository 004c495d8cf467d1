"""What the learner knows: which label set is meant, which version comes next, what a bad correction lacks."""

import pytest

from schemas import Feedback, Label, LabelSet, ReviewItem
from stream.client import Incoming
from stream.learner_memory import MAX_EXAMPLE_CHARS, Memory, read_feedback
from workers.errors import MessageError


def incoming(key: str, value: bytes | None) -> Incoming:
    return Incoming("t", 0, 0, 0, key.encode(), value, ())


def label_set(name: str = "k", version: str | int = 1) -> LabelSet:
    return LabelSet(name=name, version=version, labels=(Label(name="a"), Label(name="b")))


def item(post_id: str = "p", name: str = "k", **more: object) -> ReviewItem:
    facts = {
        "id": post_id,
        "why": ("random",),
        "name": name,
        "version": "1",
        "label": "a",
        "probability": 0.5,
    }
    return ReviewItem.model_validate({**facts, **more})


def memory(*label_sets: LabelSet) -> Memory:
    found = Memory(10)
    found.apply(incoming(one.name, one.to_json()) for one in label_sets)
    return found


@pytest.mark.parametrize(
    ("version", "archived", "following"),
    [
        (1, [], 2),
        ("7", [], "8"),
        (3, [5, 4], 6),  # rolled back from 5: 4 and 5 were others
        ("2024-spring", [], "2024-spring.f1"),
        ("2024-spring.f1", [], "2024-spring.f2"),
        ("v1", ["v1.f1", "v1.f2"], "v1.f3"),
    ],
)
def test_the_next_version_is_one_that_never_was(
    version: str | int, archived: list[str | int], following: str | int
) -> None:
    known = memory(label_set(version=version))
    for old in archived:
        known.apply([incoming(f"k@{old}", label_set(version=old).to_json())])
    assert known.next_version("k") == following


def test_an_archived_version_is_not_in_force_and_null_takes_away() -> None:
    known = memory()
    known.apply([incoming("k@1", label_set().to_json())])
    assert known.label_sets == {}
    known.apply([incoming("k", label_set().to_json()), incoming("k", None)])
    assert known.label_sets == {}


def test_a_label_set_that_cant_be_read_leaves_the_former_in_force() -> None:
    known = memory(label_set())
    known.apply([incoming("k", b"not JSON")])
    assert known.label_sets == {"k": label_set()}


def test_the_one_label_set_is_meant_where_none_is_named() -> None:
    assert memory(label_set()).meant(Feedback(id="p", label="a")) == "k"


def test_of_several_the_one_that_asked_is_meant() -> None:
    known = memory(label_set("k"), label_set("m"))
    known.review([incoming("p", item(name="m").to_json())])
    assert known.meant(Feedback(id="p", label="a")) == "m"
    with pytest.raises(MessageError, match="which label set"):
        known.meant(Feedback(id="other", label="a"))


@pytest.mark.parametrize("feedback", [Feedback(id="p", label="c"), Feedback(id="p", label="a", name="z")])
def test_a_label_or_label_set_that_is_not_there_is_refused(feedback: Feedback) -> None:
    with pytest.raises(MessageError) as caught:
        memory(label_set()).meant(feedback)
    assert caught.value.reason == "unknown_label"


def test_what_was_asked_about_is_remembered_with_the_word() -> None:
    known = memory(label_set())
    known.review([incoming("p", item(label="b").to_json()), incoming("x", b"not JSON")])
    known.learn("k", Feedback(id="p", label="a"), "t" * 2 * MAX_EXAMPLE_CHARS)
    (said,) = known.words("k")
    assert (said.given, said.random, len(said.text)) == ("b", True, MAX_EXAMPLE_CHARS)


def test_the_oldest_items_under_review_are_forgotten() -> None:
    known = memory(label_set())
    known.review(incoming(f"p{number}", item(f"p{number}").to_json()) for number in range(11))
    assert (known.asked("p0", "k"), known.asked("p10", "k") is not None) == (None, True)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "null_value"),
        (b"{", "not_json"),
        (b"\xff", "bad_encoding"),
        (b'{"id": "p"}', "schema"),
        (b'{"id": "p", "label": "a", "colour": 1}', "unknown_field"),
        (b'{"id": "p", "label": "' + b"a" * 2_000_000 + b'"}', "too_large"),
    ],
)
def test_a_bad_correction_is_refused_with_a_reason_and_without_its_content(
    value: bytes | None, reason: str
) -> None:
    with pytest.raises(MessageError) as caught:
        read_feedback(value)
    assert caught.value.reason == reason
    assert "colour" not in caught.value.detail or reason == "unknown_field"
