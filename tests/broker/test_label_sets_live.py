"""Labels are data: they change while the stream runs, on a real Kafka."""

import asyncio
import time
from collections import Counter

import orjson
import pytest

from schemas import Label, LabelSet, ReviewItem, TextResult
from stream.client import Outgoing
from stream.in_force import InForce
from stream.label_sets import numbered, publish, read_shelf, withdraw
from tests.support.controlled import FirstLabelWorker, controlled
from tests.support.lanes import everything, fresh_settings, send, until
from workers.errors import FatalError

QUICK = {"metrics": {"interval_s": 0.3}}


def post(identity: str, text: str = "goal!") -> Outgoing:
    return Outgoing(identity.encode(), orjson.dumps({"id": identity, "text": text}))


def label_set(name: str = "topics", version: int = 1, label: str = "a", **more) -> LabelSet:
    return LabelSet(name=name, version=version, labels=(Label(name=label),), **more)


async def labelled(settings, topic: str = "labels") -> list[TextResult]:
    return [TextResult.model_validate_json(one.value or b"") for one in await everything(settings, topic)]


async def count(settings, topic: str, wanted: int) -> bool:
    return len(await everything(settings, topic)) >= wanted


async def test_a_worker_without_labels_takes_nothing_until_some_are_applied(real_bootstrap: str) -> None:
    settings = fresh_settings(real_bootstrap, **QUICK)
    worker = FirstLabelWorker()
    async with controlled(settings, worker) as lane:
        await send(settings, "posts", [post("1")])
        await until(lambda: _is(lane.state == "waiting"))
        assert await everything(settings, "labels") == []

        await publish(settings, label_set())
        await until(lambda: count(settings, "labels", 1))
    assert [(one.id, one.label, one.version) for one in await labelled(settings)] == [("1", "a", "1")]


async def test_apply_waits_until_every_live_worker_has_the_version_in_force(real_bootstrap: str) -> None:
    settings = fresh_settings(real_bootstrap, **QUICK)
    one, other = FirstLabelWorker(), FirstLabelWorker()
    async with controlled(settings, one, "w1"), controlled(settings, other, "w2"):
        await publish(settings, label_set())
        await until(lambda: _is(one.ready and other.ready))
        async with InForce(settings, "text") as watch:
            published_ms = await publish(settings, label_set(version=2))
            answers = await watch.until("topics", published_ms, timeout_s=20)
    assert {(answer.worker, answer.kind, answer.version) for answer in answers} == {
        ("w1", "in_force", "2"),
        ("w2", "in_force", "2"),
    }
    assert one.in_force == other.in_force == {"topics": "2"}


async def test_a_refused_label_set_is_said_to_be_and_the_former_stays(real_bootstrap: str) -> None:
    settings = fresh_settings(real_bootstrap, **QUICK)
    worker = FirstLabelWorker()
    async with controlled(settings, worker):
        await publish(settings, label_set())
        await until(lambda: _is(worker.ready))
        async with InForce(settings, "text") as watch:
            now_ms = int(time.time() * 1_000)
            await send(settings, "label-sets", [Outgoing(b"topics", b'{"name": "topics", "labels": []}')])
            (answer,) = await watch.until("topics", now_ms, timeout_s=20)
        assert (answer.kind, worker.in_force) == ("refused", {"topics": "1"})
        assert "labels" in (answer.detail or "")


async def test_versions_follow_each_other_in_each_partition_and_no_post_is_answered_twice(
    real_bootstrap: str,
) -> None:
    settings = fresh_settings(real_bootstrap, **QUICK)
    worker = FirstLabelWorker()
    async with controlled(settings, worker):
        await publish(settings, label_set())
        await until(lambda: _is(worker.ready))
        for version in range(2, 8):
            await send(settings, "posts", [post(f"{version}-{n}") for n in range(200)])
            await publish(settings, label_set(version=version))
        await until(lambda: count(settings, "labels", 1_200))
    results = await labelled(settings)
    assert Counter(Counter(one.id for one in results).values()) == {1: 1_200}
    seen: dict[int, int] = {}
    for one in sorted(results, key=lambda found: found.source.offset if found.source else 0):
        assert one.source is not None
        assert int(one.version) >= seen.get(one.source.partition, 0)
        seen[one.source.partition] = int(one.version)


async def test_campaigns_have_results_and_topics_of_their_own_and_say_what_to_review(
    real_bootstrap: str,
) -> None:
    settings = fresh_settings(real_bootstrap, **QUICK)
    route = settings.topics.prefix + "alerts"
    worker = FirstLabelWorker()
    async with controlled(settings, worker):
        await publish(settings, label_set("alarm", route=route))
        await publish(settings, label_set("topics"))
        await until(lambda: _is(len(worker.in_force) == 2))
        await send(settings, "posts", [post("1"), post("2", "look here")])
        await until(lambda: count(settings, "labels", 4))
    assert Counter(one.label_set for one in await labelled(settings)) == {"alarm": 2, "topics": 2}
    assert {one.label_set for one in await labelled(settings, "alerts")} == {"alarm"}
    items = [ReviewItem.model_validate_json(one.value or b"") for one in await everything(settings, "review")]
    assert [(item.id, item.text, item.why) for item in items] == [("2", "look here", ("random",))] * 2
    assert {item.result_id for item in items} < {one.result_id for one in await labelled(settings)}


async def test_when_the_last_is_removed_the_lane_lets_go_and_takes_up_again(real_bootstrap: str) -> None:
    settings = fresh_settings(real_bootstrap, **QUICK)
    worker = FirstLabelWorker()
    async with controlled(settings, worker) as lane:
        await publish(settings, label_set())
        await send(settings, "posts", [post("1")])
        await until(lambda: count(settings, "labels", 1))
        await withdraw(settings, "topics")
        await until(lambda: _is(lane.state == "waiting"))
        await send(settings, "posts", [post("2")])
        await publish(settings, label_set(version=2))
        await until(lambda: count(settings, "labels", 2))
    assert {one.id: one.version for one in await labelled(settings)} == {"1": "1", "2": "2"}


async def test_history_is_kept_and_a_version_can_not_be_another_later(real_bootstrap: str) -> None:
    settings = fresh_settings(real_bootstrap)
    async with controlled(settings, FirstLabelWorker()):
        await publish(settings, label_set(), note="first", by="someone")
        await publish(settings, label_set(version=2, label="b"))
        await publish(settings, label_set(version=3, label="c"), in_force=False)
    shelf = await read_shelf(settings)
    assert shelf.in_force["topics"].version == "2"
    assert [stored.version for stored in shelf.archived["topics"]] == ["1", "2", "3"]
    assert (shelf.archived["topics"][0].note, shelf.archived["topics"][0].by) == ("first", "someone")
    assert shelf.next_version("topics") == 4
    with pytest.raises(FatalError, match="version 1 of topics is another label set already"):
        numbered(label_set(label="z"), shelf)


async def _is(condition: bool) -> bool:
    await asyncio.sleep(0)
    return condition
