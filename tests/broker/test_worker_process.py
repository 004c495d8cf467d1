"""`feedsight worker` as a process: how it refuses wrong settings, and with which status it ends."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from config import Settings
from stream.client import Outgoing
from tests.support.lanes import everything, fresh_settings, send, until
from tests.unit.image.drawn import part

ROOT = Path(__file__).resolve().parents[2]
LABELS = ROOT / "config" / "labels" / "news_topics.yaml"
START = "from cli.main import main; main()"

ODD_WORKER = """
import sys, time
from config import load_settings
from stream.app import run
from tests.support.workers import EchoWorker
from workers.errors import FatalError

def misbehave(posts):
    what = posts[0].text if posts else ""
    if what == "hang":
        time.sleep(600)
    if what.startswith("fatal "):
        raise FatalError("the model is out of order", reason=what.split()[1])

bootstrap, group, prefix = sys.argv[1:]
settings = load_settings(None, {
    "kafka": {"bootstrap": bootstrap, "group": group, "check_crcs": False},
    "topics": {"prefix": prefix},
    "lane": {"watchdog_s": 5},
    "metrics": {"port": 0},
}, {})
sys.exit(run(settings, {"text": EchoWorker(misbehave)}))
"""
"""A worker that does what the post says: hang, or fail for good."""

TORCH_FREE_TEXT = """
import sys
from pathlib import Path
from config import TextSettings
from schemas import Post
from workers.text.worker import create_text_worker
import cli.worker, stream.app

worker = create_text_worker(TextSettings(labels=Path(sys.argv[1])))
worker.load()
(result,) = worker.run(worker.prepare([Post(id="p", text="Oil prices rose again")]))
heavy = sorted({"torch", "transformers", "sentence_transformers", "torchvision"} & set(sys.modules))
print(result.label, *heavy)
"""
"""Loads the text worker as `feedsight worker` does, and names what it should not have imported."""

TORCH_FREE_IMAGE = """
import sys
from pathlib import Path
from config import ImageSettings
from schemas import ImageMessage
from workers.image.worker import create_image_worker
import cli.worker, stream.app

gallery = Path(sys.argv[1])
worker = create_image_worker(ImageSettings(references=gallery))
worker.load()
message = ImageMessage(id="i", content=(gallery / "part.png").read_bytes())
(result,) = worker.run(worker.prepare([message]))
heavy = sorted({"torch", "transformers", "sentence_transformers", "torchvision"} & set(sys.modules))
print(result.neighbors[0].id, *heavy)
"""
"""The same of the image worker."""


def environment(**variables: str) -> dict[str, str]:
    """This process's, without settings of its own."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("FEEDSIGHT_")}
    kept = {name: os.environ[name] for name in ("FEEDSIGHT_CACHE",) if name in os.environ}
    return {**plain, **kept, **variables}


def run(code: str, *arguments: object, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(**variables),
        timeout=120,
        check=False,
    )


