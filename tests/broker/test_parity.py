"""The topics and the command line give the same results for the same input."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from cli.main import create_app
from cli.send import image_records
from stream.client import Outgoing
from tests.support.lanes import everything, fresh_settings, running, send, until
from workers.image.worker import create_image_worker
from workers.text.worker import create_text_worker

ROOT = Path(__file__).resolve().parents[2]
LABELS = ROOT / "config" / "labels" / "news_topics.yaml"
BOARDS = ROOT / "examples" / "boards"

ONLY_ON_TOPICS = {"result_id", "source"}

SENTENCES = """
The prime minister met the opposition to end three weeks of protests.
Two goals in extra time took the visitors to the final.
The central bank left its interest rate where it was.
A probe sent the first pictures of the comet's far side.
Shares of the airline fell after it warned of lower profits.
Rebels and the army agreed on a cease-fire along the river.
She won the marathon in the fastest time of the year.
A new chip runs the same programs on half the power.
Oil rose for a fourth day.
Observers say the election was free and mostly fair.
The striker signed for three more seasons.
Researchers found a bacterium that eats plastic.
The two supermarkets want to merge before the summer.
An earthquake shook the coast; hundreds spent the night in the open.
The champion lost in straight sets to a qualifier.
A flaw in the browser lets strangers read one's mail.
Unions and the carmaker agreed on shorter weeks.
Diplomats left the talks without a word on the border.
The coach blamed the referee, the referee blamed the camera.
Telescopes saw two black holes become one.
Retail sales grew more slowly than economists had thought.
The court sentenced the former president to four years.
Rain stopped play on the second day of the test match.
The update makes old phones slower, users complain.
A fund bought a tenth of the newspaper group.
Ministers signed a treaty on fishing in the strait.
The relay team broke a record that had stood for thirty years.
Physicists measured the proton again, and it is still too small.
Wheat became cheaper after a good harvest abroad.
Refugees waited at the crossing for a fifth night.
The goalkeeper saved two penalties and missed the third.
A robot folded towels for an hour without a mistake.
The insurer closes a dozen branches and hires programmers.
Parliament rejected the budget by a single vote.
The rookie hit three home runs in one evening.
Video of the launch was seen by ten million people.
Inflation fell, wages did not.
Peacekeepers left the capital after eleven years.
It rained.
Yes 👍 — und jetzt auf Deutsch: das Tor fiel in der 90. Minute!
""".strip().splitlines()


def on_the_command_line(*arguments: object) -> dict[str, dict[str, Any]]:
    done = CliRunner().invoke(create_app(), list(map(str, arguments)))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0
    return by_id(line.encode() for line in done.stdout.splitlines())


def by_id(lines: Iterable[bytes | None]) -> dict[str, dict[str, Any]]:
    found = [orjson.loads(line or b"") for line in lines]
    assert len({result["id"] for result in found}) == len(found)
    return {result["id"]: result for result in found}


async def through_the_topics(
    settings, worker, lane: str, records: list[Outgoing]
) -> dict[str, dict[str, Any]]:  # type: ignore[no-untyped-def]
    source, sink = ("posts", "labels") if lane == "text" else ("images", "matches")
    await send(settings, source, records)

    async def all_there() -> bool:
        assert await everything(settings, "dead-letters") == []
        return len(await everything(settings, sink)) == len(records)

    async with running(settings, worker, lane):
        await until(all_there)
    results = by_id(record.value for record in await everything(settings, sink))
    for result in results.values():
        assert set(result) >= ONLY_ON_TOPICS
    return {
        identity: {key: value for key, value in result.items() if key not in ONLY_ON_TOPICS}
        for identity, result in results.items()
    }


async def test_posts_get_the_labels_that_feedsight_label_gives(bootstrap: str, tmp_path: Path) -> None:
    posts = [{"id": f"s{number}", "text": text} for number, text in enumerate(SENTENCES)]
    file = tmp_path / "posts.jsonl"
    file.write_bytes(b"\n".join(map(orjson.dumps, posts)))
    settings = fresh_settings(bootstrap, text={"labels": LABELS})
    worker = create_text_worker(settings.text)
    worker.load()

    expected = on_the_command_line("label", "--labels", LABELS, file)
    records = [Outgoing(post["id"].encode(), orjson.dumps(post)) for post in posts]
    found = await through_the_topics(settings, worker, "text", records)

    assert found == expected
    assert len(expected) == len(SENTENCES)


@pytest.mark.parametrize("claim_check", [False, True], ids=["bytes", "claim checks"])
async def test_images_get_the_verdicts_that_feedsight_match_gives(bootstrap: str, claim_check: bool) -> None:
    image = {"mode": "compare", "references": BOARDS / "references", "allowed_folders": (BOARDS,)}
    settings = fresh_settings(bootstrap, image=image)
    worker = create_image_worker(settings.image)
    worker.load()

    expected = on_the_command_line(
        "match", "--mode", "compare", "--references", BOARDS / "references", BOARDS / "parts.jsonl"
    )
    records = list(image_records(BOARDS / "parts.jsonl", claim_check))
    found = await through_the_topics(settings, worker, "image", records)

    assert found == expected
    assert {result["verdict"] for result in expected.values()} == {"ok", "defect"}
