"""A marked password goes through every command, at the most talkative level: it comes out nowhere."""

import asyncio
import json
import logging
import os
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import load_settings
from config.sources import SettingsError
from stream.client import Outgoing
from stream.connection import client_options
from stream.topics import create_topics
from tests.support.lanes import everything, send, until
from tests.support.secure_kafka import SecureKafka, _free_ports

ROOT = Path(__file__).resolve().parents[2]
MARK = "MARKED-5ecret-passw0rd"
KEY_MARK = "MARKED-key-passw0rd"
LABELS = ROOT / "config" / "labels" / "news_topics.yaml"


def settings() -> dict[str, str]:
    return {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_username": "somebody",
        "sasl_password": MARK,
        "ssl_key_password": KEY_MARK,
    }


def clean(said: str) -> bool:
    return "MARKED" not in said


def test_settings_in_any_form_mask_their_secrets() -> None:
    loaded = load_settings(None, {"kafka": settings()}, {})
    forms = [
        repr(loaded),
        str(loaded.kafka),
        loaded.model_dump_json(),
        json.dumps(loaded.model_dump(mode="json")),
    ]
    forms += [f"{loaded.kafka!r}", str(dict(loaded.kafka))]
    assert all(map(clean, forms))


@pytest.mark.parametrize(
    "wrong",
    [{"sasl_password": [MARK]}, {"sasl_mechanism": MARK}, {"sasl_pasword": MARK}, {"sasl_username": None},
     {"security_protocol": "PLAINTEXT"}, {"bootstrap": "nowhere"}],
    ids=lambda wrong: next(iter(wrong)),
)  # fmt: skip
def test_errors_in_settings_do_not_repeat_them(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(None, {"kafka": {**settings(), **wrong}}, {})
    assert clean(str(caught.value))


def environment(**more: str) -> dict[str, str]:
    kafka = {f"FEEDSIGHT_KAFKA__{name.upper()}": value for name, value in settings().items()}
    return {**os.environ, **kafka, "PYTHONDEVMODE": "0", **more}


def run(environ: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-c", "from cli.main import main; main()", *arguments]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, cwd=ROOT)
    return done.stdout + done.stderr


def test_config_and_doctor_say_none_of_it() -> None:
    environ = environment(FEEDSIGHT_KAFKA__BOOTSTRAP="127.0.0.1:9")
    for arguments in (["config", "show"], ["config", "show", "--json"], ["config", "check"], ["doctor"]):
        said = run(environ, *arguments)
        assert said
        assert clean(said), arguments
    assert "somebody" in run(environ, "config", "show")


@pytest.fixture
def loud() -> Iterator[None]:
    """Everything is logged, aiokafka's requests included."""
    root, levels = logging.getLogger(), {}
    for logger in (root, logging.getLogger("aiokafka")):
        levels[logger] = logger.level
        logger.setLevel(logging.DEBUG)
    yield
    for logger, level in levels.items():
        logger.setLevel(level)


@pytest.mark.broker
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
async def test_not_even_aiokafka_at_its_loudest_says_it(
    secure_kafka: SecureKafka, loud: None, caplog: pytest.LogCaptureFixture, mechanism: str
) -> None:
    """A request is logged at DEBUG with all that is in it; that of SASL PLAIN holds the password."""
    kafka = {
        **settings(),
        "sasl_mechanism": mechanism,
        "bootstrap": secure_kafka.address("SASL"),
        "ssl_cafile": str(secure_kafka.certificates.path("ca.pem")),
    }
    loaded = load_settings(None, {"kafka": kafka}, {})
    client_options(loaded.kafka)
    with pytest.raises(Exception, match="refuses the user") as caught:
        await send(loaded, "posts", [Outgoing(None, b"{}")])
    assert clean(str(caught.value))
    assert "ApiVersionRequest" in caplog.text
    assert clean(caplog.text)


@pytest.mark.broker
async def test_a_worker_at_debug_says_it_in_no_log_metric_or_event(
    secure_kafka: SecureKafka, tmp_path: Path
) -> None:
    name = uuid.uuid4().hex[:10]
    user, (port,) = f"user-{name}", _free_ports(1)
    secure_kafka.add_user(user, MARK)
    prefix = f"t{name}."
    admin = load_settings(
        None, {"kafka": {"bootstrap": secure_kafka.address("PLAINTEXT")}, "topics": {"prefix": prefix}}, {}
    )
    await create_topics(admin.kafka, admin.topics)
    secure_kafka.allow(secure_kafka.everything_for(user))
    environ = environment(
        FEEDSIGHT_KAFKA__BOOTSTRAP=secure_kafka.address("SASL"),
        FEEDSIGHT_KAFKA__SASL_MECHANISM="SCRAM-SHA-256",
        FEEDSIGHT_KAFKA__SASL_USERNAME=user,
        FEEDSIGHT_KAFKA__SSL_CAFILE=str(secure_kafka.certificates.path("ca.pem")),
        FEEDSIGHT_KAFKA__GROUP=f"t{name}",
        FEEDSIGHT_TOPICS__PREFIX=prefix,
        FEEDSIGHT_METRICS__PORT=str(port),
        FEEDSIGHT_METRICS__INTERVAL_S="0.5",
    )
    await send(
        admin, "posts", [Outgoing(b"k", b'{"id":"p","text":"Oil prices rose"}'), Outgoing(b"k", b"no post")]
    )
    command = [
        sys.executable,
        "-c",
        "from cli.main import main; main()",
        "worker",
        "text",
        "--log-level",
        "DEBUG",
    ]
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(  # noqa: ASYNC220 - it is only started here
            [*command, "--labels", str(LABELS)], env=environ, stdout=log, stderr=log, cwd=ROOT
        )
    said = []
    try:

        async def answered() -> bool:
            assert worker.poll() is None, (tmp_path / "log").read_text()
            return all([await everything(admin, topic) for topic in ("labels", "dead-letters", "metrics")])

        await until(answered, 120)
        said.append(await asyncio.to_thread(_page, f"http://127.0.0.1:{port}/metrics"))
        said.append(await asyncio.to_thread(_page, f"http://127.0.0.1:{port}/health"))
        for topic in ("labels", "dead-letters", "metrics"):
            said += [str(record) for record in await everything(admin, topic)]
        said.append(run(environ, "send", "posts", "/dev/null"))
        said.append(run(environ, "tail", "metrics", "--from-start", "--limit", "1"))
        said.append(run(environ, "topics", "check"))
    finally:
        worker.terminate()
        worker.wait(60)
    said.append((tmp_path / "log").read_text())
    assert "DEBUG" in said[-1]
    assert all(said)
    assert all(map(clean, said))


def _page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        content: bytes = answer.read()
    return content.decode()
