"""Records of the references topic: what each of their forms means, and what is refused."""

import orjson
import pytest

from schemas import Reference
from tests.unit.image.drawn import encoded, gradient
from workers.base import Change
from workers.errors import MessageError
from workers.image.changes import sort_changes
from workers.image.parse import parse_image, parse_reference

IMAGE = encoded(gradient())


def read(key: str, value: bytes | None, **headers: bytes) -> Reference:
    named = tuple(
        (name.replace("_", "-") if name == "content_type" else name, v) for name, v in headers.items()
    )
    return parse_reference(Change(key, value, named), 10**6)


def test_bytes_carry_their_facts_in_headers():
    found = read("line7/good/a.png", IMAGE, subject=b"ann", ce_label=b"shoe", metadata=b'{"price": 7}')
    assert (found.gallery, found.id, found.content) == ("line7", "good/a.png", IMAGE)
    assert (found.subject, found.label, found.metadata) == ("ann", "shoe", {"price": 7})


def test_a_null_value_and_a_message_remove():
    for value in (None, b'{"id": "a", "removed": true}'):
        assert read("g/a", value).removed


def test_a_claim_check_takes_its_gallery_from_the_key():
    found = read("g/a", b'{"id": "a", "dataref": "/x/a.png"}')
    assert (found.gallery, found.dataref, found.removed) == ("g", "/x/a.png", False)


def test_a_structured_event_is_taken_out_of_its_envelope():
    event = {"specversion": "1.0", "id": "a", "source": "s", "type": "t", "data": {"dataref": "/x/a.png"}}
    found = read("g/a", orjson.dumps(event), content_type=b"application/cloudevents+json")
    assert (found.id, found.dataref) == ("a", "/x/a.png")


@pytest.mark.parametrize(
    ("key", "value", "headers", "reason"),
    [
        ("nokey", IMAGE, {}, "schema"),
        ("/a", IMAGE, {}, "schema"),
        ("g/", IMAGE, {}, "schema"),
        ("g" * 129 + "/a", IMAGE, {}, "schema"),
        ("g/" + "a" * 257, IMAGE, {}, "schema"),
        ("g/a", b"", {}, "image_undecodable"),
        ("g/a", b"x" * 10**7, {}, "too_large"),
        ("g/a", b"{broken", {}, "not_json"),
        ("g/a", b'{"id": "a"}', {}, "schema"),
        ("g/a", b'{"id": "b", "dataref": "x"}', {}, "schema"),
        ("g/a", b'{"id": "a", "gallery": "h", "dataref": "x"}', {}, "schema"),
        ("g/a", b'{"id": "a", "dataref": "x", "colour": "red"}', {}, "unknown_field"),
        ("g/a", IMAGE, {"label": b"\xff"}, "bad_encoding"),
        ("g/a", IMAGE, {"sha256": b"short"}, "schema"),
        ("g/a", IMAGE, {"metadata": b"{"}, "not_json"),
        ("g/a", IMAGE, {"metadata": b"[1]"}, "schema"),
        ("g/a", IMAGE, {"metadata": b'{"deep": {"er": 1}}'}, "schema"),
    ],
)
def test_what_is_no_reference_is_refused_with_its_reason(key, value, headers, reason):
    with pytest.raises(MessageError) as caught:
        read(key, value, **headers)
    assert caught.value.reason == reason


def test_an_image_names_its_gallery_in_a_header_or_in_its_message():
    raw = parse_image(IMAGE, [("gallery", b"g"), ("id", b"a")], None, "t-0-1", 10**6)
    claim = parse_image(b'{"id": "a", "dataref": "x", "gallery": "g"}', [], None, "t-0-1", 10**6)
    assert raw.gallery == claim.gallery == "g"
    assert parse_image(IMAGE, [], None, "t-0-1", 10**6).gallery is None


def test_changes_are_sorted_by_gallery_and_only_the_newest_of_each_key_counts():
    found = sort_changes(
        [
            Change("g/a", IMAGE, (), 1),
            Change("h/a", IMAGE, (), 2),
            Change("g/b", None, (), 3),
            Change("g/a", None, (), 4),
            Change("g/c", b"{", (), 5),
        ],
        10**6,
    )
    assert sorted(found["g"].removed) == ["a", "b"]
    assert (found["g"].references, found["g"].published_ms) == ([], 5)
    assert [dict(one.facts)["id"] for one in found["g"].refused] == ["c"]
    assert [reference.id for reference in found["h"].references] == ["a"]
