"""`feedsight worker --processes` on real processes: one falls, all are told to stop, settings are wrong."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import psutil
import pytest

from stream.client import Outgoing
from tests.support.lanes import everything, fresh_settings, send, until

ROOT = Path(__file__).resolve().parents[2]
LABELS = ROOT / "config" / "labels" / "news_topics.yaml"


def started(*arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", "from cli.main import main; main()", "worker", "text", *arguments],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        env={
            **os.environ,
            "FEEDSIGHT_KAFKA__CHECK_CRCS": "false",
            "FEEDSIGHT_KAFKA__SESSION_TIMEOUT_MS": "6000",
        },
    )


def members(crew: "subprocess.Popen[bytes]") -> set[int]:
    return {child.pid for child in psutil.Process(crew.pid).children()}


def eventually(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
async def test_two_processes_answer_all_posts_though_one_is_killed(embedded_bootstrap: str) -> None:
    """The one that fell is started again, and SIGTERM to the first process ends all of them with status 0."""
    settings = fresh_settings(embedded_bootstrap)
    kafka = settings.kafka
    crew = started(
        *("--labels", str(LABELS), "--processes", "2", "--metrics-port", "0", "--log-level", "WARNING"),
        *("--kafka", kafka.bootstrap, "--group", kafka.group, "--prefix", settings.topics.prefix),
    )
    try:
        posts = [orjson.dumps({"id": f"p{n}", "text": f"Oil prices rose again, day {n}"}) for n in range(200)]
        await send(settings, "posts", [Outgoing(post[7:11], post) for post in posts[:100]])
        eventually(lambda: len(members(crew)) == 2)
        first = members(crew)

        async def some() -> bool:
            assert crew.poll() is None
            return len(await everything(settings, "labels")) > 0

        await until(some, 90)
        os.kill(min(first), signal.SIGKILL)
        await send(settings, "posts", [Outgoing(post[7:11], post) for post in posts[100:]])

        async def all_of_them() -> bool:
            found = {orjson.loads(one.value or b"")["id"] for one in await everything(settings, "labels")}
            return len(found) == len(posts)

        await until(all_of_them, 90)
        eventually(lambda: len(members(crew) - first) == 1)
        left = members(crew)
        crew.terminate()
        assert crew.wait(60) == 0
        assert not any(psutil.pid_exists(pid) for pid in left)
    finally:
        if crew.poll() is None:
            crew.kill()


def test_members_end_when_the_first_process_is_killed() -> None:
    crew = started("--processes", "2", "--kafka", "127.0.0.1:1", "--metrics-port", "0")
    try:
        eventually(lambda: len(members(crew)) == 2)
        left = members(crew)
    finally:
        crew.kill()
    eventually(lambda: not any(psutil.pid_exists(pid) for pid in left))


def test_wrong_settings_end_all_with_status_2(tmp_path: Path) -> None:
    crew = started("--processes", "2", "--labels", str(tmp_path / "nowhere.yaml"), "--metrics-port", "0")
    _, log = crew.communicate(timeout=120)
    assert crew.returncode == 2
    assert b"nowhere.yaml" in log
