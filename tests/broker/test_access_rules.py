"""Each role does its work with the access rules that docs/security.md gives it, and with nothing else."""

import os
import shlex
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from config import Settings, load_settings
from stream import app
from stream.client import Outgoing
from stream.connection import refusal
from stream.control_topic import read_control
from stream.dead_letter import facts_of, to_record
from stream.in_force import InForce
from stream.label_sets import publish, read_shelf
from stream.letters import Selection
from stream.resend import marks_topic, replay
from stream.topics import create_missing, create_topics
from tests.support.lanes import everything, send, until
from tests.support.secure_kafka import RESOURCES, Grant, SecureKafka
from tests.support.secure_worker import FollowingWorker
from workers.errors import FatalError, MessageError, PipelineError
from workers.text.label_set import parse_label_set

pytestmark = pytest.mark.broker
ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "pw-of-a-role"
DOCUMENTED = [
    line
    for line in (ROOT / "docs/security.md").read_text().splitlines()
    if line.startswith("kafka-acls --add ")
]


def documented(role: str) -> list[str]:
    """The rules of a role, as one would type them."""
    found = [line for line in DOCUMENTED if f"--allow-principal User:{role} " in line]
    assert found, role
    return found


def named(line: str) -> str:
    """A short name for a rule."""
    return line.split("--operation ")[1]


def grant(line: str, user: str, prefix: str) -> Grant:
    """Read a rule, for a user of the test's own and its own topics."""
    words = iter(shlex.split(line)[2:])
    options = {word.removeprefix("--"): next(words) for word in words}
    (kind,) = RESOURCES.keys() & options.keys()
    name = prefix + options[kind].removeprefix("feedsight.")
    return Grant(user, options["operation"], kind, name, prefixed="resource-pattern-type" in options)


def settings_of(broker: SecureKafka, prefix: str, user: str | None = None) -> Settings:
    """A role's settings; the superuser's where no user is named."""
    kafka = {"bootstrap": broker.address("PLAINTEXT"), "group": prefix[:-1]}
    if user is not None:
        kafka |= {
            "bootstrap": broker.address("SASL"),
            "security_protocol": "SASL_SSL",
            "ssl_cafile": str(broker.certificates.path("ca.pem")),
            "sasl_mechanism": "SCRAM-SHA-256",
            "sasl_username": user,
            "sasl_password": PASSWORD,
        }
    return load_settings(None, {"kafka": kafka, "topics": {"prefix": prefix, "partitions": 1}}, {})


class Place:
    """Topics of the test's own, and a role that may do what it is granted there."""

    def __init__(self, broker: SecureKafka, role: str) -> None:
        name = uuid.uuid4().hex[:10]
        self.broker = broker
        self.user = f"{role}-{name}"
        self.prefix = f"t{name}."
        self.admin = settings_of(broker, self.prefix)
        self.role = settings_of(broker, self.prefix, self.user)
        broker.add_user(self.user, PASSWORD)

    async def make(self, rules: list[str]) -> None:
        await create_topics(self.admin.kafka, self.admin.topics)
        if rules:
            self.broker.allow([grant(line, self.user, self.prefix) for line in rules])


@contextmanager
def worker(place: Place, lane: str, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    kafka = place.role.kafka.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    environ = {f"FEEDSIGHT_KAFKA__{name.upper()}": str(value) for name, value in kafka.items()}
    environ |= {"FEEDSIGHT_KAFKA__SASL_PASSWORD": PASSWORD, "FEEDSIGHT_TOPICS__PREFIX": place.prefix}
    environ |= {"FEEDSIGHT_METRICS__PORT": "0", "FEEDSIGHT_METRICS__INTERVAL_S": "0.5"}
    command = [sys.executable, "-m", "tests.support.secure_worker", lane]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, env={**os.environ, **environ}, stderr=stream, cwd=ROOT)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    ("lane", "topic", "results", "good"),
    [("text", "posts", "labels", b'{"id":"p","text":"x"}'), ("image", "images", "matches", b"an image")],
)
async def test_a_worker_runs_with_just_its_rules(
    secure_kafka: SecureKafka, tmp_path: Path, lane: str, topic: str, results: str, good: bytes
) -> None:
    place = Place(secure_kafka, f"{lane}-worker")
    await place.make(documented(f"{lane}-worker"))
    await send(place.admin, topic, [Outgoing(b"k", good), Outgoing(b"k", None)])
    with worker(place, lane, tmp_path / "log") as process:

        async def answered() -> bool:
            assert process.poll() is None, (tmp_path / "log").read_text()
            found = [await everything(place.admin, each) for each in (results, "dead-letters", "metrics")]
            return all(found)

        await until(answered)
        process.terminate()
        assert process.wait(60) == 0
    assert "not authorized" not in (tmp_path / "log").read_text().lower()


WORKER_RULES = documented("text-worker")


