"""Text that is small to send and large to read, nested, repeated, aliased, doubled: refused in time."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from config import load_settings
from config.sources import SettingsError
from stream.codec import image_decoder, post_decoder
from stream.topics import TopicNames
from tests.unit.stream.fakes import Record
from workers.base import Change
from workers.errors import FatalError, MessageError
from workers.image.manifest import BadLine, manifest_entries
from workers.text.control import read_change
from workers.text.label_set import LabelSetError, load_label_set

DEEP = 200_000
MANY = 40_000


def with_metadata(value: bytes) -> bytes:
    return b'{"id":"1","text":"x","unknown":{"a":' + value + b"}}"


POST = {"id": "1", "text": "x"}

BOMBS: dict[str, Callable[[], bytes]] = {
    "lists in lists": lambda: with_metadata(b"[" * DEEP + b"]" * DEEP),
    "objects in objects": lambda: b'{"a":' * (DEEP // 2) + b"1" + b"}" * (DEEP // 2),
    "lists without end": lambda: b"[" * DEEP,
    "a number of 800,000 digits": lambda: with_metadata(b"9" * 800_000),
    "such a number for an id": lambda: b'{"id":' + b"9" * 800_000 + b',"text":"x","path":"a.jpg"}',
    "a number beyond all floats": lambda: with_metadata(b"1e999999"),
    "a number written at length": lambda: with_metadata(b"1" + b"0" * 700_000 + b"e-700000"),
    "40,000 unknown fields": lambda: json.dumps(POST | dict.fromkeys(map(str, range(MANY)))).encode(),
    "a name of 800,000 characters": lambda: b'{"' + b"k" * 800_000 + b'":1}',
}  # fmt: skip

CLOUD_EVENT = (("content-type", b"application/cloudevents+json"),)
JSON = (("content-type", b"application/json"),)


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.timeout(20)
def test_a_message_that_is_a_bomb_is_refused(name: str) -> None:
    bomb = BOMBS[name]()
    wrapped = b'{"specversion":"1.0","id":"1","data":' + bomb + b"}"
    for decode, record in (
        (post_decoder(), Record(value=bomb)),
        (post_decoder(), Record(value=wrapped, headers=CLOUD_EVENT)),
        (image_decoder(2**25), Record(value=bomb, headers=JSON)),
        (image_decoder(2**25), Record(value=wrapped, headers=CLOUD_EVENT)),
    ):
        with pytest.raises(MessageError) as caught:
            decode(record)
        assert len(caught.value.detail) < 500


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.timeout(20)
def test_a_line_of_a_manifest_that_is_a_bomb_is_refused(name: str) -> None:
    (entry,) = manifest_entries([BOMBS[name]()], Path())
    assert isinstance(entry, BadLine)


ALIASES = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{after}: &{after} [{','.join(['*' + before] * 10)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)  # fmt: skip

LABEL_SETS: dict[str, tuple[str, str]] = {
    "aliases of aliases": (".yaml", ALIASES),
    "lists in lists": (".yaml", "[" * 100_000),
    "lists in lists, JSON": (".json", "[" * 100_000),
    "blocks in blocks": (".yaml", "".join(" " * n + "- \n" for n in range(2_000))),
    "a doubled key": (".yaml", "name: a\nname: b\nlabels: [x, y]\n"),
    "a doubled key, JSON": (".json", '{"name":"a","name":"b","labels":["x","y"]}'),
    "a merge of itself": (".yaml", "a: &a\n  <<: *a\n"),
    "an object of Python's": (".yaml", "name: !!python/object/apply:os.system ['true']\nlabels: [x, y]\n"),
    "a name that is code": (".yaml", "!!python/name:os.system\n"),
    "a huge number": (
        ".json",
        '{"name":"a","labels":["x","y"],"abstain":{"threshold":' + "9" * 100_000 + "}}",
    ),
    "a million labels": (".json", json.dumps({"name": "a", "labels": ["x"] * 1_000_000})),
    "null characters": (".yaml", "name: a\0b\nlabels: [x, y]\n"),
}


@pytest.mark.parametrize("case", LABEL_SETS)
@pytest.mark.timeout(30)
def test_a_label_set_that_is_a_bomb_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    suffix, text = LABEL_SETS[case]
    (tmp_path / f"l{suffix}").write_text(text)
    with pytest.raises(LabelSetError) as caught:
        load_label_set(tmp_path / f"l{suffix}")
    assert "\n" not in caught.value.detail
    assert len(caught.value.detail) < 1_000


@pytest.mark.parametrize("case", [case for case, (suffix, _) in LABEL_SETS.items() if suffix == ".json"])
def test_a_label_set_on_its_topic_that_is_a_bomb_is_refused(case: str) -> None:
    with pytest.raises(FatalError):
        read_change(Change("a", LABEL_SETS[case][1].encode(), (), 0))


OWN = TopicNames("own.").all()


def label_set(route: str) -> dict[str, Any]:
    return {"name": "a", "version": "1", "labels": [{"name": "x"}, {"name": "y"}], "route": route}


@pytest.mark.parametrize(
    "route", [*OWN, "own.dead-letters.replayed", "__consumer_offsets", "__transaction_state", "..", "."]
)
def test_a_route_that_leads_back_in_or_into_kafka_itself_is_refused_by_lint_and_worker_alike(
    tmp_path: Path, route: str
) -> None:
    """`labels lint` reads a file, a worker reads the settings' file and the topic: all by the same check."""
    (tmp_path / "l.json").write_text(json.dumps(label_set(route)))
    with pytest.raises(LabelSetError, match="route"):
        load_label_set(tmp_path / "l.json", OWN)
    with pytest.raises(LabelSetError, match="route"):
        read_change(Change("a", json.dumps(label_set(route)).encode(), (), 0), OWN)


@pytest.mark.parametrize("route", ["storm", "own.storm", "other.posts", "_private", "own.labels-of-storm"])
def test_any_other_route_is_taken(route: str) -> None:
    read_change(Change("a", json.dumps(label_set(route)).encode(), (), 0), OWN)


@pytest.mark.parametrize(
    "text",
    ["[" * 3_000, "kafka: {group: a, group: b}", "!!python/name:os.system", "kafka: *a", "a\0b", "- kafka",
     "kafka: !!python/object/apply:os.system ['true']"],
    ids=["nested", "doubled", "a name", "an alias", "null character", "a list", "a call"],
)  # fmt: skip
def test_settings_that_are_a_bomb_are_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path / "s.yaml", {}, {})
    assert "\n" not in str(caught.value)
