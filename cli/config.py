"""`feedsight config`: what the settings are, and whether they are right."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import ConfigOption, read_settings

if TYPE_CHECKING:
    from config import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    config = typer.Typer(help="Show and check the settings.", no_args_is_help=True)

    @config.command()
    def show(
        file: ConfigOption = None,
        as_json: Annotated[bool, typer.Option("--json", help="JSON in place of YAML.")] = False,
    ) -> None:
        """Print the settings in force, from environment, file and defaults; secrets are masked.

        Example: FEEDSIGHT_KAFKA__BOOTSTRAP=kafka:9092 feedsight config show --config feedsight.yaml
        """
        _show(read_settings(file), as_json=as_json)

    @config.command()
    def check(file: ConfigOption = None) -> None:
        """Check the settings; exit status 2 and one line where something is wrong.

        Example: feedsight config check --config feedsight.yaml
        """
        read_settings(file)
        typer.echo("the settings are right")

    @config.command()
    def schema() -> None:
        """Print the JSON Schema of a settings file, for an editor.

        Example: feedsight config schema > feedsight.schema.json
        """
        from config import Settings

        typer.echo(json.dumps(Settings.model_json_schema(), indent=2))

    app.add_typer(config, name="config")


def _show(settings: "Settings", *, as_json: bool) -> None:
    import yaml

    values = settings.model_dump(mode="json")  # pydantic writes a SecretStr as asterisks
    if as_json:
        typer.echo(json.dumps(values, indent=2, ensure_ascii=False))
    else:
        typer.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), nl=False)
