"""Label-set files: what is read, and what is refused with its line."""

from pathlib import Path

import pytest

from workers.text.label_set import MAX_FILE_BYTES, LabelSetError, load_label_set

SHIPPED = sorted((Path(__file__).parents[3] / "config" / "labels").glob("*.yaml"))


def written(folder: Path, text: str, name: str = "labels.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_label_set_is_read_and_described(path: Path) -> None:
    label_set = load_label_set(path)

    assert label_set.name == path.stem
    assert all(label.description for label in label_set.labels)


def test_yaml_and_json_give_the_same_labels(tmp_path: Path) -> None:
    from_yaml = load_label_set(written(tmp_path, "name: a\nlabels:\n- name: x\n  phrasings: [p, q]\n- y\n"))
    from_json = load_label_set(
        written(tmp_path, '{"name": "a", "labels": [{"name": "x", "phrasings": ["p", "q"]}, "y"]}', "l.json")
    )

    assert from_yaml == from_json
    assert tuple(label.name for label in from_yaml.labels) == ("x", "y")


def test_a_set_without_a_version_gets_one_from_its_content(tmp_path: Path) -> None:
    first = load_label_set(written(tmp_path, "name: a\nlabels: [x, y]"))
    again = load_label_set(written(tmp_path, "labels:\n  - x\n  - name: y\nname: a"))
    other = load_label_set(written(tmp_path, "name: a\nlabels: [x, z]"))

    assert first.version == again.version
    assert first.version != other.version


def test_words_that_yaml_takes_for_something_else_stay_words(tmp_path: Path) -> None:
    label_set = load_label_set(
        written(tmp_path, "name: 2024\nversion: 2\nlabels: [yes, no, on, 3, 1.5, 2024-01-01]")
    )

    assert [label.name for label in label_set.labels] == ["yes", "no", "on", "3", "1.5", "2024-01-01"]
    assert (label_set.name, label_set.version) == ("2024", 2)


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nname: n\nlabels: *b\n"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (BOMB, 2, "alias"),
        ("name: a\nlabels:\n  - name: x\n    colour: red\n", 4, "no such field"),
        ("name: a\nlabels:\n  - name: x\n  - name: x\n", 4, "stands twice"),
        ("name: a\nname: b\nlabels: [x]\n", 2, "stands twice"),
        ("name: a\nlabels: []\n", 2, "labels: at least one is needed"),
        ("labels: [x]\n", 1, "required"),
        ("name: a\nlabels: [x\n", None, "not YAML"),
        ("name: a\nlabels: [x]\nabstain: {precision: 2}\n", 3, "less than or equal to 1"),
        ("name: a\nlabels: [x]\nabstain: {precision: 0.9, coverage: 0.5}\n", 3, "one of"),
        ("name: a\nlabels: [!!python/object/apply:os.system [ls]]\n", None, ""),
        ("name: a\nmulti_label: !!binary aGk=\nlabels: [x]\n", 2, "tag"),
        ("[" * 40, 1, "nested too deep"),
        ("- x\n- y\n", None, "mapping"),
        ("", None, "mapping"),
        ("\x01", None, "not YAML"),
    ],
)
def test_what_is_wrong_is_refused_with_its_line(
    tmp_path: Path, text: str, line: int | None, words: str
) -> None:
    with pytest.raises(LabelSetError) as caught:
        load_label_set(written(tmp_path, text))

    assert words in caught.value.detail
    assert "\n" not in caught.value.detail
    if line is not None:
        assert line == caught.value.line


@pytest.mark.parametrize(
    "text", ['{"name": "a", "name": "b", "labels": ["x"]}', '{"name": "a"', "[" * 5_000, "NaN", "[]"]
)
def test_bad_json_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(LabelSetError):
        load_label_set(written(tmp_path, text, "labels.json"))


def test_a_missing_an_oversize_and_a_binary_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelSetError, match="does not exist"):
        load_label_set(tmp_path / "none.yaml")
    big = tmp_path / "big.yaml"
    with big.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(LabelSetError, match="at most"):
        load_label_set(big)
    (tmp_path / "binary.yaml").write_bytes(b"name: \xff\n")
    with pytest.raises(LabelSetError, match="not UTF-8"):
        load_label_set(tmp_path / "binary.yaml")
    with pytest.raises(LabelSetError, match="read"):
        load_label_set(tmp_path)


@pytest.mark.parametrize(("written", "version"), [("3", 3), ("1.10", "1.10"), ("'7'", "7"), ("v2", "v2")])
def test_a_version_is_what_is_written(tmp_path, written, version):
    (tmp_path / "l.yaml").write_text(f"name: n\nversion: {written}\nlabels: [a, b]\n", "utf-8")

    assert load_label_set(tmp_path / "l.yaml").version == version
