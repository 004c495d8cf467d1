"""Corrections in, a new version out: the learner as a process on a real Kafka."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from config import Settings
from schemas import Feedback, Label, LabelSet, Origin, Post, ReviewItem
from stream.client import Incoming, Outgoing
from stream.topics import create_topics
from tests.support.lanes import everything, fresh_settings, send, until

pytestmark = pytest.mark.broker
ROOT = Path(__file__).resolve().parents[2]

RAIN = ["the river rose over the bridge", "the river is over the road", "water over the bridge road"]
RAIN += ["the bridge road is under water", "river water rose"]
GAME = ["a late goal won the match", "the keeper saved the match", "the goal came late", "a keeper scored"]
GAME += ["match won by a late keeper goal"]
LABELS = LabelSet(name="alpha", version=3, labels=(Label(name="flood"), Label(name="football")))


class LearnerProcess:
    """Starts and ends the learner."""

    def __init__(self, settings: Settings, log: Path) -> None:
        kafka = settings.kafka
        command = [sys.executable, "-m", "tests.support.learner_process", kafka.bootstrap, kafka.group]
        self._log = log
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                [*command, settings.topics.prefix, "4"], stdout=stream, stderr=stream, cwd=ROOT
            )

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(60)

    @property
    def log(self) -> str:
        return self._log.read_text()


@pytest.fixture
def learners() -> Iterator[list[LearnerProcess]]:
    started: list[LearnerProcess] = []
    yield started
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


async def prepared(bootstrap: str) -> Settings:
    settings = fresh_settings(bootstrap, check_crcs=True)
    await create_topics(settings.kafka, settings.topics)
    await send(settings, "label-sets", [Outgoing(b"alpha", LABELS.to_json())])
    return settings


async def correct(settings: Settings, *feedback: Feedback | bytes) -> None:
    values = [one if isinstance(one, bytes) else one.to_json() for one in feedback]
    await send(settings, "feedback", [Outgoing(b"k", value) for value in values])


def corrections() -> list[Feedback]:
    rain = [Feedback(id=f"r{n}", label="flood", text=text, name="alpha") for n, text in enumerate(RAIN)]
    game = [Feedback(id=f"g{n}", label="football", text=text) for n, text in enumerate(GAME)]
    return [one for pair in zip(rain, game, strict=True) for one in pair]


async def published(settings: Settings) -> list[Incoming]:
    """Records of the label-sets topic after the first."""
    return (await everything(settings, "label-sets"))[1:]


async def refits(settings: Settings) -> list[dict[str, object]]:
    found = [orjson.loads(record.value or b"") for record in await everything(settings, "metrics")]
    return [event for event in found if event["kind"] == "refit"]


async def test_corrections_become_versions_that_a_restart_does_not_repeat(
    real_bootstrap: str, tmp_path: Path, learners: list[LearnerProcess]
) -> None:
    settings = await prepared(real_bootstrap)
    first, later = corrections()[:6], corrections()[6:]
    await correct(settings, *first)
    learners.append(LearnerProcess(settings, tmp_path / "first.log"))

    async def refitted(times: int) -> bool:
        assert learners[-1].process.poll() is None, learners[-1].log
        return len(await refits(settings)) >= times

    await until(lambda: refitted(1), 90)
    archived, in_force = await published(settings)
    assert (archived.key, in_force.key) == (b"alpha@4", b"alpha")
    assert archived.value == in_force.value
    learned = LabelSet.model_validate_json(in_force.value or b"")
    assert learned.version == 4
    known = {text for label in learned.labels for text in label.examples}
    assert known == {one.text for one in first}
    await correct(settings, *later)  # the agent takes these
    await until(lambda: refitted(2), 90)
    assert learners[-1].end() == 0, learners[-1].log
    before = await published(settings), await refits(settings)
    assert [event["facts"]["corrections"] for event in before[1]] == [6, 10]  # type: ignore[index]

    # Started again, it has nothing to say but to what is new: a correction that can't be used.
    learners.append(LearnerProcess(settings, tmp_path / "second.log"))
    await until_bad_is_set_aside(settings, learners[-1], 1)
    assert learners[-1].end() == 0, learners[-1].log
    assert (await published(settings), await refits(settings)) == before


async def until_bad_is_set_aside(settings: Settings, learner: LearnerProcess, count: int) -> None:
    """Send a correction that can't be used, and wait for its dead letter: all before it is done then."""
    await correct(settings, b"not JSON")

    async def set_aside() -> bool:
        assert learner.process.poll() is None, learner.log
        return len(await everything(settings, "dead-letters")) == count

    await until(set_aside, 90)


async def test_bad_corrections_are_dead_lettered_with_a_reason_and_good_ones_find_their_text(
    real_bootstrap: str, tmp_path: Path, learners: list[LearnerProcess]
) -> None:
    settings = await prepared(real_bootstrap)
    post = Post(id="p1", text=RAIN[0])
    await send(settings, "posts", [Outgoing(b"p1", post.to_json())])
    (read,) = await everything(settings, "posts")
    item = ReviewItem(
        id="q1", why=("random",), name="alpha", version="3", label="flood", probability=0.5, text=GAME[0]
    )
    await send(settings, "review", [Outgoing(b"q1", item.to_json())])
    origin = Origin(topic=read.topic, partition=read.partition, offset=read.offset)
    await correct(
        settings,
        b"not JSON",
        b'{"id": "x", "label": "flood", "text": "t", "colour": 1}',
        Feedback(id="nobody", label="flood"),
        Feedback(id="p1", label="hail", text="t"),
        Feedback(id="p1", label="flood", text="t", name="beta"),
        Feedback(id="p2", label="flood", source=origin),  # that post is another one
        Feedback(id="p1", label="flood", source=origin),
        Feedback(id="q1", label="football"),
        *corrections()[:2],
    )
    learners.append(LearnerProcess(settings, tmp_path / "learner.log"))

    async def all_are_taken() -> bool:
        assert learners[-1].process.poll() is None, learners[-1].log
        return len(await everything(settings, "dead-letters")) >= 6

    await until(all_are_taken, 90)
    await until_bad_is_set_aside(settings, learners[-1], 7)
    assert learners[-1].end() == 0, learners[-1].log
    letters = sorted(await everything(settings, "dead-letters"), key=lambda one: one.timestamp_ms)
    reasons = [dict(letter.headers)["reason"].decode() for letter in letters]
    expected = ["not_json", "not_json", "unknown_field", "unknown_label", "unknown_label"]
    assert sorted(reasons) == [*expected, "unknown_post", "unknown_post"]
