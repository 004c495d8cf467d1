"""`feedsight dlq`: letters are found, shown, exported and replayed, each exactly once, kill or no kill."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner, Result

from cli.main import create_app
from config import Settings
from schemas import Post
from stream.client import Outgoing
from stream.dead_letter import ATTEMPT, REPLAY_OF, from_headers
from tests.support.lanes import everything, fresh_settings, running, send, until
from tests.support.workers import EchoWorker
from tests.unit.image.drawn import encoded, gradient
from workers.errors import MessageError


def refuse(posts: Sequence[Post]) -> None:
    """Fail on posts that are not well yet."""
    if any(post.text.startswith("bad") for post in posts):
        raise RuntimeError("the model can't take this")


async def dead(settings: Settings, records: list[Outgoing], letters: int, topic: str = "posts") -> None:
    """Send records, and wait until so many are dead letters and the others have results."""
    await send(settings, topic, records)
    await answered(settings, len(records) - letters, letters)


async def answered(settings: Settings, results: int, letters: int) -> None:
    async def all_there() -> bool:
        found = len(await everything(settings, "labels")), len(await everything(settings, "dead-letters"))
        return found == (results, letters)

    async with running(settings, EchoWorker(refuse)):
        await until(all_there)


def run(settings: Settings, *arguments: str) -> Result:
    """`feedsight dlq …` in a thread of its own event loop."""
    options = ["--kafka", settings.kafka.bootstrap, "--prefix", settings.topics.prefix]
    environment = {"FEEDSIGHT_KAFKA__GROUP": settings.kafka.group, "FEEDSIGHT_KAFKA__CHECK_CRCS": "false"}
    done = CliRunner().invoke(create_app(), ["dlq", *arguments, *options], env=environment)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


async def dlq(settings: Settings, *arguments: str) -> Result:
    return await asyncio.to_thread(run, settings, *arguments)


async def listed(settings: Settings, *arguments: str) -> list[dict[str, Any]]:
    done = await dlq(settings, "list", "--json", *arguments)
    assert done.exit_code == 0, done.output
    return [orjson.loads(line) for line in done.stdout.splitlines()]


def post(identity: str, text: str, **headers: bytes) -> Outgoing:
    return Outgoing(
        identity.encode(), orjson.dumps({"id": identity, "text": text}), tuple(sorted(headers.items()))
    )


def many(count: int) -> list[Outgoing]:
    """Posts that are none; the model is not asked, so it is not at fault."""
    return [Outgoing(b"b%d" % n, b'{"id": "b%d", "text": 7}' % n) for n in range(count)]


PICTURE = encoded(gradient())

MIXED = [
    post("good", "fine"),
    Outgoing(b"k", b"{no json", (("reason", b"mine"),)),
    post("b0", "bad zero"),
    Outgoing(None, b'{"id": "odd", "text": 7}'),
    post("b1", "bad one"),
]


async def test_letters_are_listed_by_reason_lane_source_time_and_id(bootstrap: str) -> None:
    settings = fresh_settings(bootstrap)
    await dead(settings, MIXED, 4)
    everyone = await listed(settings)
    assert Counter(letter["reason"] for letter in everyone) == {"not_json": 1, "schema": 1, "model_failed": 2}
    assert [letter["written_at"] for letter in everyone] == sorted(one["written_at"] for one in everyone)
    assert len(await listed(settings, "--reason", "schema", "--reason", "not_json")) == 2
    assert len(await listed(settings, "--lane", "text", "--source", "posts", "--since", "1h")) == 4
    assert await listed(settings, "--lane", "image") == []
    assert await listed(settings, "--until", "1h") == []
    assert [letter["id"] for letter in await listed(settings, "--id", "b1")] == ["b1"]
    by_place = everyone[2]["letter"]
    assert [letter["letter"] for letter in await listed(settings, "--id", by_place)] == [by_place]
    assert len(await listed(settings, "--limit", "3")) == 3
    table = await dlq(settings, "list")
    assert "4 dead letters: 2 model_failed" in table.stdout
    assert "model_failed" in table.stdout


@pytest.mark.parametrize("wrong", [("--reason", "no_such_reason"), ("--since", "yesterday")])
async def test_a_wrong_filter_is_a_usage_error_in_one_line(
    embedded_bootstrap: str, wrong: tuple[str, str]
) -> None:
    done = await dlq(fresh_settings(embedded_bootstrap), "list", *wrong)
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1


async def test_a_letter_is_shown_whole_and_no_control_character_reaches_the_terminal(
    embedded_bootstrap: str,
) -> None:
    settings = fresh_settings(embedded_bootstrap)
    value = b'{"id": "esc", "text": "bad \x1b[2J", "and": 1}'
    await dead(settings, [Outgoing(b"k\x1b", value, (("trace", b"\x1b]0;x\x07"),))], 1)
    (letter,) = await listed(settings)
    shown = await dlq(settings, "show", letter["letter"])
    assert shown.exit_code == 0
    assert "\x1b" not in shown.stdout
    assert "\\x1b[2J" in shown.stdout
    raw = await dlq(settings, "show", letter["letter"], "--raw")
    assert raw.stdout_bytes == value
    missing = await dlq(settings, "show", "nobody")
    assert missing.exit_code == 1


async def test_a_replayed_letter_is_its_input_again_with_one_more_attempt(real_bootstrap: str) -> None:
    settings = fresh_settings(real_bootstrap)
    await dead(settings, MIXED, 4)
    before = await everything(settings, "posts")
    dry = await dlq(settings, "replay", "--dry-run")
    assert "would replay 4" in dry.stderr
    assert len(await everything(settings, "posts")) == len(before)

    done = await dlq(settings, "replay", "--reason", "not_json")
    assert done.exit_code == 0, done.output
    original = next(record for record in before if record.value == b"{no json")
    again = next(r for r in await everything(settings, "posts") if r.value == b"{no json" and r != original)
    assert (again.key, again.partition) == (original.key, original.partition)
    letter = (await listed(settings, "--reason", "not_json"))[0]["letter"]
    assert again.headers == (("reason", b"mine"), (ATTEMPT, b"2"), (REPLAY_OF, letter.encode()))


async def test_a_second_run_replays_only_what_the_first_did_not(real_bootstrap: str) -> None:
    settings = fresh_settings(real_bootstrap)
    await dead(settings, MIXED, 4)
    first = await dlq(settings, "replay", "--reason", "schema")
    assert "replayed 1" in first.stderr
    second = await dlq(settings, "replay")
    assert "replayed 3; passed over: 1 replayed before" in second.stderr
    third = await dlq(settings, "replay")
    assert "replayed 0; passed over: 4 replayed before" in third.stderr
    assert len(await everything(settings, "posts")) == len(MIXED) + 4


async def test_what_fails_again_and_again_is_replayed_until_the_limit_of_attempts(
    real_bootstrap: str,
) -> None:
    settings = fresh_settings(real_bootstrap)
    await dead(settings, [post("b", "bad")], 1)
    for attempt in (2, 3):
        assert "replayed 1" in (await dlq(settings, "replay")).stderr
        await answered(settings, 0, attempt)
        letters = await everything(settings, "dead-letters")
        assert sorted(from_headers(letter.headers).attempt for letter in letters)[-1] == attempt
    refused = await dlq(settings, "replay")
    assert "replayed 0" in refused.stderr
    assert "1 tried too often" in refused.stderr
    headers = [name for name, _ in (await everything(settings, "posts"))[-1].headers]
    assert headers == [ATTEMPT, REPLAY_OF]  # they do not pile up


async def test_a_letter_that_names_a_topic_which_is_no_input_is_not_sent_there(real_bootstrap: str) -> None:
    """Whoever may write dead letters must not be able to write anywhere by a replay."""
    settings = fresh_settings(real_bootstrap)
    await dead(settings, [post("b", "bad")], 1)
    (letter,) = await everything(settings, "dead-letters")
    headers = tuple(
        (name, (settings.topics.prefix + "label-sets").encode() if name == "source_topic" else value)
        for name, value in letter.headers
    )
    await send(settings, "dead-letters", [Outgoing(None, b"{}", headers)])
    done = await dlq(settings, "replay")
    assert "replayed 1; passed over: 1 not from an input topic" in done.stderr


KILLED = """
import os, signal, sys
from aiokafka import AIOKafkaProducer
import stream.resend
stream.resend.CHUNK_ITEMS = 40
point, fuse = sys.argv.pop(1), [3]

