"""Options that several commands take, and how they end on wrong settings."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from config import Settings
    from workers.errors import PipelineError

KafkaOption = Annotated[
    str | None,
    typer.Option("--kafka", metavar="HOST:PORT", help="Kafka's address; left out, the settings name it."),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="A settings file (YAML).", show_default=False)
]


def read_settings(
    config: Path | None, overrides: Mapping[str, Mapping[str, Any]] | None = None
) -> "Settings":
    """Load the settings; wrong ones end the command with one line on stderr and status 2."""
    from config import SettingsError, load_settings

    try:
        return load_settings(config, overrides)
    except SettingsError as error:
        typer.echo(f"feedsight: {error}", err=True)
        raise typer.Exit(2) from error


def fail(message: str, status: int = 1) -> typer.Exit:
    """Say what went wrong in one line on stderr; to be raised."""
    typer.echo(f"feedsight: {message}", err=True)
    return typer.Exit(status)


def status_of(error: "PipelineError") -> int:
    """The exit status that an error calls for: 2 where the settings are wrong, 1 where it may work later."""
    return 2 if error.reason == "configuration" else 1


def hush_client_logs() -> None:
    """Keep aiokafka's own log lines off the terminal of a command that reports errors itself."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
