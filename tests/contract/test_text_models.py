"""Every text model keeps one contract."""

from pathlib import Path

import numpy as np
import pytest

from config import TextSettings
from schemas import Label, LabelSet, Post, TextResult
from workers.errors import MessageError
from workers.text.instant import InstantModel
from workers.text.worker import TextWorker

MODELS = ("sentence", "static", "cascade")

SPORTS = Label(name="sports", description="Sports, matches, teams and players")
BUSINESS = Label(name="business", description="Companies, markets, profits and the economy")
WEATHER = Label(name="weather_report", description="Rain, sun, wind and storms")

STREAM = tuple(
    f"{who} {what} {when}"
    for who in (
        "The striker",
        "The bank",
        "A storm",
        "The coach",
        "The company",
        "The river",
        "Our goalkeeper",
    )
    for what in (
        "reported a loss",
        "won the match",
        "brings heavy rain",
        "fell sharply",
        "beat the champions",
    )
    for when in ("today", "on Monday", "last night", "after the break", "again", "in the north", "they say")
)
POSTS = (
    Post(id="1", text="The striker scored twice and the team won the cup"),
    Post(id="2", text="Profits of the bank fell and its shares lost a tenth"),
    Post(id="3", text="Heavy rain and strong wind tonight"),
)
ODD = (
    "🎉🎉🎉",
    "?!",
    "x",
    "a" * 20_000,
    "word " * 20_000,
    "今日はとても暑いです",
    "كرة القدم مباراة",
    "\x00\x01 control",
    "e\u0301" * 50,
)


def worker(model: str, *labels: Label, unlabelled: tuple[str, ...] = (), **more: object) -> TextWorker:
    label_set = LabelSet(name="s", version=1, labels=labels or (SPORTS, BUSINESS, WEATHER), **more)
    made = TextWorker(TextSettings(model=model, threads=1), label_set, (), unlabelled)
    made.load()
    return made


def run(made: TextWorker, posts: tuple[Post, ...]) -> list[TextResult]:
    results = made.run(made.prepare(posts))
    assert all(isinstance(result, TextResult) for result in results)
    return list(results)


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def loaded(model: str) -> TextWorker:
    return worker(model)


def test_results_come_one_for_one_in_order(loaded):
    results = run(loaded, POSTS)

    assert [r.id for r in results] == ["1", "2", "3"]
    assert [r.label for r in results] == ["sports", "business", "weather_report"]


def test_results_are_what_the_schema_says(loaded):
    for result in run(loaded, POSTS):
        assert TextResult.model_validate_json(result.to_json()) == result
        probabilities = [c.probability for c in result.candidates]
        assert {c.label for c in result.candidates} == {"sports", "business", "weather_report"}
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1, abs=1e-4)
        assert result.margin == pytest.approx(probabilities[0] - probabilities[1], abs=1e-4)
        assert (result.model, result.version) == (loaded.model, loaded.version)


def test_an_empty_batch_gives_nothing(loaded):
    assert loaded.run(loaded.prepare([])) == []


def test_errors_pass_through_and_neighbours_get_their_results(loaded):
    error = MessageError("bad")
    first, second = loaded.prepare(POSTS[:2])
    results = loaded.run([first, error, second])

    assert results[1] is error
    assert [results[0].id, results[2].id] == ["1", "2"]


def test_a_post_has_the_same_result_alone_and_in_company(model, loaded):
    alone = [run(loaded, (post,))[0] for post in POSTS]
    fresh = worker(model)
    together = run(fresh, (*POSTS, *(Post(id=f"s{i}", text=text) for i, text in enumerate(STREAM))))

    for one, other in zip(alone, together[:3], strict=True):
        assert one.label == other.label
        for left, right in zip(one.candidates, other.candidates, strict=True):
            assert left.probability == pytest.approx(right.probability, abs=1e-4)


def test_odd_texts_get_a_label_and_finite_probabilities(loaded):
    for result in run(loaded, tuple(Post(id=str(i), text=text) for i, text in enumerate(ODD))):
        assert result.label is not None
        assert np.isfinite([c.probability for c in result.candidates]).all()


