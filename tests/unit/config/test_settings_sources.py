"""Settings come from the command line, the environment, a file and the defaults, in this order."""

from pathlib import Path

import pytest

from config import SettingsError, load_settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "feedsight.yaml"


def test_the_nearer_source_wins(file):
    file.write_text("kafka: {bootstrap: 'file:1', group: from-file}\ntopics: {prefix: file.}\n")
    environ = {"FEEDSIGHT_KAFKA__BOOTSTRAP": "env:1", "FEEDSIGHT_KAFKA__GROUP": "from-env"}
    settings = load_settings(file, {"kafka": {"bootstrap": "cli:1", "group": None}}, environ)
    assert settings.kafka.bootstrap == "cli:1"
    assert settings.kafka.group == "from-env"
    assert settings.topics.prefix == "file."
    assert settings.lane.retries == load_settings(environ={}).lane.retries


def test_a_variable_names_the_file(file):
    file.write_text("topics: {prefix: other.}\n")
    assert load_settings(environ={"FEEDSIGHT_CONFIG": str(file)}).topics.prefix == "other."


def test_a_list_in_the_environment_takes_commas_or_json():
    for written in ("/a,/b", '["/a", "/b"]'):
        settings = load_settings(environ={"FEEDSIGHT_IMAGE__ALLOWED_FOLDERS": written})
        assert settings.image.allowed_folders == (Path("/a"), Path("/b"))


def test_an_empty_variable_and_an_empty_section_set_nothing(file):
    file.write_text("kafka:\n")
    settings = load_settings(file, environ={"FEEDSIGHT_TEXT__LABELS": ""})
    assert settings.text.labels is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kafka: {bootstrp: x}", "kafka.bootstrp: no such setting (did you mean 'bootstrap'?)"),
        ("kafak: {bootstrap: x}", "kafak: no such setting (did you mean 'kafka'?)"),
        ("kafka: [1]", "kafka: must hold settings"),
        ("lane: {retries: many}", "lane.retries: Input should be a valid integer"),
        ("lane: {retries: -1}\nmetrics: {port: 70000}", "; 1 more wrong"),
        ("- a\n- b", "must hold sections"),
        ("kafka: {group: a}\nkafka: {group: b}", "'kafka' stands twice"),
        ("kafka: {", "is not YAML"),
        ("kafka: {sasl_mechanism: PLAIN}", "use SASL_SSL"),
        ("kafka: {security_protocol: SASL_PLAINTEXT}", "would send passwords in the clear"),
        ("kafka: {security_protocol: SASL_SSL, sasl_mechanism: PLAIN}", "needs sasl_mechanism"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(file, text, message):
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(file, environ={})
    assert message in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("FEEDSIGHT_KFAKA__BOOTSTRAP", "no section 'kfaka'"),
        ("FEEDSIGHT_KAFKA__BOOTSTRP", "(did you mean 'bootstrap'?)"),
        ("FEEDSIGHT_KAFKA", "kafka: must hold settings"),
    ],
)
def test_a_misspelt_variable_is_refused(name, message):
    with pytest.raises(SettingsError) as caught:
        load_settings(environ={name: "x"})
    assert message in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="does not exist"):
        load_settings(tmp_path / "nowhere.yaml", environ={})


def test_plaintext_sasl_is_taken_where_it_is_asked_for():
    settings = load_settings(
        overrides={
            "kafka": {
                "security_protocol": "SASL_PLAINTEXT",
                "sasl_mechanism": "PLAIN",
                "sasl_username": "u",
                "sasl_password": "p",
                "allow_plaintext_sasl": True,
            }
        },
        environ={},
    )
    assert settings.kafka.security_protocol == "SASL_PLAINTEXT"
    assert "'p'" not in repr(settings)
