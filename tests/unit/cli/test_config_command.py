"""`feedsight config` shows settings without secrets and refuses wrong ones with status 2."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from cli.main import create_app


@pytest.fixture
def run(monkeypatch):
    for name in ("FEEDSIGHT_CONFIG",):
        monkeypatch.delenv(name, raising=False)
    return lambda *arguments: CliRunner().invoke(create_app(), ["config", *arguments])


def test_show_masks_secrets(run, monkeypatch):
    monkeypatch.setenv("FEEDSIGHT_KAFKA__SASL_PASSWORD", "hunter2")
    result = run("show")
    assert result.exit_code == 0
    assert "hunter2" not in result.output
    assert yaml.safe_load(result.stdout)["kafka"]["sasl_password"] == "**********"


def test_show_as_json(run):
    assert "kafka" in json.loads(run("show", "--json").stdout)


def test_check_says_in_one_line_what_is_wrong(run, tmp_path):
    file = tmp_path / "f.yaml"
    file.write_text("kafka: {grop: x}\n")
    result = run("check", "--config", str(file))
    assert result.exit_code == 2
    assert result.stderr.strip().splitlines() == [
        f"feedsight: kafka.grop: no such setting (did you mean 'group'?) (settings file {file})"
    ]
    assert run("check").exit_code == 0


def test_schema_is_json_schema(run):
    schema = json.loads(run("schema").stdout)
    assert schema["properties"].keys() >= {"kafka", "topics", "lane"}
