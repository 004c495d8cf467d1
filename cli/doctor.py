"""`feedsight doctor`: what a worker needs, checked one by one, and what to do about what is missing."""

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.options import ConfigOption, KafkaOption, hush_client_logs

if TYPE_CHECKING:
    from config import Settings

MIN_PYTHON: Final = (3, 11)
MIN_FREE_BYTES: Final = 1 * 2**30
"""Of memory. A text and an image worker were seen to hold 250 and 150 MB at a trickle; large batches and long
queues take more."""

EXPORT_ONLY: Final = frozenset({"torch", "transformers", "sentence-transformers", "onnxscript"})
"""Needed until the models are exported, and not after."""


@dataclass(frozen=True)
class Finding:
    """One thing checked.

    Attributes:
        good: None where it is worth knowing and no problem.
        what: what was found, one line.
        advice: what to do about it.
    """

    good: bool | None
    what: str
    advice: str = ""

    def line(self) -> str:
        """Say it."""
        mark = {True: "✓", False: "✗", None: "•"}[self.good]
        return f"{mark} {self.what}" + (f"\n    → {self.advice}" if self.advice else "")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", epilog="Example: feedsight doctor --kafka 127.0.0.1:9092")(doctor)


def doctor(
    kafka: KafkaOption = None,
    config: ConfigOption = None,
    prefix: Annotated[str | None, typer.Option("--prefix", help="Prefix of the topics.")] = None,
) -> None:
    """Check Python, packages, processor, models, settings and, with --kafka, the broker.

    Exit status 1 where something is wrong; each such line says what to do.
    """
    hush_client_logs()
    problems = 0
    for finding in _findings(kafka, config, prefix):
        typer.echo(finding.line())
        problems += finding.good is False
    if problems:
        typer.echo("1 problem" if problems == 1 else f"{problems} problems", err=True)
        raise typer.Exit(1)


def _findings(kafka: str | None, config: Path | None, prefix: str | None) -> Iterator[Finding]:
    from config import SettingsError, load_settings

    yield check_python(sys.version_info[:3])
    yield check_packages()
    yield check_processor()
    yield check_memory()
    yield from check_models()
    try:
        settings = load_settings(config, {"kafka": {"bootstrap": kafka}, "topics": {"prefix": prefix}})
    except SettingsError as error:
        yield Finding(False, f"settings: {error}", "feedsight config schema lists what there is")
        return
    yield Finding(True, "settings are right")
    yield from check_files(settings)
    if kafka is None and settings.kafka.bootstrap == load_settings(environ={}).kafka.bootstrap:
        yield Finding(None, "Kafka was not checked", "give --kafka HOST:PORT")
        return
    yield from check_broker(settings)


def check_python(version: tuple[int, ...]) -> Finding:
    """Check the interpreter's version."""
    text = ".".join(map(str, version))
    if version < MIN_PYTHON:
        return Finding(False, f"Python {text}", "Feedsight needs 3.11 or later")
    return Finding(True, f"Python {text}")


