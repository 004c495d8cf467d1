"""The broker crashes, freezes and comes back under a working lane: nothing is lost and nothing repeated."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from stream.client import Outgoing
from stream.local_kafka import LocalKafka, find_kafka_home
from tests.support.lanes import committed_and_end, everything, fresh_settings, running, send, until
from tests.support.workers import EchoWorker
from workers.errors import TransientError

pytestmark = [pytest.mark.broker, pytest.mark.chaos, pytest.mark.timeout(300)]


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[LocalKafka]:
    """A broker that this test may break."""
    home = find_kafka_home()
    if home is None:
        pytest.skip("no real Kafka: set FEEDSIGHT_KAFKA_HOME to a distribution's folder, and install Java 17")
    broker = LocalKafka(home, tmp_path / "kafka")
    broker.start()
    yield broker
    broker.kill()


def crash(broker: LocalKafka) -> None:
    broker.kill()
    broker.start()


def freeze(broker: LocalKafka) -> None:
    """Longer than the lane's session of 6 s."""

    broker.pause()
    time.sleep(8)
    broker.resume()


@pytest.mark.parametrize("fault", [crash, freeze], ids=["crash", "freeze"])
async def test_a_broker_fault_under_load_loses_and_repeats_nothing(
    own_kafka: LocalKafka, fault: Callable[[LocalKafka], None]
) -> None:
    settings = fresh_settings(own_kafka.bootstrap, check_crcs=True, text={"max_batch_items": 50})
    ids = [f"p{i}" for i in range(6_000)]
    await send(settings, "posts", [_post(i) for i in ids[:5_000]])

    async def answered(at_least: int) -> bool:
        try:
            return len(await everything(settings, "labels")) >= at_least
        except TransientError:  # the broker is on its way back
            return False

    async with running(settings, EchoWorker()):
        await until(lambda: answered(500))
        await asyncio.to_thread(fault, own_kafka)  # the lane goes on meanwhile
        await until(lambda: answered(5_000), 120)
        await send(settings, "posts", [_post(i) for i in ids[5_000:]])
        await until(lambda: answered(6_000), 60)
    found = Counter(orjson.loads(r.value or b"")["id"] for r in await everything(settings, "labels"))
    assert found == Counter(ids)
    committed, end = await committed_and_end(settings, "text", "posts")
    assert committed == end


def _post(identity: str) -> Outgoing:
    return Outgoing(identity.encode(), orjson.dumps({"id": identity, "text": "goal!"}))
