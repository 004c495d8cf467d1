"""Campaigns: many label sets in one worker, changed while it runs."""

import pytest

from config import TextSettings
from schemas import Filters, Label, LabelSet, Post, Review, TextResult
from workers.base import Change, Controllable
from workers.text.encoders import Encoders
from workers.text.filters import PostFilter
from workers.text.worker import TextWorker

SPORTS = Label(name="sports", description="Sports, matches, teams and players")
BUSINESS = Label(name="business", description="Companies, markets, profits and the economy")
WEATHER = Label(name="weather", description="Rain, sun, wind and storms")

POSTS = (
    Post(id="1", text="The striker scored twice and the team won the cup", source="wire", lang="en-GB"),
    Post(id="2", text="Heavy rain and strong wind tonight", source="social", lang="de"),
)


def label_set(name: str = "topics", version: int = 1, *labels: Label, **more) -> LabelSet:
    return LabelSet(name=name, version=version, labels=labels or (SPORTS, BUSINESS, WEATHER), **more)


def change(content: LabelSet | bytes | None, key: str | None = None, at_ms: int = 5) -> Change:
    value = content.to_json() if isinstance(content, LabelSet) else content
    return Change(key or (content.name if isinstance(content, LabelSet) else "topics"), value, (), at_ms)


@pytest.fixture(scope="module")
def encoders() -> Encoders:
    made = Encoders("sentence", threads=1)
    made.load()
    return made


@pytest.fixture
def worker(encoders, monkeypatch) -> TextWorker:
    monkeypatch.setattr("workers.text.worker.Encoders", lambda *_args, **_more: encoders)
    made = TextWorker(TextSettings(threads=1), None, taken=("feedsight.posts",))
    made.load()
    return made


def results(worker: TextWorker, posts=POSTS) -> list[tuple[TextResult, ...]]:
    found = worker.run(worker.prepare(posts))
    return [(one,) if isinstance(one, TextResult) else one for one in found]


def test_a_worker_without_a_label_set_is_not_ready_until_one_is_applied(worker):
    assert isinstance(worker, Controllable)
    assert not worker.ready
    assert worker.in_force == {}

    (applied,) = worker.apply_changes([change(label_set(), at_ms=7)])

    assert (applied.name, applied.version, applied.refused, applied.published_ms) == ("topics", "1", None, 7)
    assert worker.ready
    assert worker.in_force == {"topics": "1"}
    assert [one[0].label for one in results(worker)] == ["sports", "weather"]


def test_a_new_version_is_in_force_from_the_next_batch_on(worker):
    worker.apply_changes([change(label_set())])
    prepared = worker.prepare(POSTS)
    worker.apply_changes([change(label_set("topics", 2, SPORTS, BUSINESS))])

    found = worker.run(prepared)

    assert {one.version for one in found} == {"2"}
    assert {candidate.label for candidate in found[1].candidates} == {"sports", "business"}


def test_each_campaign_labels_the_posts_that_it_is_for(worker):
    worker.apply_changes(
        [
            change(label_set("all")),
            change(label_set("wire", 3, filters=Filters(sources=("wire",)))),
            change(label_set("storms", 1, filters=Filters(words=("strong wind",)))),
        ]
    )
    first, second = results(worker)

    assert [(one.label_set, one.version) for one in first] == [("all", "1"), ("wire", "3")]
    assert [(one.label_set, one.version) for one in second] == [("all", "1"), ("storms", "1")]


def test_a_post_that_no_campaign_is_for_has_no_result(worker):
    worker.apply_changes([change(label_set("wire", 1, filters=Filters(sources=("wire",))))])

    assert [len(one) for one in results(worker)] == [1, 0]


def test_a_post_is_embedded_once_however_many_campaigns_there_are(worker, monkeypatch):
    worker.apply_changes([change(label_set(f"set{n}")) for n in range(5)])
    encoder = worker._encoders.sentence
    counts = []
    encode = encoder.encode_tokens_wide
    monkeypatch.setattr(encoder, "encode_tokens_wide", lambda ids: counts.append(len(ids)) or encode(ids))

    found = results(worker)

    assert counts == [2]
    assert [len(one) for one in found] == [5, 5]