@pytest.mark.parametrize("line", [rule for rule in WORKER_RULES if "--topic" in rule], ids=named)
async def test_a_topic_that_a_worker_may_not_use_is_named_before_it_starts(
    secure_kafka: SecureKafka, line: str
) -> None:
    place = Place(secure_kafka, "text-worker")
    await place.make([rule for rule in WORKER_RULES if rule != line])
    refused = await refusal(place.role.kafka, app._topics(place.role, {"text": FollowingWorker()}))
    assert refused is not None
    assert refused.detail == (
        f"Kafka gives the user {place.user!r} no right to {grant(line, place.user, place.prefix).facts[3]}: "
        "see docs/security.md"
    )


@pytest.mark.parametrize("line", [WORKER_RULES[0], *WORKER_RULES[2:4]], ids=named)
async def test_a_worker_that_lacks_a_rule_ends_and_says_which(
    secure_kafka: SecureKafka, tmp_path: Path, line: str
) -> None:
    place = Place(secure_kafka, "text-worker")
    await place.make([rule for rule in WORKER_RULES if rule != line])
    await send(place.admin, "posts", [Outgoing(b"k", b'{"id":"p","text":"x"}')])
    with worker(place, "text", tmp_path / "log") as process:
        status = process.wait(60)
    said = (tmp_path / "log").read_text().strip().splitlines()[-1]
    assert status in (1, 2)
    assert said.startswith("feedsight: ")
    assert "no right to" in said or "AuthorizationFailed" in said
    assert grant(line, place.user, place.prefix).facts[3].rstrip(".") in said


async def test_a_sender_sends_and_reads_nothing(secure_kafka: SecureKafka) -> None:
    place = Place(secure_kafka, "sender")
    await place.make(documented("sender"))
    await send(place.role, "posts", [Outgoing(b"k", b"{}")])
    await send(place.role, "images", [Outgoing(b"k", b"{}")])
    with pytest.raises(PipelineError, match="TopicAuthorizationFailed"):
        await everything(place.role, "posts")
    with pytest.raises(FatalError, match="TopicAuthorizationFailed"):
        await send(place.role, "label-sets", [Outgoing(b"k", b"{}")])


async def test_a_reader_reads_results_and_neither_dead_letters_nor_inputs(secure_kafka: SecureKafka) -> None:
    place = Place(secure_kafka, "reader")
    await place.make(documented("reader"))
    for topic in ("labels", "matches", "metrics"):
        await send(place.admin, topic, [Outgoing(b"k", b"{}")])
        assert len(await everything(place.role, topic)) == 1
    for topic in ("dead-letters", "posts"):
        with pytest.raises(PipelineError, match="TopicAuthorizationFailed"):
            await everything(place.role, topic)
    with pytest.raises(FatalError, match="AuthorizationFailed"):
        await send(place.role, "labels", [Outgoing(b"k", b"{}")])


async def test_an_editor_changes_labels(secure_kafka: SecureKafka) -> None:
    place = Place(secure_kafka, "editor")
    await place.make(documented("editor"))
    label_set = parse_label_set({"name": "n", "version": "1", "labels": [{"name": "a"}, {"name": "b"}]})
    async with InForce(place.role, "text") as watching:
        assert watching.live() == set()
        await publish(place.role, label_set)
    assert set((await read_shelf(place.role)).in_force) == {"n"}


async def test_a_curator_changes_references(secure_kafka: SecureKafka) -> None:
    place = Place(secure_kafka, "curator")
    await place.make(documented("curator"))
    async with InForce(place.role, "image") as watching:
        assert watching.live() == set()
        await send(place.role, "references", [Outgoing(b"g/a", b"an image")])
    assert len(await read_control(place.role.kafka, place.prefix + "references")) == 1
    with pytest.raises(FatalError, match="AuthorizationFailed"):
        await send(place.role, "label-sets", [Outgoing(b"k", b"{}")])


async def test_a_replayer_replays_dead_letters(secure_kafka: SecureKafka) -> None:
    place = Place(secure_kafka, "replayer")
    await place.make(documented("replayer"))
    await create_missing(place.admin.kafka, [marks_topic(place.admin)], 1)
    letter = ConsumerRecordLike(place.prefix + "posts")
    facts = facts_of(letter, MessageError("no"), stage="text")
    record = to_record(letter, facts, place.prefix + "dead-letters")
    await send(place.admin, "dead-letters", [Outgoing(record.key, record.value, tuple(record.headers))])
    told: list[str] = []
    await replay(place.role, Selection(), told=lambda _, what: told.append(what))
    assert told == ["replayed"]
    assert len(await everything(place.admin, "posts")) == 1


@dataclass(frozen=True)
class ConsumerRecordLike:
    """An input that could not be answered."""

    topic: str
    partition: int = 0
    offset: int = 0
    timestamp: int = 0
    key: bytes | None = b"k"
    value: bytes | None = b"{}"
    headers: tuple[tuple[str, bytes], ...] = ()
