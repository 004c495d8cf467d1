"""Every way into a Kafka that asks who you are; who is not let in is told why, in one line and a status."""

import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import create_app
from config import Settings, load_settings
from stream.client import Outgoing
from stream.topics import create_topics
from tests.support.lanes import everything, running, send, until
from tests.support.secure_kafka import ADMIN, PASSWORD, SecureKafka
from tests.support.workers import EchoWorker

pytestmark = pytest.mark.broker
ROOT = Path(__file__).resolve().parents[2]

Options = dict[str, str]


def tls(broker: SecureKafka, listener: str = "TLS", authority: str = "ca") -> Options:
    return {
        "bootstrap": broker.address(listener),
        "security_protocol": "SSL",
        "ssl_cafile": str(broker.certificates.path(f"{authority}.pem")),
    }


def mutual(broker: SecureKafka, certificate: str = "client") -> Options:
    return {
        **tls(broker, "MUTUAL"),
        "ssl_certfile": str(broker.certificates.path(f"{certificate}.pem")),
        "ssl_keyfile": str(broker.certificates.path(f"{certificate}.key")),
    }


def sasl(broker: SecureKafka, mechanism: str, password: str = PASSWORD, authority: str = "ca") -> Options:
    return {
        **tls(broker, "SASL", authority),
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": mechanism,
        "sasl_username": ADMIN,
        "sasl_password": password,
    }


def in_the_clear(broker: SecureKafka) -> Options:
    options = sasl(broker, "SCRAM-SHA-256")
    del options["ssl_cafile"]
    return {
        **options,
        "bootstrap": broker.address("SASLPLAIN"),
        "security_protocol": "SASL_PLAINTEXT",
        "allow_plaintext_sasl": "true",
    }


WAYS = {
    "TLS": tls,
    "mutual TLS": mutual,
    "PLAIN over TLS": lambda broker: sasl(broker, "PLAIN"),
    "SCRAM-SHA-256 over TLS": lambda broker: sasl(broker, "SCRAM-SHA-256"),
    "SCRAM-SHA-512 over TLS": lambda broker: sasl(broker, "SCRAM-SHA-512"),
    "SCRAM in the clear, if one means it": in_the_clear,
}

REFUSED: dict[str, tuple[Any, int, str]] = {
    "a wrong password, PLAIN": (lambda b: sasl(b, "PLAIN", "wrong-Zx82"), 2, "refuses the user"),
    "a wrong password, SCRAM": (lambda b: sasl(b, "SCRAM-SHA-512", "wrong-Zx82"), 2, "refuses the user"),
    "another authority": (lambda b: tls(b, authority="other-ca"), 2, "is not trusted: unable"),
    "another authority, SASL": (lambda b: sasl(b, "PLAIN", authority="other-ca"), 2, "is not trusted"),
    "another host's certificate": (lambda b: tls(b, "ELSEWHERE"), 2, "not valid for '127.0.0.1'"),
    "no certificate of one's own": (lambda b: tls(b, "MUTUAL"), 2, "refuses a client without a certificate"),
    "a stranger's certificate": (lambda b: mutual(b, "stranger"), 2, "refuses the client certificate"),
    "SASL where there is none": (
        lambda b: {**sasl(b, "PLAIN"), "bootstrap": b.address("TLS")}, 2, "takes no PLAIN",
    ),
    "no TLS where it is expected": (lambda b: {"bootstrap": b.address("TLS")}, 1, "kafka.security_protocol"),
    "nobody there": (lambda b: {**tls(b), "bootstrap": "127.0.0.1:9"}, 1, "no Kafka answers at 127.0.0.1:9"),
}  # fmt: skip


def settings_of(options: Options) -> Settings:
    name = f"t{uuid.uuid4().hex[:10]}."
    kafka = {**options, "group": name + "g", "session_timeout_ms": 6_000}
    return load_settings(None, {"kafka": kafka, "topics": {"prefix": name}}, {})


def environment(options: Options) -> dict[str, str]:
    return {f"FEEDSIGHT_KAFKA__{name.upper()}": value for name, value in options.items()}


@pytest.mark.parametrize("way", WAYS)
async def test_posts_go_in_are_labelled_and_read_back(secure_kafka: SecureKafka, way: str) -> None:
    settings = settings_of(WAYS[way](secure_kafka))
    await create_topics(settings.kafka, settings.topics)
    await send(settings, "posts", [Outgoing(b"k", b'{"id":"p%d","text":"x"}' % n) for n in range(20)])
    async with running(settings, EchoWorker()):

        async def answered() -> bool:
            return len(await everything(settings, "labels")) == 20

        await until(answered)


def test_the_commands_and_the_worker_take_all_of_it_from_the_environment(
    secure_kafka: SecureKafka, tmp_path: Path
) -> None:
    options = sasl(secure_kafka, "SCRAM-SHA-512")
    name = f"t{uuid.uuid4().hex[:10]}."
    environ = {**os.environ, **environment(options), "FEEDSIGHT_TOPICS__PREFIX": name}
    environ |= {"FEEDSIGHT_KAFKA__GROUP": name + "g", "FEEDSIGHT_METRICS__PORT": "0"}

    def feedsight(*arguments: str) -> str:
        command = [sys.executable, "-c", "from cli.main import main; main()", *arguments]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=100, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        return done.stdout

    posts = tmp_path / "posts.jsonl"
    posts.write_text('{"id":"p1","text":"Oil prices rose again"}\n')
    feedsight("topics", "create")
    feedsight("send", "posts", str(posts))
    command = [sys.executable, "-m", "tests.support.secure_worker"]
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(command, env=environ, stderr=log, cwd=ROOT)
    try:
        assert '"seen"' in feedsight("tail", "labels", "--from-start", "--limit", "1", "--json")
    finally:
        worker.terminate()
    assert worker.wait(60) == 0, (tmp_path / "log").read_text()


@pytest.mark.parametrize("command", [["send", "posts", "-"], ["tail", "labels"]], ids=" ".join)
@pytest.mark.parametrize("case", REFUSED)
def test_who_is_not_let_in_is_told_why_in_one_line(
    secure_kafka: SecureKafka, case: str, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make, status, words = REFUSED[case]
    options = make(secure_kafka)
    for name, value in environment(options).items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(create_app(), command, input='{"id":"p","text":"x"}\n')
    said = done.stderr.strip().splitlines()
    assert (done.exit_code, len(said)) == (status, 1), done.output
    assert said[0].startswith("feedsight: ")
    assert words in said[0]
    assert options.get("sasl_password", PASSWORD) not in done.output


@pytest.mark.parametrize("case", ["a wrong password, SCRAM", "another host's certificate"])
def test_a_worker_that_is_not_let_in_ends_with_a_line_and_a_status(
    secure_kafka: SecureKafka, case: str
) -> None:
    make, status, words = REFUSED[case]
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.secure_worker"],
        env={**os.environ, **environment(make(secure_kafka)), "FEEDSIGHT_METRICS__PORT": "0"},
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT,
    )
    assert done.returncode == status
    assert words in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert "wrong-Zx82" not in done.stdout + done.stderr
