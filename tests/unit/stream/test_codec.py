"""Between records and messages: CloudEvents in, results out."""

import json

import orjson
import pytest

from schemas import Candidate, Evidence, ImageResult, Origin, Post, Region, TextResult
from stream.codec import encode_result, image_decoder, post_decoder, result_headers
from stream.records import OutputRecord
from tests.unit.stream.fakes import Record
from workers.errors import MessageError

STRUCTURED = (("content-type", b"application/cloudevents+json; charset=utf-8"),)
POST = {"id": "p1", "text": "Rain all night"}
EVENT = {"specversion": "1.0", "id": "e1", "type": "x", "source": "/y"}

decode_post = post_decoder()
decode_image = image_decoder(max_bytes=1_000)


def dumped(value: object) -> bytes:
    return json.dumps(value).encode()


def reason_of_post(value: bytes | None, headers=()) -> str:
    with pytest.raises(MessageError) as raised:
        decode_post(Record(value, headers=headers))
    return raised.value.reason


def reason_of_image(value: bytes | None, headers=(), key: bytes | None = None) -> str:
    with pytest.raises(MessageError) as raised:
        decode_image(Record(value, key=key, headers=headers))
    return raised.value.reason


# Posts


def test_a_post_in_cloudevents_binary_mode_is_the_value_itself():
    headers = (("ce_specversion", b"1.0"), ("ce_id", b"p1"), ("content-type", b"application/json"))
    assert decode_post(Record(dumped(POST), headers=headers)) == Post(**POST)


def test_a_post_in_cloudevents_structured_mode_is_the_events_data():
    value = dumped({**EVENT, "data": POST})
    assert decode_post(Record(value, headers=STRUCTURED)) == Post(**POST)


def test_a_structured_events_id_stands_in_where_the_post_has_none():
    value = dumped({**EVENT, "data": {"text": "Rain"}})
    assert decode_post(Record(value, headers=STRUCTURED)) == Post(id="e1", text="Rain")


def test_the_header_may_be_written_in_capitals():
    value = dumped({**EVENT, "data": POST})
    headers = (("Content-Type", b"application/cloudevents+json"),)
    assert decode_post(Record(value, headers=headers)).id == "p1"


def test_unknown_fields_can_be_dropped_where_the_settings_say_so():
    value = dumped({**POST, "txet": "?"})
    assert reason_of_post(value) == "unknown_field"
    assert post_decoder("ignore")(Record(value)) == Post(**POST)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "null_value"),
        (b"{", "not_json"),
        (b'{"specversion": "\xff"}', "bad_encoding"),
        (b"[]", "schema"),
        (dumped(EVENT), "schema"),
        (dumped({"data": POST}), "schema"),
        (dumped({**EVENT, "data": "text"}), "schema"),
        (dumped({**EVENT, "data": None}), "null_value"),
        (dumped({**EVENT, "data": {**POST, "text": " "}}), "empty_text"),
        (dumped({**EVENT, "data": {**POST, "txet": 1}}), "unknown_field"),
        (b'{"specversion": "1.0", "data": ' + b"[" * 400 + b"]" * 400 + b"}", "schema"),
    ],
)
def test_a_structured_event_that_is_no_post_is_refused_with_the_reason(value, reason):
    assert reason_of_post(value, STRUCTURED) == reason


# Images


def test_a_raw_image_takes_its_facts_from_headers():
    headers = (
        ("content-type", b"image/jpeg"),
        ("subject", b"anna"),
        ("reference", "Prüfling 7".encode()),
        ("ce_id", b"i1"),
    )
    found = decode_image(Record(b"\xff\xd8...", headers=headers))
    assert (found.id, found.subject, found.reference) == ("i1", "anna", "Prüfling 7")
    assert (found.content, found.size, found.content_type) == (b"\xff\xd8...", 5, "image/jpeg")
    assert found.dataref is None


def test_facts_of_a_raw_image_may_carry_the_cloudevents_prefix():
    headers = (("ce_subject", b"anna"), ("ce_reference", b"r"), ("ce_sha256", b"a" * 64))
    found = decode_image(Record(b"\xff\xd8", headers=headers))
    assert (found.subject, found.reference, found.sha256) == ("anna", "r", "a" * 64)


def test_a_raw_image_is_named_by_its_id_header_then_its_key_then_its_place():
    both = Record(b"\xff\xd8", key=b"the-key", headers=(("id", b"bare"), ("ce_id", b"event")))
    assert decode_image(both).id == "bare"
    event = Record(b"\xff\xd8", key=b"the-key", headers=(("ce_id", b"event"),))
    assert decode_image(event).id == "event"
    assert decode_image(Record(b"\xff\xd8", key=b"the-key")).id == "the-key"
    assert decode_image(Record(b"\xff\xd8", offset=9)).id == "in-3-9"


def test_headers_without_a_value_are_passed_over():
    headers = (("content-type", None), ("subject", None), ("ce_id", b"i"))
    assert decode_image(Record(b"\xff\xd8", headers=headers)).id == "i"


CLAIM = {"id": "i1", "dataref": "/pictures/1.jpg", "sha256": "a" * 64, "size": 10, "subject": "anna"}


