"""Dead letters: the input as it was, and the facts beside it."""

import pytest

from stream.dead_letter import CONNECT, MAX_DETAIL_CHARS, facts_of, from_headers, to_record
from tests.unit.stream.fakes import Record
from workers.errors import MessageError, TransientError

BYTES = b"\x00\xff{not json"


def letter(error: MessageError | TransientError, **record):
    source = Record(**{"value": BYTES, "key": b"k", "offset": 42, **record})
    return to_record(source, facts_of(source, error, stage="text"), "dead")


def test_the_input_is_untouched_and_the_facts_read_back():
    record = letter(MessageError("no JSON", reason="not_json"), headers=(("traceparent", b"00-1"),))
    facts = from_headers(record.headers)
    assert (record.topic, record.key, record.value) == ("dead", b"k", BYTES)
    assert record.headers[0] == ("traceparent", b"00-1")
    assert (facts.reason, facts.detail) == ("not_json", "no JSON")
    assert (facts.topic, facts.partition, facts.offset) == ("in", 3, 42)
    assert (facts.stage, facts.attempt, facts.exception_class) == ("text", 1, "MessageError")


def test_kafka_connects_names_say_the_same():
    headers = dict(letter(MessageError("no JSON", reason="not_json")).headers)
    assert headers[CONNECT + "topic"] == headers["source_topic"] == b"in"
    assert headers[CONNECT + "partition"] == headers["source_partition"] == b"3"
    assert headers[CONNECT + "offset"] == headers["source_offset"] == b"42"
    assert headers[CONNECT + "exception.message"] == b"no JSON"


def test_the_class_of_what_went_wrong_is_the_cause():
    error = MessageError("the model failed", reason="model_failed")
    error.__cause__ = ZeroDivisionError("x")
    assert from_headers(letter(error).headers).exception_class == "ZeroDivisionError"


def test_a_null_value_stays_null_and_is_not_said_to_be_omitted():
    record = letter(MessageError("null", reason="null_value"), value=None)
    assert record.value is None
    assert "value_omitted" not in dict(record.headers)


def test_a_value_that_is_left_out_says_how_large_it_was():
    source = Record(value=b"x" * 999)
    facts = facts_of(source, MessageError("big", reason="too_large"), stage="text")
    record = to_record(source, facts, "dead", omit_value=True)
    assert record.value is None
    assert dict(record.headers)["value_omitted"] == b"999"


def test_a_long_detail_is_cut():
    record = letter(MessageError("x" * 9_000))
    assert from_headers(record.headers).detail == "x" * MAX_DETAIL_CHARS


def test_a_dead_letter_that_was_replayed_and_failed_again_tells_of_its_last_failure():
    first = letter(MessageError("no JSON", reason="not_json"))
    again = letter(
        TransientError("away", reason="timeout"), headers=tuple(first.headers), topic="again", offset=7
    )
    facts = from_headers(again.headers)
    assert (facts.reason, facts.topic, facts.offset) == ("timeout", "again", 7)
    assert ("reason", b"not_json") in again.headers


def test_headers_without_a_value_are_no_obstacle():
    record = letter(MessageError("no"), headers=(("odd", None),))
    assert from_headers(record.headers).reason == "schema"


def test_a_record_that_is_no_dead_letter_says_so():
    with pytest.raises(ValueError, match="no dead letter"):
        from_headers([("content-type", b"application/json")])
