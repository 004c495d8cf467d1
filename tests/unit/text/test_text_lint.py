"""Label sets that can be read but are doubtful."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import create_app
from schemas import Abstain, Label, LabelSet
from workers.text.label_set import load_label_set
from workers.text.lint import lint

SHIPPED = sorted((Path(__file__).parents[3] / "config" / "labels").glob("*.yaml"))


def said(*labels: Label, **more: object) -> str:
    return "\n".join(f"{w.severity}: {w.message}" for w in lint(LabelSet(name="s", labels=labels, **more)))


A = Label(name="storm", description="Wind, rain and hail")
B = Label(name="match", description="Goals, cards and the final whistle")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_there_is_nothing_to_say_against_the_shipped_sets(path):
    assert lint(load_label_set(path)) == []


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([A, Label(name="Storms", description="x")], "problem: 'storm' and 'Storms' are the same words"),
        ([A, Label(name="gale", description="rain, hail and wind")], "problem: 'storm' and 'gale' are descr"),
        ([A, Label(name="gale", phrasings=("Wind, rain  and hail", "squall"))], "share the phrase"),
        ([A, Label(name="x", examples=("a",)), Label(name="y", examples=("A ",))], "problem: an example of"),
        ([A, Label(name="match")], "advice: 'match' has its name only"),
        ([A, Label(name="match", examples=("goal",))], "advice: 'match' has no description"),
        ([A, B.model_copy(update={"examples": ("goal", "goal")})], "advice: 'match': 1 example stands twice"),
        (
            [A, B.model_copy(update={"examples": tuple(f"goal {i}" for i in range(500))})],
            "advice: 'match' has 500 examples, and 'storm' 0: a handful",
        ),
        (
            [
                A.model_copy(update={"examples": ("Hail breaks windows in the old town",)}),
                B.model_copy(
                    update={"examples": ("RT @a: hail breaks windows, in the old town! http://t.co/x",)}
                ),
            ],
            "problem: an example of 'match' is also one of 'storm'",
        ),
        ([A, Label(name="🔥")], "problem: '🔥' has no word in its name, and nothing else is said of it"),
        ([A, Label(name="гроза", description="ветер и дождь")], "reads English: for 'гроза'"),
        (
            [A, *(Label(name=f"l{i}") for i in range(300))],
            "advice: each of 300 labels has its name only: a description or phrasings would help: 'l0', 'l1'",
        ),
        ([A, B.model_copy(update={"phrasings": ("  ",)})], "problem: 'match': 1 of its texts are blank"),
    ],
)
def test_each_doubt_has_its_word(labels, words):
    assert words in said(*labels)


def test_a_counterexample_is_no_example():
    storm = A.model_copy(update={"examples": ("hail in May",)})

    assert "a counterexample is also an example of 'storm'" in said(
        storm, B, counterexamples=("Hail in May",)
    )


def test_a_model_that_is_named_may_read_what_ours_does_not():
    assert said(A, Label(name="гроза", description="ветер и дождь"), model="multilingual") == ""


def test_in_a_multi_label_set_a_text_may_have_two_labels():
    both = [label.model_copy(update={"examples": ("rain stops play",)}) for label in (A, B)]

    assert "an example of" in said(*both)
    assert said(*both, multi_label=True) == ""


def test_a_precision_without_examples_is_an_estimate():
    assert "estimate" in said(A, B, abstain=Abstain(precision=0.9))


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("name: a\nlabels:\n- {name: x, description: rain}\n- {name: y, description: goals}\n", 0, "nothing"),
        ("name: a\nlabels: [x, y]\n", 0, "advice"),
        ("name: a\nlabels: [storm, storms]\n", 1, "same words"),
        ("name: a\nlabels:\n- name: x\n- name: x\n", 1, "line 4"),
        ("a: &a [1]\nb: *a\n", 1, "line 2: aliases"),
    ],
)
def test_the_command_says_it_and_its_status_tells(tmp_path, text, status, words):
    (tmp_path / "l.yaml").write_text(text)
    done = CliRunner().invoke(create_app(), ["labels", "lint", str(tmp_path / "l.yaml")])

    assert done.exit_code == status
    assert words in done.output


def test_a_missing_file_is_a_wrong_use(tmp_path):
    assert CliRunner().invoke(create_app(), ["labels", "lint", str(tmp_path / "none.yaml")]).exit_code == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("route: feedsight.posts", "line 2: route: feedsight.posts is one of Feedsight's own topics"),
        ("route: feedsight.label-sets", "own topics"),
        ("route: '../x y'", "line 2: route"),
        ("name: news@3", "line 2: name: 'news@3' holds '@'"),
        ("filters: {words: ['(a+)+$'], pattern: '(a+)+$'}", "line 2: filters.pattern: no such field"),
    ],
)
def test_what_would_harm_the_stream_is_a_problem_with_its_line(tmp_path, line, said):
    name = "" if line.startswith("name") else "name: news\n"
    (tmp_path / "l.yaml").write_text(f"labels: [a, b]\n{line}\n{name}", "utf-8")
    done = CliRunner().invoke(create_app(), ["labels", "lint", str(tmp_path / "l.yaml")])
    assert done.exit_code == 1
    assert said in done.output


def test_by_meaning_other_words_for_the_same_are_found(tmp_path):
    text = """
name: feelings
labels:
- {name: joy, examples: [The show was wonderful and we laughed a lot]}
- {name: happiness, examples: [We went home late]}
- {name: anger, examples: [It was a wonderful show and we laughed a lot]}
"""
    (tmp_path / "l.yaml").write_text(text)
    command = ["labels", "lint", str(tmp_path / "l.yaml")]
    plain = CliRunner().invoke(create_app(), command)
    asked = CliRunner().invoke(create_app(), [*command, "--by-meaning"])

    assert (plain.exit_code, "mean nearly" in plain.output) == (0, False)
    assert asked.exit_code == 1
    assert "advice: 'joy' and 'happiness' mean nearly the same" in asked.output.replace(
        f"{tmp_path}/l.yaml: ", ""
    )
    assert "an example of 'joy' says what one of 'anger' says" in asked.output
    assert asked.output.count("mean nearly") == 1
