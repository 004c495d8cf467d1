"""`feedsight doctor` finds what is wrong, says what to do and exits with 1."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import doctor
from cli.main import create_app
from stream.embedded import EmbeddedBroker
from stream.topics import TopicNames


@pytest.fixture
def run(monkeypatch):
    monkeypatch.delenv("FEEDSIGHT_CONFIG", raising=False)
    return lambda *arguments: CliRunner().invoke(create_app(), ["doctor", *arguments])


def test_without_a_broker_it_checks_the_machine_only(run):
    result = run()
    assert result.exit_code == 0, result.output
    assert "Kafka was not checked" in result.stdout


def test_a_broker_with_topics_is_well(run):
    with EmbeddedBroker() as broker:
        broker.create_topics(TopicNames().specs())
        result = run("--kafka", broker.bootstrap)
    assert result.exit_code == 0, result.output
    assert "all 11 topics are there" in result.stdout
    assert "transactions are possible" in result.stdout


def test_missing_topics_are_a_problem(run):
    with EmbeddedBroker() as broker:
        result = run("--kafka", broker.bootstrap)
    assert result.exit_code == 1
    assert "feedsight topics create --kafka" in result.stdout


def test_no_broker_is_a_problem(run):
    result = run("--kafka", "127.0.0.1:1")
    assert result.exit_code == 1
    assert "✗ no Kafka answers at 127.0.0.1:1" in result.stdout


def test_wrong_settings_are_a_problem(run, monkeypatch, tmp_path):
    monkeypatch.setenv("FEEDSIGHT_TEXT__LABELS", str(tmp_path / "nowhere.yaml"))
    assert "does not exist" in run().stdout
    monkeypatch.setenv("FEEDSIGHT_TEXT__LABLES", "x")
    result = run()
    assert result.exit_code == 1
    assert "did you mean 'labels'?" in result.stdout


def test_a_cache_that_is_empty_is_no_problem(run, monkeypatch, tmp_path):
    monkeypatch.setenv("FEEDSIGHT_CACHE", str(tmp_path / "not" / "there" / "yet"))
    result = run()
    assert result.exit_code == 0
    assert "sentence model not exported yet" in result.stdout


@pytest.mark.parametrize(
    ("flags", "words"),
    [("avx2 avx512_vnni", "full speed"), ("avx2", "without VNNI"), ("sse2", "without AVX2")],
)
def test_the_processor_is_named(tmp_path: Path, flags, words):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"model name : x\nflags\t\t: fpu {flags}\n")
    assert words in doctor.check_processor(cpuinfo).what


def test_an_old_python_is_a_problem():
    assert doctor.check_python((3, 10, 4)).good is False