def test_a_label_set_is_labelled_as_if_it_were_alone(worker):
    worker.apply_changes([change(label_set())])
    alone = [one[0].candidates for one in results(worker)]
    worker.apply_changes([change(label_set("other", 1, SPORTS, WEATHER))])

    assert [one[1].candidates for one in results(worker)] == alone


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "not JSON"),
        (b'{"name": "topics", "labels": []}', "labels"),
        (b'{"name": "other", "labels": ["a", "b"]}', "the key is not its name"),
        (b'{"name": "topics", "labels": ["a"], "labels": ["b"]}', "stands twice"),
        (b'{"name": "topics", "labels": ["a"], "model": "some-other-model"}', "some-other-model"),
        (b'{"name": "topics", "labels": ["a"], "route": "feedsight.posts"}', "own topics"),
        (b'{"name": "topics", "labels": ["a"], "filters": {"pattern": "(a+)+$"}}', "no such field"),
        (b"[" * 100_000, "nested too deep"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"name": "topics", "version": 1, "labels": ["another"]}', "another label set already"),
    ],
)
def test_what_can_not_be_used_stays_out_and_the_former_stays_in_force(worker, content, said):
    worker.apply_changes([change(label_set())])

    (applied,) = worker.apply_changes([change(content)])

    assert applied.refused is not None
    assert said in applied.refused
    assert worker.in_force == {"topics": "1"}
    assert [one[0].label for one in results(worker)] == ["sports", "weather"]


def test_the_same_again_is_in_force_and_nothing_is_fitted(worker):
    worker.apply_changes([change(label_set())])
    before = worker.campaigns

    (applied,) = worker.apply_changes([change(label_set())])

    assert applied.refused is None
    assert worker.campaigns[0] is before[0]


def test_archived_versions_are_passed_over(worker):
    assert worker.apply_changes([change(label_set(), key="topics@1")]) == []
    assert not worker.ready


def test_when_the_last_is_removed_what_is_in_flight_still_gets_its_results(worker):
    worker.apply_changes([change(label_set())])
    prepared = worker.prepare(POSTS)

    (applied,) = worker.apply_changes([change(None)])

    assert applied.removed
    assert not worker.ready
    assert worker.in_force == {}
    assert [one.label for one in worker.run(prepared)] == ["sports", "weather"]


def test_routes_are_those_of_what_is_in_force(worker):
    worker.apply_changes([change(label_set("a", route="alerts")), change(label_set("b"))])

    assert worker.routes == {"a": "alerts"}


@pytest.mark.parametrize(
    ("filters", "taken"),
    [
        (Filters(), [True, True]),
        (Filters(sources=("wire",)), [True, False]),
        (Filters(languages=("en",)), [True, False]),
        (Filters(languages=("de", "en-GB")), [True, True]),
        (Filters(words=("CUP",)), [True, False]),
        (Filters(words=("cu",)), [False, False]),
        (Filters(words=("won the cup", "rain")), [True, True]),
        (Filters(without=("rain",)), [True, False]),
        (Filters(words=("🔥",)), [False, False]),
    ],
)
def test_a_filter_takes_the_posts_for_which_all_that_it_says_holds(filters, taken):
    made = PostFilter(filters)

    assert [made.takes(post) for post in POSTS] == taken


def test_a_fact_that_a_post_lacks_fails():
    assert not PostFilter(Filters(sources=("wire",))).takes(Post(id="1", text="x"))
    assert not PostFilter(Filters(languages=("en",))).takes(Post(id="1", text="x"))


def test_signs_and_emoji_are_words():
    assert PostFilter(Filters(words=("🔥",))).takes(Post(id="1", text="so hot🔥🔥"))


def test_posts_to_look_at_are_picked_for_a_stream_and_never_on_the_command_line(encoders, monkeypatch):
    monkeypatch.setattr("workers.text.worker.Encoders", lambda *_args, **_more: encoders)
    posts = [Post(id=str(n), text=f"{POSTS[n % 2].text} {n}") for n in range(60)]
    picked = []
    for live in (True, False):
        made = TextWorker(TextSettings(threads=1), None, live=live)
        made.load()
        made.apply_changes([change(label_set(review=Review(random=1, uncertain=0.1, novel=0.1)))])
        picked.append([one[0].review for one in results(made, posts)])

    assert all(why is not None and why[0] == "random" for why in picked[0])
    assert "uncertain" in {reason for why in picked[0] for reason in why}
    assert set(picked[1]) == {None}
