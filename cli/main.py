"""The `feedsight` command: finds the commands, each in a module of its own with a `register` function."""

from importlib import import_module
from typing import Annotated, Final

import typer

COMMANDS: Final = (
    "demo",
    "worker",
    "label",
    "match",
    "send",
    "tail",
    "feedback",
    "topics",
    "labels",
    "references",
    "replay",
    "vectors",
    "evaluate",
    "evaluate_images",
    "config",
    "doctor",
    "dlq",
    "bench",
)
"""Modules of cli/ in the order of the help. They import what is heavy inside their functions."""


def create_app() -> typer.Typer:
    """Build the command line with all its commands."""
    app = typer.Typer(
        name="feedsight",
        help="Label posts and match images on Kafka, exactly once, on a plain CPU.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )

    @app.callback()
    def _root(
        version: Annotated[
            bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_say_version)
        ] = False,
    ) -> None:
        """Label posts and match images on Kafka, exactly once, on a plain CPU."""

    for command in COMMANDS:
        import_module(f"cli.{command}").register(app)
    return app


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"feedsight {version('feedsight')}")
        raise typer.Exit


def main() -> None:
    """Run the command line; the exit status is 0 all done, 1 some inputs failed, 2 usage or configuration."""
    create_app()()