def refused(*arguments: object, **variables: str) -> str:
    """Start a worker that must not start; gives the one line that it says on stderr."""
    done = run(START, "worker", *arguments, **variables)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith("feedsight: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def yaml_file(folder: Path, text: str) -> Path:
    file = folder / "feedsight.yaml"
    file.write_text(text)
    return file


def test_a_misspelt_key_in_the_settings_file_is_named(tmp_path: Path) -> None:
    line = refused("text", "--config", yaml_file(tmp_path, "kafka:\n  bootstap: localhost:9092\n"))
    assert "bootstap" in line
    assert "bootstrap" in line


def test_a_misspelt_section_in_the_settings_file_is_named(tmp_path: Path) -> None:
    assert "kafak" in refused("text", "--config", yaml_file(tmp_path, "kafak:\n  bootstrap: x:1\n"))


def test_a_misspelt_environment_variable_is_named() -> None:
    line = refused("text", "--labels", LABELS, FEEDSIGHT_KAFKA__BOOTSTAP="localhost:9092")
    assert "FEEDSIGHT_KAFKA__BOOTSTAP" in line


def test_a_misspelt_section_in_the_environment_is_named() -> None:
    assert "FEEDSIGHT_KAFAK__GROUP" in refused("text", "--labels", LABELS, FEEDSIGHT_KAFAK__GROUP="g")


def test_a_missing_settings_file_is_named(tmp_path: Path) -> None:
    line = refused("text", "--config", tmp_path / "nowhere.yaml")
    assert "nowhere.yaml does not exist" in line


def test_a_missing_label_file_is_named(tmp_path: Path) -> None:
    assert "nowhere.yaml" in refused("text", "--labels", tmp_path / "nowhere.yaml")


def test_missing_references_are_named(tmp_path: Path) -> None:
    line = refused("image", "--mode", "compare", "--references", tmp_path / "nowhere")
    assert "nowhere" in line


def test_sasl_without_tls_is_refused_unless_it_is_asked_for(tmp_path: Path) -> None:
    sasl = "kafka:\n  security_protocol: SASL_PLAINTEXT\n  sasl_mechanism: PLAIN\n  sasl_username: u\n"
    line = refused("text", "--config", yaml_file(tmp_path, sasl), FEEDSIGHT_KAFKA__SASL_PASSWORD="secret-7")
    assert "SASL_SSL" in line
    assert "secret-7" not in line


def second_run(code: str, argument: Path) -> list[str]:
    """The first run may export the model; what it cached, the second one uses. Gives what that prints."""
    first = run(code, argument)
    assert first.returncode == 0, first.stderr
    return run(code, argument).stdout.split()


def test_a_text_worker_with_cached_models_imports_no_torch() -> None:
    assert second_run(TORCH_FREE_TEXT, LABELS) == ["business"]


def test_an_image_worker_with_cached_models_imports_no_torch(tmp_path: Path) -> None:
    part(3).save(tmp_path / "part.png")
    assert second_run(TORCH_FREE_IMAGE, tmp_path) == ["part.png"]


def odd_worker(settings: Settings) -> "subprocess.Popen[str]":
    kafka = settings.kafka
    return subprocess.Popen(
        [sys.executable, "-c", ODD_WORKER, kafka.bootstrap, kafka.group, settings.topics.prefix],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment(),
    )


async def send_texts(settings: Settings, texts: Sequence[str]) -> None:
    posts = [orjson.dumps({"id": f"p{number}", "text": text}) for number, text in enumerate(texts)]
    await send(settings, "posts", [Outgoing(b"one-partition", post) for post in posts])


async def nothing_was_answered(settings: Settings) -> bool:
    return not await everything(settings, "labels") and not await everything(settings, "dead-letters")


async def test_a_worker_whose_model_hangs_is_ended_by_the_watchdog(embedded_bootstrap: str) -> None:
    settings = fresh_settings(embedded_bootstrap)
    await send_texts(settings, ["hang"])
    worker = odd_worker(settings)
    _, log = worker.communicate(timeout=120)
    assert worker.returncode == 1, log
    assert "Timeout" in log, log  # faulthandler's words, and every thread's traceback
    assert "misbehave" in log, log
    assert await nothing_was_answered(settings)


@pytest.mark.parametrize(
    ("reason", "status"), [("model_failed", 1), ("configuration", 2), ("index_mismatch", 2)]
)
async def test_a_fatal_error_ends_the_process_with_a_status_and_nothing_committed(
    embedded_bootstrap: str, reason: str, status: int
) -> None:
    """1 where starting again may help, 2 where it won't."""
    settings = fresh_settings(embedded_bootstrap)
    await send_texts(settings, [f"fatal {reason}"])
    worker = odd_worker(settings)
    _, log = worker.communicate(timeout=120)
    assert worker.returncode == status, log
    assert "feedsight: text: the model is out of order" in log.splitlines()
    assert await nothing_was_answered(settings)


async def test_a_worker_told_to_stop_ends_with_status_0(embedded_bootstrap: str) -> None:
    settings = fresh_settings(embedded_bootstrap)
    await send_texts(settings, ["fine"])
    worker = odd_worker(settings)

    async def answered() -> bool:
        assert worker.poll() is None
        return len(await everything(settings, "labels")) == 1

    try:
        await until(answered)
    finally:
        worker.terminate()
        _, log = worker.communicate(timeout=120)
    assert worker.returncode == 0, log
