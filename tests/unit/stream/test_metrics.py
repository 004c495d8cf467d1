"""Metrics: the figures of a snapshot, and the page that Prometheus reads."""

import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from schemas import Candidate, ImageResult, TextResult
from stream.metrics import Exposition, LaneMetrics
from stream.records import Item
from tests.unit.stream.fakes import Record
from workers.errors import MessageError

RULES = Path(__file__).parents[3] / "deploy/prometheus/rules.yml"


class World:
    """A lane's metrics, and the time."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.exposition = Exposition()
        self.metrics = LaneMetrics("text", "host-1", self.exposition, now=lambda: self.now)

    def answered(self, outcome: object, age_s: float = 0.5) -> Item:
        return Item(Record(timestamp=int((self.now - age_s) * 1_000)), None, 1, None, outcome)

    def snapshot(self):
        return self.metrics.snapshot(in_flight=3, queue_bytes=44, lag=5, paused=True, model="m", version="v1")

    def samples(self) -> dict[tuple[str, str], float]:
        """What Prometheus reads: by name and by all labels but the lane."""
        page = generate_latest(self.exposition.registry).decode()
        found = {}
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()) if k != "lane")
                found[sample.name, labels] = sample.value
        return found


@pytest.fixture
def world() -> World:
    return World()


def labelled(label: str | None) -> TextResult:
    candidates = (Candidate(label="storm", probability=1.0),)
    return TextResult(id="p", label=label, candidates=candidates, model="m", label_set="l", version="v1")


def judged(verdict: str) -> ImageResult:
    return ImageResult(
        id="i",
        mode="defect",
        verdict=verdict,
        score=1,
        model="m",
        gallery="g",
        version="v",
        width=1,
        height=2,
    )


def busy(world: World) -> None:
    world.metrics.joined()
    world.metrics.read(5)
    world.metrics.inferred(5, 0.25)
    world.metrics.committed(
        [
            world.answered(labelled("storm"), 0.5),
            world.answered(labelled("storm"), 1.5),
            world.answered(labelled(None), 2.5),
            world.answered(MessageError("no", reason="not_json"), 3.5),
            world.answered(MessageError("no", reason="not_json"), 40.0),
        ]
    )


def test_a_snapshot_tells_what_happened_since_the_last_one(world: World):
    busy(world)
    world.now += 2.0
    found = world.snapshot()
    assert (found.worker, found.lane, found.interval_s) == ("host-1", "text", 2.0)
    assert (found.consumed, found.results, found.abstained) == (5, 3, 1)
    assert found.verdicts == {"storm": 2}
    assert found.dead_letters == {"not_json": 2}
    assert found.throughput_per_s == 1.5
    assert found.latency is not None
    assert found.latency.p50_s == 2.5
    assert found.latency.p99_s == pytest.approx(3.5 + 0.96 * 36.5, abs=0.01)
    assert (found.in_flight, found.queue_bytes, found.lag) == (3, 44, 5)
    assert (found.model, found.version) == ("m", "v1")


def test_the_next_snapshot_starts_from_nothing(world: World):
    busy(world)
    world.now += 2.0
    world.snapshot()
    world.now += 1.0
    found = world.snapshot()
    assert (found.interval_s, found.consumed, found.results, found.abstained) == (1.0, 0, 0, 0)
    assert (found.verdicts, found.dead_letters, found.latency) == ({}, {}, None)
    assert found.throughput_per_s == 0


def test_two_snapshots_at_the_same_moment_are_no_division_by_zero(world: World):
    world.snapshot()
    assert world.snapshot().throughput_per_s == 0


def test_verdicts_of_images_are_counted(world: World):
    world.metrics.committed([world.answered(judged(v)) for v in ("ok", "defect", "ok")])
    assert world.snapshot().verdicts == {"ok": 2, "defect": 1}


def test_a_clock_behind_the_brokers_gives_no_negative_latency(world: World):
    world.metrics.committed([world.answered(labelled("storm"), age_s=-9)])
    found = world.snapshot()
    assert found.latency is not None
    assert found.latency.p50_s == 0


def test_counters_go_on_over_snapshots(world: World):
    busy(world)
    world.snapshot()
    busy(world)
    world.snapshot()
    found = world.samples()
    assert found["feedsight_consumed_total", ""] == 10
    assert found["feedsight_results_total", ""] == 6
    assert found["feedsight_abstained_total", ""] == 2
    assert found["feedsight_commits_total", ""] == 2
    assert found["feedsight_sessions_total", ""] == 2
    assert found["feedsight_dead_letters_total", "reason=not_json"] == 4
    assert found["feedsight_verdicts_total", "name=l,verdict=storm"] == 4
    assert found["feedsight_batch_items_sum", ""] == 10
    assert found["feedsight_compute_seconds_sum", ""] == 0.5


def test_gauges_show_the_last_snapshot(world: World):
    busy(world)
    world.snapshot()
    found = world.samples()
    assert found["feedsight_in_flight", ""] == 3
    assert found["feedsight_queue_bytes", ""] == 44
    assert found["feedsight_lag", ""] == 5
    assert found["feedsight_paused", ""] == 1
    assert found["feedsight_last_commit_timestamp_seconds", ""] == 1_000
    assert found["feedsight_model_info", "model=m,version=v1"] == 1


def test_the_latency_histogram_is_cumulative(world: World):
    busy(world)
    found = world.samples()
    assert found["feedsight_latency_seconds_bucket", "le=0.2"] == 0
    assert found["feedsight_latency_seconds_bucket", "le=0.5"] == 1
    assert found["feedsight_latency_seconds_bucket", "le=5.0"] == 4
    assert found["feedsight_latency_seconds_bucket", "le=+Inf"] == 5
    assert found["feedsight_latency_seconds_count", ""] == 5
    assert found["feedsight_latency_seconds_sum", ""] == pytest.approx(48)


def test_the_page_has_every_name_that_the_alerts_ask_for(world: World):
    busy(world)
    world.exposition.drifts.labels("text", "l", "shares")
    world.snapshot()
    exported = {name for name, _ in world.samples()}
    groups = yaml.safe_load(RULES.read_text())["groups"]
    text = " ".join(rule["expr"] for group in groups for rule in group["rules"])
    asked = set(re.findall(r"(?<![:\w])feedsight_[a-z_]+", re.sub(r"\w+:feedsight_\w+:\w+", "", text)))
    assert asked
    assert asked <= exported


def test_nothing_is_labelled_by_post_or_text(world: World):
    busy(world)
    world.snapshot()
    names = {pair.partition("=")[0] for _, labels in world.samples() for pair in labels.split(",") if pair}
    assert names <= {"name", "verdict", "reason", "le", "model", "version"}
