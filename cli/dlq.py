"""`feedsight dlq`: what could not be answered, and why."""

from typing import Annotated

import typer

from cli.options import ConfigOption, KafkaOption, hush_client_logs, read_settings
from cli.tail import show_channel


def register(app: typer.Typer) -> None:
    """Add the command."""
    dlq = typer.Typer(help="Look at dead letters.", no_args_is_help=True)

    @dlq.callback()
    def _group() -> None:
        """Look at dead letters."""

    @dlq.command("list")
    def list_letters(
        kafka: KafkaOption = None,
        config: ConfigOption = None,
        prefix: Annotated[str | None, typer.Option("--prefix", help="Prefix of the topics.")] = None,
        reason: Annotated[str | None, typer.Option("--reason", help="Only those with this reason.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
        limit: Annotated[int | None, typer.Option("--limit", min=1, help="Stop after so many.")] = None,
    ) -> None:
        """List the dead letters there are: where each was read, why it failed.

        Example: feedsight dlq list --kafka 127.0.0.1:9092 --reason not_json
        """
        hush_client_logs()
        settings = read_settings(config, {"kafka": {"bootstrap": kafka}, "topics": {"prefix": prefix}})
        show_channel(
            settings,
            "dead-letters",
            as_json=as_json,
            from_start=True,
            until_end=True,
            limit=limit,
            reason=reason,
        )

    app.add_typer(dlq, name="dlq")