@pytest.mark.parametrize(
    "headers",
    [
        (("content-type", b"application/json"),),
        (("content-type", b"Application/JSON; charset=utf-8"),),
        (("Content-Type", b"application/json"),),
        (),
    ],
)
def test_json_is_a_claim_check(headers):
    found = decode_image(Record(dumped(CLAIM), headers=headers))
    assert (found.id, found.dataref, found.sha256, found.subject) == (
        "i1",
        "/pictures/1.jpg",
        "a" * 64,
        "anna",
    )
    assert found.content is None


def test_a_claim_check_may_come_as_a_structured_event():
    facts = {key: value for key, value in CLAIM.items() if key != "id"}
    found = decode_image(Record(dumped({**EVENT, "data": facts}), headers=STRUCTURED))
    assert (found.id, found.dataref) == ("e1", "/pictures/1.jpg")


@pytest.mark.parametrize(
    ("value", "headers", "reason"),
    [
        (None, (), "null_value"),
        (b"", (), "image_undecodable"),
        (b"x" * 1_001, (), "too_large"),
        (b"{", (), "not_json"),
        (b"hello", (("content-type", b"application/json"),), "not_json"),
        (b'{"id": "\xff"}', (), "bad_encoding"),
        (dumped({"id": "i1"}), (), "schema"),
        (dumped({**CLAIM, "sha256": "no hash"}), (), "schema"),
        (dumped({**CLAIM, "subjekt": "x"}), (), "unknown_field"),
        (dumped(EVENT), STRUCTURED, "schema"),
        (b"\xff\xd8", (("subject", b"\xff\xfe"),), "bad_encoding"),
        (b"\xff\xd8", (("sha256", b"no hash"),), "schema"),
        (b"\xff\xd8", (("ce_id", b"x" * 300),), "schema"),
    ],
)
def test_what_is_no_image_message_is_refused_with_the_reason(value, headers, reason):
    assert reason_of_image(value, headers) == reason


def test_image_bytes_never_travel_as_json():
    assert reason_of_image(dumped({"id": "i1", "content": "aGk="})) == "schema"


# Results

TEXT = TextResult(
    id='p "1" \\ ü\n',
    label=None,
    candidates=(Candidate(label="storm", probability=0.25), Candidate(label="ü\u2028", probability=0.125)),
    model="m",
    label_set="l",
    version="v1",
    margin=0.125,
    labels=(),
    evidence=Evidence(nearest="rain", nearest_kind="phrasing", words=(("rain", 0.5),)),
)
IMAGE = ImageResult(
    id="i1",
    mode="compare",
    verdict="defect",
    score=0.75,
    regions=(Region(box=(1, 2, 3, 4), score=0.5),),
    model="m",
    gallery="g",
    version="v1",
    width=10,
    height=20,
)
COMMON = result_headers("feedsight.label.v1", "/feedsight/g.text")


def encoded(result: TextResult | ImageResult = TEXT, **record) -> OutputRecord:
    return encode_result(Record(**{"offset": 17, **record}), result, "out", COMMON)


@pytest.mark.parametrize("result", [TEXT, IMAGE], ids=["text", "image"])
def test_a_result_reads_back_as_what_the_worker_gave_and_where_it_came_from(result):
    record = encode_result(Record(topic="feedsight.posts", offset=17), result, "out", COMMON)
    found = type(result).model_validate_json(record.value or b"")
    result_id = orjson.loads(record.value or b"")["result_id"]
    source = Origin(topic="feedsight.posts", partition=3, offset=17)
    assert found == result.model_copy(update={"result_id": result_id, "source": source})
    assert record.topic == "out"


def test_the_result_id_is_the_events_id_and_the_same_each_time():
    record = encoded()
    headers = dict(record.headers)
    assert headers["ce_id"].decode() == orjson.loads(record.value or b"")["result_id"]
    assert headers["ce_id"] == dict(encoded().headers)["ce_id"]


def test_the_result_id_tells_apart_every_place_model_and_version():
    ids = [
        dict(record.headers)["ce_id"]
        for record in (
            encoded(),
            encoded(offset=18),
            encoded(partition=4),
            encoded(topic="other"),
            encoded(TEXT.model_copy(update={"version": "v2"})),
            encoded(TEXT.model_copy(update={"model": "m2"})),
        )
    ]
    assert len(set(ids)) == len(ids)


def test_a_result_has_the_key_of_its_input_or_else_its_id():
    assert encoded(key=b"k").key == b"k"
    assert encoded(IMAGE).key == b"i1"


def test_a_result_carries_cloudevents_headers_and_the_trace_of_its_input():
    record = encoded(headers=(("traceparent", b"00-1"), ("tracestate", b"s"), ("secret", b"x")))
    headers = dict(record.headers)
    assert headers["ce_specversion"] == b"1.0"
    assert headers["ce_type"] == b"feedsight.label.v1"
    assert headers["ce_source"] == b"/feedsight/g.text"
    assert headers["content-type"] == b"application/json"
    assert (headers["traceparent"], headers["tracestate"]) == (b"00-1", b"s")
    assert "secret" not in headers
    assert len(headers) == len(record.headers)
