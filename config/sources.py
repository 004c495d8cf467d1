"""Where settings come from: the environment and a YAML file, read strictly."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource


class SettingsError(Exception):
    """The settings are wrong; the message is one line that says where."""


class EnvironmentSource(EnvSettingsSource):
    """Values of a given environment; a list may be written as JSON or with commas.

    A variable set to nothing is passed over, so that a compose file may hand on what is unset.
    """

    def __init__(self, settings_cls: type[BaseSettings], environ: Mapping[str, str]) -> None:
        super().__init__(settings_cls)
        self.env_vars = {name.lower(): value for name, value in environ.items() if value}

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Read JSON; a text that is none is taken as a list with commas, and the field judges it."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except json.JSONDecodeError:
            return [part.strip() for part in str(value).split(",") if part.strip()]


class FileSource(PydanticBaseSettingsSource):
    """Values read from the YAML file, as a source of pydantic-settings."""

    def __init__(self, settings_cls: type[BaseSettings], values: dict[str, Any]) -> None:
        super().__init__(settings_cls)
        self._values = values

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """Give one field's value; part of the base class's contract."""
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Give all values."""
        return self._values


class _UniqueKeyLoader(yaml.SafeLoader):
    """Refuses a key that stands twice: YAML would let the last one win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping from a node."""
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"{key!r} stands twice in one place (line {node.start_mark.line + 1})")
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a settings file; an empty section means its defaults.

    Raises:
        SettingsError: it is missing, unreadable, not YAML or not made of sections.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeyLoader)  # noqa: S506 (a SafeLoader)
    except FileNotFoundError as error:
        raise SettingsError(f"settings file {path} does not exist") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {path} can't be read: {error}") from error
    except RecursionError as error:
        raise SettingsError(f"settings file {path} is nested too deep") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"settings file {path} is not YAML: {' '.join(str(error).split())}") from error
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise SettingsError(f"settings file {path} must hold sections, such as `kafka:`")
    return {section: {} if value is None else value for section, value in values.items()}
