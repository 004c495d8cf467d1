"""What a newcomer meets first: the list of commands, and a help with an example for each."""

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from cli.main import create_app


def _commands() -> list[list[str]]:
    """The words of every command."""
    found = []
    for name, command in get_command(create_app()).commands.items():  # type: ignore[attr-defined]
        below = getattr(command, "commands", None)
        found += [[name, inner] for inner in below] if below else [[name]]
    return found


@pytest.mark.parametrize("words", _commands(), ids=" ".join)
def test_the_help_of_a_command_has_an_example(words: list[str]) -> None:
    """It names the command as one would type it."""
    shown = CliRunner().invoke(create_app(), [*words, "--help"])
    assert shown.exit_code == 0
    example = shown.stdout.partition("Example")[2]
    assert f"feedsight {' '.join(words)}" in " ".join(example.split())


def test_the_list_of_commands_says_what_each_is_for() -> None:
    """No command stands there without a line."""
    shown = CliRunner().invoke(create_app(), ["--help"]).stdout
    for name in ("demo", "worker", "label", "match", "eval", "vectors", "bench", "doctor"):
        (line,) = (line for line in shown.splitlines() if line.startswith(f"│ {name} "))
        assert len(line.split()) > 4


def test_the_version_can_be_asked_for() -> None:
    """`feedsight --version` needs no command."""
    asked = CliRunner().invoke(create_app(), ["--version"])
    assert (asked.exit_code, asked.stdout.split()[0]) == (0, "feedsight")
