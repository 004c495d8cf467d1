"""The watch tells of bursts and drift, counts them, and never stops what it watches."""

from types import SimpleNamespace

import numpy as np

from config import BurstSettings, DriftSettings, load_settings
from schemas import Candidate, Post, TextResult
from stream.metrics import Exposition, LaneMetrics
from stream.records import Item
from stream.watch import LOOK_AT, StreamWatch, Watched
from workers.errors import MessageError
from workers.text.campaign_watch import CampaignWatch
from workers.text.lane import Prediction

STORY = "The river has burst its banks at Mill Lane and the school is being evacuated"
KNOWN = np.eye(2, 8, dtype=np.float32)


class Campaigns:
    """A worker with one campaign."""

    def __init__(self) -> None:
        self.campaigns = [SimpleNamespace(name="news", version="3", watch=None)]

    def watch_drift(self, settings: DriftSettings) -> None:
        ticks = iter(range(1_000_000))
        for campaign in self.campaigns:
            campaign.watch = CampaignWatch("ab", KNOWN, settings, lambda: float(next(ticks)))

    def see(self, share: float, batches: int) -> None:
        random = np.random.default_rng(batches)
        for _ in range(batches):
            labels = (random.random(100) > share).astype(int)
            probabilities = np.where(np.eye(2, dtype=bool)[labels], 0.9, 0.1).astype(np.float32)
            self.campaigns[0].watch.see(Prediction(probabilities, KNOWN[labels], {}), np.ones(100, bool))


def watched(*, enabled: bool = True):
    settings = load_settings(environ={}).model_copy(
        update={
            "drift": DriftSettings(block_s=0, enabled=enabled),
            "bursts": BurstSettings(min_posts=5, enabled=enabled),
        }
    )
    worker, exposition, told = Campaigns(), Exposition(), []
    assert isinstance(worker, Watched)
    watch = StreamWatch(settings, "text", worker, exposition, lambda **facts: told.append(facts))
    return watch, worker, exposition, told


def item(number: int, text: str, outcome="result") -> Item:
    record = SimpleNamespace(timestamp=1_000_000 + 1_000 * number)
    if outcome == "result":
        outcome = TextResult(
            id=f"p{number}",
            label="a",
            candidates=(Candidate(label="a", probability=0.9),),
            model="m",
            label_set="news",
            version="3",
        )
    return Item(record, Post(id=f"p{number}", text=text), outcome=outcome)


def see(watch: StreamWatch, answers: list[Item]) -> None:
    watch.committed(answers)
    watch.look()


def test_many_answers_are_looked_at_at_once_and_few_wait_for_the_next_look():
    watch, _, _, told = watched()
    watch.committed([item(number, STORY) for number in range(LOOK_AT - 1)])
    assert told == []
    watch.committed([item(LOOK_AT, STORY)])
    assert [facts["facts"]["posts"] for facts in told] == [LOOK_AT]
    watch.look()  # nothing is looked at twice
    assert len(told) == 1


def test_a_burst_is_told_and_counted_once():
    watch, _, exposition, told = watched()
    see(watch, [item(number, STORY) for number in range(7)])
    see(watch, [item(number, f"{STORY} {number}") for number in range(7, 9)])
    assert [facts["kind"] for facts in told] == ["burst"]
    assert told[0]["detail"].startswith("one story: 7 posts in 6 s")
    assert told[0]["facts"]["label"] == "a"
    assert exposition.registry.get_sample_value("feedsight_bursts_total", {"lane": "text"}) == 1


def test_posts_without_a_result_are_stories_too_and_what_is_no_post_is_none():
    watch, _, _, told = watched()
    bad = Item(SimpleNamespace(timestamp=0), MessageError("x"), outcome=MessageError("x"))
    outcomes = [MessageError("x"), (), "result", ("result",)]
    see(watch, [item(number, STORY, outcome) for number, outcome in enumerate(outcomes[:3])] + [bad])
    one = item(9, STORY)
    one.outcome = (one.outcome,)
    see(watch, [one, item(10, STORY)])
    assert [facts["facts"]["posts"] for facts in told] == [5]


def test_a_drift_is_told_with_its_campaign_and_counted_by_signal():
    watch, worker, exposition, told = watched()
    worker.see(0.5, 40)
    see(watch, [item(0, "quiet")])
    assert told == []
    worker.see(0.95, 10)
    see(watch, [item(1, "loud")])
    assert [(facts["kind"], facts["name"], facts["version"]) for facts in told] == [("drift", "news", "3")]
    labels = {"lane": "text", "name": "news", "signal": "shares"}
    assert exposition.registry.get_sample_value("feedsight_drifts_total", labels) == 1


def test_a_watch_that_fails_is_given_up_and_the_lane_goes_on(caplog):
    watch, _, _, told = watched()
    watch._finder.observe = None
    see(watch, [item(0, STORY)])
    see(watch, [item(1, STORY)])
    assert told == []
    assert caplog.text.count("not watched for bursts and drift any more") == 1


def test_snapshots_and_gauges_say_where_a_campaign_stands_and_forget_what_is_gone():
    watch, worker, exposition, _ = watched()
    metrics = LaneMetrics("text", "w", exposition)
    worker.see(0.5, 40)
    worker.see(0.9, 10)

    def snapshot(in_force):
        return metrics.snapshot(
            in_flight=0,
            queue_bytes=0,
            lag=0,
            paused=False,
            model="m",
            version="3",
            in_force=in_force,
            readings=watch.readings(),
        )

    campaign = snapshot({"news": "3"}).campaigns["news"]
    assert campaign.drift["shares"] > 0.05
    assert campaign.novelty == 0.0
    labels = {"lane": "text", "name": "news", "signal": "shares"}
    assert exposition.registry.get_sample_value("feedsight_drift", labels) == campaign.drift["shares"]
    snapshot({})
    assert exposition.registry.get_sample_value("feedsight_drift", labels) is None


def test_both_can_be_turned_off():
    watch, worker, _, told = watched(enabled=False)
    watch.committed([item(number, STORY) for number in range(50)])
    assert told == []
    assert worker.campaigns[0].watch is None
    assert watch.readings() == {}