def test_copies_share_an_answer_and_are_flagged(model):
    made = worker(model)
    text = "The striker scored twice and the team won the cup"
    first, again, loud, other = run(
        made,
        (
            Post(id="a", text=text),
            Post(id="b", text=f"RT @fan: {text} http://t.co/x"),
            Post(id="c", text=text.upper() + "!!!"),
            POSTS[1],
        ),
    )

    assert [r.duplicate_of for r in (first, again, loud, other)] == [None, "a", "a", None]
    assert first.candidates == again.candidates == loud.candidates
    later, redelivered = run(made, (Post(id="d", text=text), Post(id="a", text=text)))
    assert (later.duplicate_of, redelivered.duplicate_of) == ("a", None)


def test_the_same_seed_and_sample_give_the_same_results(model):
    first, second = (run(worker(model, unlabelled=STREAM), POSTS) for _ in range(2))

    assert [r.candidates for r in first] == [r.candidates for r in second]


def test_a_sample_changes_the_version(model, loaded):
    assert worker(model, unlabelled=STREAM[:20]).version != loaded.version


def test_one_label_alone_is_a_filter(model):
    yes, no = run(worker(model, SPORTS), (POSTS[0], POSTS[1]))

    assert yes.candidates[0].probability > no.candidates[0].probability
    assert len(yes.candidates) == 1


def test_a_threshold_makes_it_abstain(model):
    sure, unsure = run(
        worker(model, abstain={"threshold": 0.6}), (POSTS[0], Post(id="u", text="hello there my friend"))
    )

    assert sure.label == "sports"
    assert unsure.label is None
    assert len(unsure.candidates) == 3


def test_odd_label_sets_never_crash(model):
    twins = (Label(name="a", description="rain"), Label(name="b", description="rain"))
    bare = (Label(name="_"), Label(name="🙂"))
    lopsided = (Label(name="x", examples=("goal",) * 300), Label(name="y"))
    for labels in (twins, bare, lopsided):
        for sample in ((), STREAM):
            for result in run(worker(model, *labels, unlabelled=sample), POSTS):
                assert np.isfinite([c.probability for c in result.candidates]).all()


def test_the_best_two_labels_of_a_multi_label_set_may_both_hold(model):
    (result,) = run(
        worker(model, multi_label=True, abstain={"threshold": 0.0}),
        (Post(id="m", text="Rain stops the match"),),
    )

    assert set(result.labels) == {"sports", "business", "weather_report"}


def test_the_instant_model_keeps_it_too():
    made = InstantModel()
    made.load()
    results = made.run(made.prepare(POSTS))

    assert [r.id for r in results] == ["1", "2", "3"]
    assert made.cost(POSTS[0]) > 0


def test_the_shipped_label_sets_fit_every_model(model):
    from workers.text.label_set import load_label_set

    folder = Path(__file__).parents[2] / "config" / "labels"
    made = TextWorker(TextSettings(model=model, threads=1), load_label_set(folder / "match_day.yaml"))
    made.load()

    (result,) = run(made, (Post(id="g", text="GOAL! He scores, what a strike, it is in the net!"),))
    assert result.candidates[0].label == "goal"


@pytest.mark.parametrize("rule", [{"coverage": 0.5}, {"precision": 0.9}])
def test_abstaining_follows_the_sample(model, rule):
    made = worker(model, unlabelled=STREAM, abstain=rule)
    labels = [r.label for r in run(made, tuple(Post(id=str(i), text=t) for i, t in enumerate(STREAM)))]

    given = sum(label is not None for label in labels) / len(labels)
    assert given >= (0.45 if "coverage" in rule else 0)


def test_a_post_may_be_about_none_of_the_labels(model):
    made = worker(model, unlabelled=STREAM, none_of_these=True)
    (result,) = run(made, POSTS[:1])

    assert sum(c.probability for c in result.candidates) <= 1 + 1e-4


def test_the_static_lane_is_unsure_of_a_post_in_which_it_can_read_nothing():
    found = run(worker("static"), (Post(id="1", text="🙂🙂🙂"), Post(id="2", text="…!?…")))

    assert all(c.probability == pytest.approx(1 / 3, abs=1e-4) for one in found for c in one.candidates)
    assert {one.margin for one in found} == {0.0}