def check_packages() -> Finding:
    """Check that all packages are installed that this version asks for."""
    try:
        wanted = metadata.requires("feedsight") or []
    except metadata.PackageNotFoundError:
        return Finding(False, "feedsight is not installed", "run `make setup` in the checkout")
    names = [re.split(r"[^A-Za-z0-9._-]", line)[0] for line in wanted if "extra ==" not in line]
    missing = [name for name in names if not _installed(name)]
    needed = [name for name in missing if name not in EXPORT_ONLY]
    if needed:
        return Finding(False, f"packages missing: {', '.join(needed)}", "run `make setup` in the checkout")
    if missing:
        return Finding(None, f"no {', '.join(missing)}: models that are not exported yet can't be")
    return Finding(True, f"{len(names)} packages installed")


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def check_processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> Finding:
    """See whether the processor has the instructions that int8 models run fast with."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    what = "1 core" if cores == 1 else f"{cores} cores"
    try:
        flags = set(re.findall(r"^flags\s*:(.*)$", cpuinfo.read_text(), re.MULTILINE)[0].split())
    except (OSError, IndexError):
        return Finding(None, f"{what}; the processor's instructions can't be told here")
    if flags & {"avx512_vnni", "avx_vnni"}:
        return Finding(True, f"{what} with VNNI: int8 models run at full speed")
    if "avx2" in flags:
        return Finding(None, f"{what} with AVX2 and without VNNI: int8 models run, but slower")
    return Finding(None, f"{what} without AVX2: models run slowly", "use `text.model: static` for volume")


def check_memory() -> Finding:
    """Check that there is room for the workers."""
    import psutil

    free = psutil.virtual_memory().available
    what = f"{free / 2**30:.1f} GiB of memory free"
    if free < MIN_FREE_BYTES:
        return Finding(False, what, "a text and an image worker want about 1 GiB together")
    return Finding(True, what)


def check_models() -> Iterator[Finding]:
    """Check the model cache, and what of the defaults is exported."""
    chosen = os.environ.get("FEEDSIGHT_CACHE")
    root = Path(chosen) if chosen else Path.home() / ".cache" / "feedsight"
    existing = root if root.exists() else next(folder for folder in root.parents if folder.exists())
    exported = {
        "sentence model": any(root.glob("text/*/complete")),
        "image model": any(root.glob("efficientnet-lite0-*.onnx")),
    }
    if not os.access(existing, os.W_OK):
        good = None if all(exported.values()) else False
        yield Finding(good, f"the model cache {root} can't be written", "set FEEDSIGHT_CACHE to a folder")
    for name, there in exported.items():
        if there:
            yield Finding(True, f"{name} exported, in {root}")
        else:
            yield Finding(None, f"{name} not exported yet: a worker's first start takes about half a minute")


def check_files(settings: "Settings") -> Iterator[Finding]:
    """Check that the files and folders that the settings name are there and can be read."""
    named = [
        ("text.labels", settings.text.labels),
        ("image.references", settings.image.references),
        *(("image.allowed_folders", folder) for folder in settings.image.allowed_folders),
    ]
    for setting, path in named:
        if path is None:
            continue
        if not path.exists():
            yield Finding(False, f"{setting}: {path} does not exist", "correct the setting or the path")
        elif not os.access(path, os.R_OK):
            yield Finding(False, f"{setting}: {path} can't be read", f"give user {os.getuid()} access")
        else:
            yield Finding(True, f"{setting}: {path}")


def check_broker(settings: "Settings") -> Iterator[Finding]:
    """Check that the broker answers, has the topics, and lets us do what a worker does."""
    from stream.access import group_refused, transactions_refused
    from stream.topics import check_topics
    from workers.errors import PipelineError

    address = settings.kafka.bootstrap
    try:
        states = asyncio.run(check_topics(settings.kafka, settings.topics))
    except PipelineError as error:
        yield Finding(False, error.detail, "is the address right, and does the broker advertise it?")
        return
    yield Finding(True, f"Kafka answers at {address}")
    wrong = [f"{state.spec.name} {state.problem}" for state in states if state.problem]
    if len(wrong) == len(states):
        wrong = [f"none of the {len(states)} is there"]
    if wrong:
        create = f"feedsight topics create --kafka {address}"
        yield Finding(False, f"topics: {'; '.join(wrong)}", f"{create} makes what is missing")
    else:
        yield Finding(True, f"all {len(states)} topics are there")
    refused = asyncio.run(group_refused(settings.kafka, settings.topics))
    if refused:
        yield Finding(False, f"consumer group: {refused}", f"allow READ on groups {settings.kafka.group}.*")
    else:
        yield Finding(True, "consumer group may be read")
    refused = asyncio.run(transactions_refused(settings.kafka))
    if refused:
        advice = (
            f"allow WRITE on transactional ids {settings.kafka.group}.*, or set lane.delivery: at_least_once"
        )
        yield Finding(False, f"transactions: {refused}", advice)
    else:
        yield Finding(True, "transactions are possible: exactly once")
