"""Bytes to posts: the good case, and one reason for each way to be wrong."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas import MAX_TEXT_CHARS, Post
from workers.errors import MessageError
from workers.text.parse import MAX_POST_BYTES, parse_post, salvage_id


def test_a_post_is_read_with_its_facts() -> None:
    post = parse_post(b'{"id": "7", "text": "Goal!", "lang": "en", "metadata": {"likes": 3}}')

    assert (post.id, post.text, post.lang, post.metadata) == ("7", "Goal!", "en", {"likes": 3})


def test_a_byte_order_mark_is_passed_over() -> None:
    assert parse_post('\ufeff{"id": "7", "text": "Goal!"}'.encode()).text == "Goal!"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "null_value"),
        (b"null", "null_value"),
        (b"", "not_json"),
        (b"   ", "not_json"),
        (b"{", "not_json"),
        (b"hello", "not_json"),
        (b'{"id": "1", "text": "a"} x', "not_json"),
        (b"[" * 5_000, "not_json"),
        (b'{"id": "1", "text": NaN}', "schema"),
        (b"[]", "schema"),
        (b"7", "schema"),
        (b"{}", "schema"),
        (b'{"id": "1"}', "schema"),
        (b'{"text": "a"}', "schema"),
        (b'{"id": 1, "text": "a"}', "schema"),
        (b'{"id": "", "text": "a"}', "schema"),
        (b'{"id": "1", "text": null}', "schema"),
        (b'{"id": "1", "text": ["a"]}', "schema"),
        (b'{"id": "1", "text": "a", "score": []}', "schema"),
        (b'{"id": "1", "text": "a", "metadata": {"k": {"deep": 1}}}', "schema"),
        (b'{"id": "1", "txt": "a"}', "schema"),
        (b'{"id": "1", "text": "a", "colour": "red"}', "unknown_field"),
        (b'{"id": "1", "text": ""}', "empty_text"),
        (b'{"id": "1", "text": " \\n\\t "}', "empty_text"),
        (b'{"id": "1", "text": "caf\xe9"}', "bad_encoding"),
        ('{"id": "1", "text": "a"}'.encode("utf-16"), "bad_encoding"),
        (b'{"id": "1", "text": "\\ud83d"}', "bad_encoding"),
        (json.dumps({"id": "1", "text": "x" * (MAX_TEXT_CHARS + 1)}).encode(), "too_large"),
        (b'{"id": "1", "text": "' + b"x" * MAX_POST_BYTES + b'"}', "too_large"),
    ],
)
def test_each_way_to_be_wrong_has_its_reason(value: bytes | None, reason: str) -> None:
    with pytest.raises(MessageError) as caught:
        parse_post(value)

    assert reason == caught.value.reason
    assert "\n" not in caught.value.detail


def test_an_unknown_field_is_named_with_the_nearest_known_one() -> None:
    with pytest.raises(MessageError, match=r"unknown field 'sorce' \(did you mean 'source'\?\)"):
        parse_post(b'{"id": "1", "text": "a", "sorce": "x"}')


def test_unknown_fields_can_be_dropped() -> None:
    post = parse_post(b'{"id": "1", "text": "a", "colour": "red"}', unknown_fields="ignore")

    assert post.text == "a"


def test_a_detail_never_holds_content() -> None:
    for value in (
        b'{"id": "1", "text": ["s3cret"]}',
        b'{"id": "1", "score": "s3cret"}',
        b'{"id": "1", "text": "s3cret',
        b's3cret {"id": "1"}',
    ):
        with pytest.raises(MessageError) as caught:
            parse_post(value)
        assert "s3cret" not in caught.value.detail
        assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b'{"id": "9", "text": ""}', "9"),
        (b'{"id": "9", "text": "caf\xe9"}', "9"),
        (b'{"id": 9}', None),
        (b"[1]", None),
        (b"{", None),
        (None, None),
    ],
)
def test_the_id_of_a_bad_post_is_found_where_it_can_be(value: bytes | None, expected: str | None) -> None:
    assert expected == salvage_id(value)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
ANYTHING = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=5), SCALARS, max_size=3)
POSTS = st.fixed_dictionaries(
    {"id": st.text(max_size=260) | SCALARS, "text": st.text(max_size=40) | SCALARS},
    optional=dict.fromkeys([*list(Post.model_fields)[2:], "colour"], ANYTHING),
)


@settings(max_examples=400, deadline=None)
@given(POSTS, st.booleans())
@example({"id": "1", "text": "a", "score": 2**70}, False)
@example({"id": "1", "text": "a", "score": 1e16, "label": True, "lang": None, "labels": None}, False)
def test_the_short_way_reads_what_pydantic_reads(post: dict[str, object], escaped: bool) -> None:
    """Taken or refused alike, the same values of the same types in the same order, the same fields set."""
    value = json.dumps(post, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    try:
        wanted: Post | None = Post.model_validate_json(value)
    except ValueError:
        wanted = None
    try:
        found: Post | None = parse_post(value)
    except MessageError:
        found = None

    assert (wanted is None) == (found is None)
    if wanted is not None and found is not None:
        assert repr(wanted) == repr(found)
        assert wanted.model_fields_set == found.model_fields_set
        assert wanted.to_json() == found.to_json()


def test_of_a_field_given_twice_the_last_counts_as_with_pydantic() -> None:
    value = b'{"id": "1", "text": "a", "lang": 7, "lang": "en", "text": "b"}'

    assert parse_post(value) == Post.model_validate_json(value)
