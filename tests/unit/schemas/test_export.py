"""schemas/json and schemas/asyncapi.yaml say what the messages are."""

import json

import jsonschema
import pytest
import yaml

import schemas
from schemas import ImageMessage, Message, Post, TextResult
from schemas.export import ASYNCAPI, FOLDER, INPUTS, OUTPUTS, all_files, json_schema
from stream.topics import TopicNames

EVERY_MESSAGE = {**INPUTS, **OUTPUTS}


def test_the_files_are_current():
    for path, text in all_files().items():
        assert path.read_text(encoding="utf-8") == text, (
            f"{path.name} is out of date: run `python -m schemas.export`"
        )
    assert {path.name for path in FOLDER.iterdir()} == {path.name for path in all_files() if path != ASYNCAPI}


def test_every_public_message_is_described():
    described = {message.__name__ for message in EVERY_MESSAGE.values()}
    for name in EVERY_MESSAGE:
        described |= set(json_schema(name).get("$defs", {}))
    public = {
        name
        for name in schemas.__all__
        if isinstance(getattr(schemas, name), type) and issubclass(getattr(schemas, name), Message)
    }
    assert public - {"Message"} <= described


@pytest.mark.parametrize("name", EVERY_MESSAGE)
def test_each_schema_is_valid(name):
    jsonschema.Draft202012Validator.check_schema(json_schema(name))


def test_inputs_refuse_unknown_fields_and_outputs_do_not():
    with pytest.raises(jsonschema.ValidationError, match="unexpected"):
        jsonschema.validate({"id": "1", "text": "a", "txet": "b"}, json_schema("post"))
    result = {"id": "1", "label": None, "candidates": [], "model": "m", "label_set": "s", "version": "1"}
    jsonschema.validate({**result, "of_a_later_version": 1}, json_schema("text-result"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("post", Post(id="1", text="a storm", labels=("x",), metadata={"likes": 3})),
        ("image-message", ImageMessage(id="1", dataref="file:///parts/1.jpg", sha256="0" * 64, size=3)),
        ("image-message", ImageMessage(id="1", content=b"\xff\xd8")),
        ("text-result", TextResult(id="1", label="a", candidates=(), model="m", label_set="s", version="1")),
    ],
)
def test_what_a_message_writes_fits_its_schema(name, message):
    jsonschema.validate(json.loads(message.to_json()), json_schema(name))


def test_asyncapi_names_the_topics():
    document = yaml.safe_load(ASYNCAPI.read_text(encoding="utf-8"))
    addresses = {channel["address"] for channel in document["channels"].values()}
    assert addresses == set(TopicNames().all())
    for message in document["components"]["messages"].values():
        if "payload" in message:
            assert (ASYNCAPI.parent / message["payload"]["schema"]["$ref"]).is_file()
