"""All settings: command line > environment (`FEEDSIGHT_SECTION__KEY`) > YAML > defaults.

pydantic-settings passes over a missing YAML file and a misspelt environment section without a word; both
are errors here.
"""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, cast

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from config.image import ImageSettings
from config.kafka import KafkaSettings, LaneSettings, MetricsSettings, TopicSettings
from config.learn import LearnSettings
from config.sources import EnvironmentSource, FileSource, SettingsError, read_yaml
from config.text import TextSettings
from config.watch import BurstSettings, DriftSettings

PREFIX: Final = "FEEDSIGHT_"
OTHER_VARIABLES: Final = frozenset({"FEEDSIGHT_KAFKA_HOME", "FEEDSIGHT_CONFIG", "FEEDSIGHT_CACHE"})
"""Variables with the prefix that are not settings: the tests' Kafka, the settings file, the model cache."""


class Settings(BaseSettings):
    """The whole configuration, read once at the edge; sections are passed down."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid", validate_default=True
    )

    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    topics: TopicSettings = Field(default_factory=TopicSettings)
    lane: LaneSettings = Field(default_factory=LaneSettings)
    text: TextSettings = Field(default_factory=TextSettings)
    image: ImageSettings = Field(default_factory=ImageSettings)
    drift: DriftSettings = Field(default_factory=DriftSettings)
    bursts: BurstSettings = Field(default_factory=BurstSettings)
    learn: LearnSettings = Field(default_factory=LearnSettings)
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)

    _file_values: ClassVar[dict[str, Any]] = {}
    _environ: ClassVar[Mapping[str, str]] = os.environ

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources; the YAML file's values come in below the environment."""
        return (
            init_settings,
            EnvironmentSource(settings_cls, cls._environ),
            FileSource(settings_cls, cls._file_values),
        )


def load_settings(
    path: Path | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Read and check all settings.

    Args:
        path: a YAML file; the variable FEEDSIGHT_CONFIG names one where this is left out.
        overrides: from the command line: section → key → value. None values are passed over.
        environ: the environment; misspelt names are errors.

    Raises:
        SettingsError: a file is missing or not YAML, or a key or value is wrong.
    """
    if path is None and environ.get("FEEDSIGHT_CONFIG"):
        path = Path(environ["FEEDSIGHT_CONFIG"])
    _check_environment(environ)
    chosen: dict[str, dict[str, Any]] = {}
    for section, values in (overrides or {}).items():
        kept = {key: value for key, value in values.items() if value is not None}
        if kept:
            chosen[section] = kept

    class Loaded(Settings):
        _file_values = read_yaml(path) if path else {}
        _environ = environ

    try:
        return Loaded(**cast("dict[str, Any]", chosen))
    except ValidationError as error:
        raise SettingsError(_one_line(error, path)) from error


def _check_environment(environ: Mapping[str, str]) -> None:
    """Refuse variables with our prefix that set nothing: a misspelt name must not pass in silence."""
    for name in environ:
        if not name.upper().startswith(PREFIX) or name.upper() in OTHER_VARIABLES:
            continue
        section, _, key = name[len(PREFIX) :].lower().partition("__")
        field = Settings.model_fields.get(section)
        if field is None:
            known = ", ".join(sorted(Settings.model_fields))
            raise SettingsError(f"environment variable {name}: no section {section!r} (there are: {known})")
        section_type = field.annotation
        known_keys = getattr(section_type, "model_fields", {})
        if key and key not in known_keys:
            raise SettingsError(
                f"environment variable {name}: no setting {key!r} in {section!r}{_nearest(key, known_keys)}"
            )


def _nearest(key: str, known: Any) -> str:
    close = difflib.get_close_matches(key, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _one_line(error: ValidationError, path: Path | None) -> str:
    problems = error.errors()
    first = problems[0]
    where = ".".join(str(part) for part in first["loc"]) or "settings"
    if first["type"] == "extra_forbidden":
        parts = [str(part) for part in first["loc"]]
        known: Any = Settings.model_fields
        if len(parts) > 1 and parts[0] in known:
            known = getattr(known[parts[0]].annotation, "model_fields", {})
        what = f"no such setting{_nearest(parts[-1], known)}"
    elif first["type"] in ("model_type", "dict_type"):
        what = "must hold settings, `key: value`"
    else:
        what = first["msg"].removeprefix("Value error, ")
    more = f"; {len(problems) - 1} more wrong" if len(problems) > 1 else ""
    source = f" (settings file {path})" if path else ""
    return f"{where}: {what}{more}{source}"
