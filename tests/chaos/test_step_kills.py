"""SIGKILL between the numbered steps of stream/delivery.py and inside the transaction: exactly once."""

import asyncio
import signal
import subprocess
import sys
from collections import Counter

import orjson
import pytest

from stream.client import Outgoing
from tests.support.dying_worker import POINTS
from tests.support.lanes import committed_and_end, everything, fresh_settings, running, send, until
from tests.support.workers import EchoWorker

pytestmark = [pytest.mark.broker, pytest.mark.chaos]


@pytest.mark.parametrize("point", POINTS)
async def test_a_worker_killed_at_any_step_loses_and_repeats_nothing(real_bootstrap: str, point: str) -> None:
    settings = fresh_settings(real_bootstrap, check_crcs=True)
    ids = [f"p{i}" for i in range(2_000)]
    await send(settings, "posts", [_post(identity) for identity in ids])
    where = (settings.kafka.bootstrap, settings.kafka.group, settings.topics.prefix)
    command = [sys.executable, "-m", "tests.support.dying_worker", point, *where]
    died = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=60, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    assert len(await everything(settings, "labels")) < 2_000

    async def all_answered() -> bool:
        return len(await everything(settings, "labels")) >= 2_000

    async with running(settings, EchoWorker()):
        await until(all_answered)
    found = Counter(orjson.loads(r.value or b"")["id"] for r in await everything(settings, "labels"))
    assert found == Counter(ids)
    committed, end = await committed_and_end(settings, "text", "posts")
    assert committed == end


def _post(identity: str) -> Outgoing:
    return Outgoing(identity.encode(), orjson.dumps({"id": identity, "text": "goal!"}))
