"""Results built past pydantic's checks are the same as checked ones."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas import Evidence, Post, TextResult
from workers.errors import MessageError
from workers.text.instant import InstantModel
from workers.text.results import (
    TEXT_RESULTS,
    Answer,
    candidate,
    rank,
    result_json,
    result_of,
    shared_fields,
    text_result,
)


def test_candidates_are_ranked_best_first_and_ties_keep_their_order() -> None:
    order, values, margins = rank(np.array([[0.1, 0.6, 0.3], [0.25, 0.5, 0.25]], np.float32))

    assert order == [[1, 2, 0], [1, 0, 2]]
    assert values == [[0.6, 0.3, 0.1], [0.5, 0.25, 0.25]]
    assert margins == [0.3, 0.25]


def test_an_unchecked_result_survives_the_checks_unchanged() -> None:
    made = text_result(
        "1", "b", (candidate("b", 0.75),), model="m", label_set="s", version="1", margin=0.5, labels=("b",)
    )

    assert made == TextResult.model_validate_json(made.model_dump_json())


def test_one_label_alone_has_a_margin() -> None:
    _, _, margins = rank(np.array([[0.75]], np.float32))

    assert margins == [0.5]


def test_the_instant_model_answers_each_post_and_passes_errors_through() -> None:
    error = MessageError("bad")
    first, second = InstantModel().run([Post(id="1", text="x"), error])

    assert isinstance(first, TextResult)
    assert first == TextResult.model_validate_json(first.model_dump_json())
    assert (first.id, len(first.candidates)) == ("1", 4)
    assert second is error


SHARES = st.floats(0, 1).map(lambda share: round(share, 6))


@settings(max_examples=300, deadline=None)
@given(
    st.text(min_size=1, max_size=20),
    st.lists(st.tuples(st.text(min_size=1, max_size=12), SHARES), min_size=1, max_size=6),
    st.sampled_from([None, (), ("a", "b")]),
    st.sampled_from([None, "first", Evidence(nearest="x", nearest_similarity=0.5)]),
)
@example('\u2028 \x7f \x01 "\\/ é 😀', [("a", 1e-06), ("b", 0.0), ("c", 1.0)], None, None)
def test_the_short_way_to_json_writes_the_same_bytes(
    post_id: str,
    shares: list[tuple[str, float]],
    labels: tuple[str, ...] | None,
    more: str | Evidence | None,
) -> None:
    """Whatever stands in ids and labels, and for results with more to say."""
    result = text_result(
        post_id,
        shares[0][0],
        tuple(candidate(label, share) for label, share in shares),
        model="m",
        label_set="set",
        version="1",
        margin=0.25,
        labels=labels,
        evidence=more if isinstance(more, Evidence) else None,
        duplicate_of=more if isinstance(more, str) else None,
    )
    assert result_json(result) == result.to_json()


@settings(max_examples=300, deadline=None)
@given(
    st.text(min_size=1, max_size=20),
    st.lists(st.tuples(st.text(min_size=1, max_size=12), SHARES), min_size=1, max_size=6),
    st.sampled_from([None, (), ("a", "b")]),
    st.sampled_from([None, {"nearest": "x", "nearest_kind": "name", "nearest_similarity": 0.5}]),
    st.sampled_from([None, "first"]),
)
def test_a_result_made_late_is_the_one_it_says_it_is(
    post_id: str,
    shares: list[tuple[str, float]],
    labels: tuple[str, ...] | None,
    evidence: dict[str, object] | None,
    duplicate_of: str | None,
) -> None:
    """What is written at once, and what is made when somebody asks, are one."""
    names, values = zip(*shares, strict=True)
    shared = shared_fields("m", "set", "1")
    answer = Answer(shared, "a", names, values, 0.25, finite=True, labels=labels, evidence=evidence)
    made = result_of(answer, post_id, duplicate_of or post_id)
    read = TextResult.model_validate_json(made.to_json())
    assert made == read
    assert read == made
    assert made.review is None
    assert made.candidates == read.candidates
    assert made.evidence == read.evidence
    assert made.model_dump(exclude_unset=True) == read.model_dump(exclude_unset=True)


def test_both_classes_of_a_text_result_are_known_by_the_tuple_of_them() -> None:
    """The shortcut finds what the common class alone would find, and nothing else."""
    plain = text_result("1", "b", (), model="m", label_set="s", version="1", margin=0.5)
    late = result_of(Answer(shared_fields("m", "s", "1"), "b", ("b",), (0.75,), 0.5, finite=True), "1", "1")
    for one in (plain, late, None, (late,), MessageError("bad"), Post(id="1", text="x")):
        assert isinstance(one, TEXT_RESULTS) == isinstance(one, TextResult)