def burn():
    fuse[0] -= 1
    if fuse[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)

name = point.split()[1]
original = getattr(AIOKafkaProducer, name)

async def wrapped(self, *arguments, **named):
    if point.startswith("before"):
        burn()
    found = await original(self, *arguments, **named)
    if point.startswith("after"):
        burn()
    return found

setattr(AIOKafkaProducer, name, wrapped)
from cli.main import main
main()
"""
"""`feedsight …` that kills itself in its fourth transaction of 40 letters."""


@pytest.mark.broker
@pytest.mark.parametrize(
    "point",
    ["after begin_transaction", "after send_batch", "before commit_transaction", "after commit_transaction"],
)
async def test_a_replay_that_is_killed_and_run_again_replays_each_letter_once(
    real_bootstrap: str, point: str
) -> None:
    settings = fresh_settings(real_bootstrap)
    count = 300
    await dead(settings, many(count), count)
    arguments = ["dlq", "replay", "--kafka", real_bootstrap, "--prefix", settings.topics.prefix]
    environment = {**os.environ, "FEEDSIGHT_KAFKA__GROUP": settings.kafka.group}
    killed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", KILLED, point, *arguments],
        env=environment,
        capture_output=True,
        timeout=100,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = await dlq(settings, "replay")
    assert done.exit_code == 0, done.output
    posts = Counter(
        (record.key, dict(record.headers).get(ATTEMPT)) for record in await everything(settings, "posts")
    )
    assert posts == Counter({(b"b%d" % n, attempt): 1 for n in range(count) for attempt in (None, b"2")})


@pytest.mark.broker
async def test_of_two_replays_at_a_time_the_later_one_goes_on_and_nothing_is_sent_twice(
    real_bootstrap: str,
) -> None:
    from stream import resend
    from stream.letters import Selection
    from stream.outlet import FencedError

    settings = fresh_settings(real_bootstrap)
    count = 120
    await dead(settings, many(count), count)
    later: list[asyncio.Task[Counter[str]]] = []

    async def second() -> Counter[str]:
        return await resend.replay(settings, Selection(), told=lambda letter, what: None)

    original, calls = resend._Run._write, [0]

    async def write(self: Any, chunk: Any) -> None:
        """Before its second chunk, the first replay meets another."""
        calls[0] += 1
        if calls[0] == 2:
            later.append(asyncio.create_task(second()))
            await later[0]
        await original(self, chunk)

    resend._Run._write, chunk_items, resend.CHUNK_ITEMS = write, resend.CHUNK_ITEMS, 50  # type: ignore[method-assign, misc]
    try:
        with pytest.raises(FencedError, match="another replay"):
            await second()
    finally:
        resend._Run._write, resend.CHUNK_ITEMS = original, chunk_items  # type: ignore[method-assign, misc]
    assert later[0].result()["replayed"] == count - 50
    assert len(await everything(settings, "posts")) == 2 * count


async def test_an_exported_folder_can_be_sent_again(embedded_bootstrap: str, tmp_path: Path) -> None:
    settings = fresh_settings(embedded_bootstrap)
    image = tmp_path / "part.png"
    image.write_bytes(PICTURE)
    await dead(settings, MIXED, 4)
    await image_letters(settings, [Outgoing(b"i/1", PICTURE, (("subject", b"anna"), ("ce_id", b"i/1")))])
    folder = tmp_path / "letters"
    done = await dlq(settings, "export", str(folder))
    assert done.exit_code == 0, done.output
    assert "5 letters, 4 posts and 1 images" in done.stderr
    assert set((folder / "posts.jsonl").read_bytes().splitlines()) == {record.value for record in MIXED[1:]}
    whole = [orjson.loads(line) for line in (folder / "letters.jsonl").read_bytes().splitlines()]
    assert {letter["reason"] for letter in whole} == {
        "not_json",
        "schema",
        "model_failed",
        "image_undecodable",
    }

    from cli.send import _posts, image_records

    assert len(list(_posts(folder / "posts.jsonl"))) == 4
    (sent,) = image_records(folder / "images.jsonl", claim_check=False)
    assert (sent.key, sent.value) == (b"i/1", PICTURE)
    assert dict(sent.headers)["subject"] == b"anna"
    again = await dlq(settings, "export", str(folder))
    assert again.exit_code == 1
    assert "not an empty folder" in again.stderr


async def test_posts_are_exported_as_lines_to_be_corrected(embedded_bootstrap: str, tmp_path: Path) -> None:
    settings = fresh_settings(embedded_bootstrap)
    odd = [
        Outgoing(b"a", b'{"id": "a",\n "text": 7}'),
        Outgoing(b"b", b"two\nlines"),
        Outgoing(b"c", b"{one"),
    ]
    await dead(settings, odd, 3)
    target = tmp_path / "wrong.jsonl"
    done = await dlq(settings, "export", str(target))
    assert sorted(target.read_bytes().splitlines()) == [b'{"id":"a","text":7}', b"{one"]
    assert "1 are no line of text" in done.stderr


async def image_letters(settings: Settings, records: list[Outgoing]) -> None:
    """Have an image lane refuse images."""

    class Refuses(EchoWorker):
        def cost(self, message: Any) -> int:
            raise MessageError("no", reason="image_undecodable")

    await send(settings, "images", records)
    before = len(await everything(settings, "dead-letters"))

    async def all_there() -> bool:
        return len(await everything(settings, "dead-letters")) == before + len(records)

    async with running(settings, Refuses(), "image"):
        await until(all_there)
