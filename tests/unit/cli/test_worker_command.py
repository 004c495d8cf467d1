"""What `feedsight worker` says before it goes on to Kafka."""

import logging
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from cli.main import create_app
from cli.worker import _announce
from config import load_settings
from schemas import Abstain, Label, LabelSet


class _Loaded:
    """A worker as `_announce` sees it."""

    model = "a-model"
    version = "3"

    def __init__(self, abstain: Abstain | None = None) -> None:
        label_set = LabelSet(name="n", labels=(Label(name="a"),), abstain=abstain)
        self.campaigns = (SimpleNamespace(label_set=label_set),)


@pytest.mark.parametrize(
    ("abstain", "warned"), [(None, False), (Abstain(threshold=0.5), False), (Abstain(coverage=0.5), True)]
)
def test_it_says_what_is_loaded_and_where_it_goes_on(
    caplog: pytest.LogCaptureFixture, abstain: Abstain | None, warned: bool
) -> None:
    """A rule that a stream can't keep is named."""
    with caplog.at_level(logging.INFO, "feedsight"):
        _announce(load_settings(environ={}), {"text": _Loaded(abstain)})  # type: ignore[dict-item]
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert "text worker: a-model, version 3" in said
    assert "/metrics and /health at http://127.0.0.1:6066" in said
    assert ("abstain.coverage" in said) == warned


def test_an_unknown_log_level_is_a_usage_error() -> None:
    """Not a traceback."""
    result = CliRunner().invoke(create_app(), ["worker", "text", "--log-level", "loud"])
    assert result.exit_code == 2
    assert "loud" in result.stderr
