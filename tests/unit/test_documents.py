"""README, CONTRIBUTING and the runbook name commands, files and topics that exist."""

import ast
import re
import shlex
from pathlib import Path

import pytest
import typer

from cli.main import create_app
from stream.topics import TopicNames
from workers.errors import REASONS

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/runbook.md",
    "docs/text.md",
    "examples/README.md",
)
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(text: str) -> set[str]:
    """Every `feedsight …` command in fenced blocks and in backticks that has an option or a file."""
    found = set()
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        found |= set(re.findall(r"^feedsight [^#>|\n]+", block, re.MULTILINE))
    found |= {command for command in re.findall(r"`(feedsight [^`]+)`", text) if " " in command}
    return {command.replace("\n", " ").replace("$KAFKA", "localhost:9092").strip() for command in found}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_and_their_options_exist(document):
    app = typer.main.get_command(create_app())
    for command in commands((ROOT / document).read_text(encoding="utf-8")):
        chosen, arguments = app, shlex.split(command)[1:]
        while hasattr(chosen, "commands"):
            assert arguments[0] in chosen.commands, command
            chosen, arguments = chosen.commands[arguments[0]], arguments[1:]
        if "--help" not in arguments:
            chosen.make_context(chosen.name, arguments)  # parses; runs nothing


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if not target.startswith("http"):
            assert ((ROOT / document).parent / target).exists(), target


def test_the_reasons_and_topics_exist():
    reasons = set(re.findall(r"^\| [^|]+ \| `(\w+)`", README, re.MULTILINE)) - {"reason"}
    assert "not_json" in reasons
    assert reasons <= REASONS
    assert set(re.findall(r"feedsight\.[a-z-]+(?=`)", README)) <= set(TopicNames().all())


def test_the_subscriber_is_five_lines_of_python():
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    assert len(code.strip().splitlines()) == 5
    ast.parse(code)


def test_the_paths_of_the_map_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for path in re.findall(r"`((?:workers|stream|schemas|config|cli|tests|deploy|docs)/[\w/.]+)`", text):
        assert (ROOT / path).exists(), path
