"""Results built past pydantic's checks are the same as checked ones."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas import Evidence, Post, TextResult
from workers.errors import MessageError
from workers.text.instant import InstantModel
from workers.text.results import candidate, rank, result_json, text_result


def test_candidates_are_ranked_best_first_and_ties_keep_their_order() -> None:
    ranked, margins = rank(("a", "b", "c"), np.array([[0.1, 0.6, 0.3], [0.25, 0.5, 0.25]], np.float32))

    assert [[c.label for c in row] for row in ranked] == [["b", "c", "a"], ["b", "a", "c"]]
    assert margins == [0.3, 0.25]


def test_an_unchecked_result_survives_the_checks_unchanged() -> None:
    ranked, margins = rank(("a", "b"), np.array([[0.25, 0.75]], np.float32))
    made = text_result(
        "1", "b", ranked[0], model="m", label_set="s", version="1", margin=margins[0], labels=("b",)
    )

    assert made == TextResult.model_validate_json(made.model_dump_json())


def test_one_label_alone_has_a_margin() -> None:
    _, margins = rank(("a",), np.array([[0.75]], np.float32))

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
