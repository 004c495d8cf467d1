"""What a process says before it starts."""

import socket

import pytest

from config import MetricsSettings, load_settings
from stream.process import EXIT_USAGE, port_taken, run_app


def test_a_port_that_another_process_has_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def create() -> None:
        raise AssertionError("nothing is started")

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        settings = load_settings(None, {"metrics": {"host": "127.0.0.1", "port": port}}, {})
        ended = run_app(settings, [], create, exit_limit_s=60)  # type: ignore[arg-type]
    assert ended.status == EXIT_USAGE
    said = capsys.readouterr().err
    assert said.startswith(f"feedsight: no /metrics at 127.0.0.1:{port}: ")
    assert said.count("\n") == 1


def test_no_port_is_wanted_where_metrics_are_off() -> None:
    assert port_taken(MetricsSettings(port=0)) is None
