"""`feedsight replay` as a process: the diffs, the candidate archived, and a clean end on SIGINT."""

import asyncio
import json
import signal
import sys

import orjson
import pytest

from stream.client import Outgoing
from stream.label_sets import read_shelf
from stream.topics import create_topics
from tests.support.lanes import everything, fresh_settings, send, until

POSTS = 200
LABELS = "name: news\nversion: 2\nlabels: [sports, politics]\n"


def post(number: int) -> Outgoing:
    body = {"id": f"p{number}", "text": f"the minister lost the match number {number}"}
    return Outgoing(b"p%d" % number, orjson.dumps(body))


def former(origin) -> Outgoing:
    """A result that another version gave, so that each post is a diff."""
    body = {
        "id": origin.key.decode(),
        "label": "weather",
        "candidates": [{"label": "weather", "probability": 0.5}],
        "model": "m",
        "label_set": "news",
        "version": "1",
        "source": {"topic": origin.topic, "partition": origin.partition, "offset": origin.offset},
    }
    return Outgoing(origin.key, orjson.dumps(body))


@pytest.mark.slow
async def test_interrupted_it_sums_up_what_was_done_and_keeps_the_candidate(real_bootstrap, tmp_path):
    settings = fresh_settings(real_bootstrap)
    await create_topics(settings.kafka, settings.topics)
    await send(settings, "posts", [post(number) for number in range(POSTS)])
    await send(settings, "labels", [former(record) for record in await everything(settings, "posts")])
    labels = tmp_path / "v2.yaml"
    labels.write_text(LABELS)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *(
            "-c",
            "from cli.main import main; main()",
            "replay",
            "--labels",
            str(labels),
            "--from",
            "1h",
            "--rate",
            "20",
            "--json",
        ),
        *("--kafka", real_bootstrap, "--prefix", settings.topics.prefix),
        stdout=asyncio.subprocess.PIPE,
    )

    async def some_diffs() -> bool:
        return process.returncode is not None or len(await everything(settings, "diffs")) > 0

    await until(some_diffs, timeout_s=120)
    process.send_signal(signal.SIGINT)
    out, _ = await process.communicate()
    summary = json.loads(out)
    assert process.returncode == 0
    assert summary["interrupted"] is True
    assert 0 < summary["read"] < POSTS
    assert summary["changed"] == summary["compared"] == len(await everything(settings, "diffs"))
    shelf = await read_shelf(settings)
    assert shelf.in_force == {}
    assert [stored.version for stored in shelf.archived["news"]] == ["2"]
