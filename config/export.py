"""Writes config/default.yaml from the field defaults and their documentation.

`python -m config.export` writes it anew; a test fails when it is not current.
"""

import inspect
import re
import textwrap
from pathlib import Path
from typing import Final

import yaml
from pydantic import BaseModel

from config.settings import Settings, load_settings

DEFAULT_YAML: Final = Path(__file__).with_name("default.yaml")

WIDTH: Final = 110
"""Columns, as the code has."""

HEAD: Final = """\
# All settings with their defaults. Written by `python -m config.export`: copy what you change into a file
# of your own and give it as `--config FILE` or in FEEDSIGHT_CONFIG.
#
# Order: command line > environment (FEEDSIGHT_SECTION__KEY, as FEEDSIGHT_KAFKA__BOOTSTRAP) > file > defaults.
# A misspelt key, an unknown section or a missing file stops a command with status 2 and one line.
"""


def default_yaml() -> str:
    """Give all defaults as commented YAML."""
    values = load_settings(environ={}).model_dump(mode="json")
    parts = [HEAD]
    for section, field in Settings.model_fields.items():
        model = field.annotation
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise TypeError(f"settings section {section} is no model")
        parts.append(_section(section, model, values[section]))
    return "\n".join(parts)


def _section(name: str, model: type[BaseModel], values: dict[str, object]) -> str:
    notes = documented_attributes(model)
    lines = [f"# {_summary(model)}", f"{name}:"]
    for key, value in values.items():
        lines += textwrap.wrap(notes.get(key, ""), WIDTH, initial_indent="  # ", subsequent_indent="  # ")
        written = yaml.safe_dump({key: value}, default_flow_style=False, width=WIDTH).rstrip()
        lines.append(textwrap.indent(written, "  "))
    return "\n".join(lines) + "\n"


def _summary(model: type[BaseModel]) -> str:
    return (inspect.getdoc(model) or "").partition("\n")[0]


def documented_attributes(model: type[BaseModel]) -> dict[str, str]:
    """Read the `Attributes:` of a section's docstring: key → what it says."""
    _, _, listed = (inspect.getdoc(model) or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    for item in re.split(r"\n(?=    \w)", "\n" + listed):
        key, colon, note = item.strip().partition(":")
        if colon:
            found[key] = " ".join(note.split())
    return found


if __name__ == "__main__":
    DEFAULT_YAML.write_text(default_yaml(), encoding="utf-8")
