"""config/default.yaml holds every setting with its default."""

import yaml

from config import Settings, load_settings
from config.export import DEFAULT_YAML, default_yaml, documented_attributes


def test_default_yaml_is_current():
    assert DEFAULT_YAML.read_text(encoding="utf-8") == default_yaml(), (
        "config/default.yaml is out of date: run `python -m config.export`"
    )


def test_default_yaml_sets_nothing_but_the_defaults():
    assert load_settings(DEFAULT_YAML, environ={}).model_dump() == load_settings(environ={}).model_dump()


def test_default_yaml_names_every_setting():
    values = yaml.safe_load(DEFAULT_YAML.read_text(encoding="utf-8"))
    for section, field in Settings.model_fields.items():
        assert set(values[section]) == set(field.annotation.model_fields)


def test_documented_settings_exist():
    for field in Settings.model_fields.values():
        unknown = set(documented_attributes(field.annotation)) - set(field.annotation.model_fields)
        assert not unknown, f"{field.annotation.__name__} documents {unknown}, which it does not have"
