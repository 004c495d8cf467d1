"""`feedsight bench`: measure, against what one would use otherwise, in one run."""

import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.options import fail

if TYPE_CHECKING:
    from stream.bench.contest import Contestant, Report

KafkaOption = Annotated[
    str | None, typer.Option(help="Brokers; left out, one is started from FEEDSIGHT_KAFKA_HOME.")
]
RoundsOption = Annotated[int, typer.Option(help="Rounds; the contestants take turns in each.", min=1)]
SecondsOption = Annotated[float, typer.Option(help="Measured a contestant and round.", min=0.5)]
WarmupOption = Annotated[float, typer.Option(help="Seconds after the first result, not counted.", min=0)]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write all figures here; - is stdout.")]
PostsOption = Annotated[Path | None, typer.Option(help="Posts, JSON Lines; left out, they are drawn.")]
ImagesOption = Annotated[
    Path | None, typer.Option(help="Folder of pictures; left out, they are drawn, 224².")
]
LabelsOption = Annotated[
    Path | None, typer.Option(help="Label-set file; left out, four sections of the news.")
]
ModelsOption = Annotated[list[str] | None, typer.Option("--model", help="Lane to measure; may be repeated.")]
AgainstOption = Annotated[
    list[str] | None, typer.Option("--against", help="Peer to run beside; may be repeated; `none` is none.")
]

ENGINE_PEERS: Final = ("raw", "raw-batches", "faust")
TEXT_LANES: Final = ("sentence", "static", "cascade")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    from cli import bench_lanes

    bench = typer.Typer(help="Measure engine, models and lanes against their peers.", no_args_is_help=True)

    @bench.callback()
    def _group() -> None:
        """Measure engine, models and lanes against their peers."""

    bench.command()(engine)
    bench.command()(text)
    bench.command()(image)
    bench.command()(match)
    bench_lanes.register(bench)
    app.add_typer(bench, name="bench")


def engine(
    kafka: KafkaOption = None,
    posts: Annotated[int, typer.Option(help="Posts a round.", min=1_000)] = 200_000,
    rounds: RoundsOption = 3,
    against: AgainstOption = None,
    json_file: JsonOption = None,
) -> None:
    """The engine alone, exactly once, with a model that answers at once; all checks and metrics on.

    Beside it, in turn: aiokafka in transactions passing bytes through, by record (`raw`) and by batch
    (`raw-batches`), and a Faust agent (`faust`). One round goes before as a warm-up.

    Example: feedsight bench engine --rounds 5
    """
    from stream.bench.engine import compare

    names = ("engine", *_chosen(against, ENGINE_PEERS))
    with broker(kafka) as bootstrap:
        report = run(
            "The engine alone, exactly once; a model that answers at once",
            "posts_per_s",
            lambda: compare(bootstrap, count=posts, rounds=rounds, names=names, said=say),
            {"posts": posts, "rounds": rounds},
        )
    show(report, json_file)


def text(
    posts: PostsOption = None,
    labels: LabelsOption = None,
    model: ModelsOption = None,
    against: AgainstOption = None,
    rounds: RoundsOption = 3,
    seconds: SecondsOption = 8.0,
    warmup: WarmupOption = 2.0,
    threads: Annotated[int, typer.Option(help="Of the lanes; 0 takes all cores.", min=0)] = 0,
    json_file: JsonOption = None,
) -> None:
    """The text lanes with no stream around them, against `SentenceTransformer.encode`.

    Peers: `plain-each` calls it for each text, `plain-batches` with 256 texts at a time.

    Example: feedsight bench text --posts posts.jsonl --rounds 3
    """
    from stream.bench.lanes import Bench, without_stream
    from stream.bench.observe import Window

    bench = Bench("", "", "text", Window(warmup, seconds, 0), label_file(labels), posts)
    names = [*(model or TEXT_LANES), *_chosen(against, ("plain-batches", "plain-each"))]
    _models("Text with no stream around it", bench, names, rounds, threads, json_file, without_stream)


def image(
    images: ImagesOption = None,
    against: AgainstOption = None,
    rounds: RoundsOption = 3,
    seconds: SecondsOption = 8.0,
    warmup: WarmupOption = 2.0,
    threads: Annotated[int, typer.Option(help="Of the lane; 0 takes all cores.", min=0)] = 0,
    json_file: JsonOption = None,
) -> None:
    """The image lane with no stream around it, encoded bytes to a verdict, against torch eager.

    Peers: `eager-each` runs torch image by image, `eager-batches` 32 at a time.

    Example: feedsight bench image --images photos/
    """
    from stream.bench.lanes import Bench, without_stream
    from stream.bench.observe import Window

    bench = Bench("", "", "image", Window(warmup, seconds, 0), label_file(None), images)
    names = ["similarity", *_chosen(against, ("eager-batches", "eager-each"))]
    _models("Images with no stream around them", bench, names, rounds, threads, json_file, without_stream)


def match(
    size: Annotated[
        list[int] | None, typer.Option(help="Vectors in the gallery; may be repeated.", min=100)
    ] = None,
    index: Annotated[str | None, typer.Option(help="FAISS's description of the index.")] = None,
    rounds: RoundsOption = 3,
    json_file: JsonOption = None,
) -> None:
    """Search in a gallery, a query at a time, top 10 of 1,712 dimensions, against numpy.

    Example: feedsight bench match --size 10000 --size 100000
    """
    from stream.bench.contest import take_turns
    from stream.bench.search import searchers

    def measured() -> list[Any]:
        rows = []
        for count in size or (1_000, 20_000, 100_000):
            rows += take_turns(searchers(count, index), rounds, say)
        return rows

    show(run("Search in galleries", "per_s", measured, {"index": index, "rounds": rounds}), json_file)


def _models(
    title: str,
    bench: Any,
    names: list[str],
    rounds: int,
    threads: int,
    json_file: Path | None,
    contestant: Any,
) -> None:
    from stream.bench.contest import take_turns

    contestants: list[Contestant] = [contestant(bench, name, threads=threads, name=name) for name in names]
    asked = {"inputs": bench.inputs.name if bench.inputs else "drawn", "rounds": rounds, "threads": threads}
    show(run(title, "per_s", lambda: take_turns(contestants, rounds, say), asked), json_file)


def run(title: str, figure: str, measure: Any, settings: dict[str, object]) -> "Report":
    """Take the machine's facts, measure, and make a report of it."""
    from stream.bench.contest import Report
    from stream.bench.hardware import machine

    facts = machine()  # the load before the run, not of it
    try:
        rows = measure()
    except (RuntimeError, ValueError) as error:
        raise fail(str(error)) from error
    return Report(title, figure, rows, machine=facts, settings=settings)


def show(report: "Report", json_file: Path | None) -> None:
    """Print and keep a report."""
    from cli.bench_table import show as shown

    shown(report, json_file)


def say(line: str) -> None:
    """Progress, on stderr."""
    typer.echo(line, err=True)


def label_file(given: Path | None) -> Path:
    """The label set to measure with."""
    return given or Path(__file__).resolve().parents[1] / "config" / "labels" / "news_topics.yaml"


def _chosen(given: list[str] | None, known: tuple[str, ...]) -> tuple[str, ...]:
    """The peers asked for; all where none is named.

    Raises:
        typer.Exit: status 2, one is not known.
    """
    if given is None:
        return known
    if given == ["none"]:
        return ()
    for name in given:
        if name not in known:
            raise fail(f"no such peer: {name} (there are: {', '.join(known)})", 2)
    return tuple(given)


@contextmanager
def broker(kafka: str | None) -> Iterator[str]:
    """The broker named, or one of our own for the while."""
    from stream.local_kafka import LocalKafka, find_kafka_home

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # neither broker nor workers outlive the bench
    if kafka:
        yield kafka
        return
    home = find_kafka_home()
    if home is None:
        raise fail("no Kafka: give --kafka, or set FEEDSIGHT_KAFKA_HOME and install Java 17", 2)
    with tempfile.TemporaryDirectory() as folder:
        started = LocalKafka(home, Path(folder))
        started.start()
        try:
            yield started.bootstrap
        finally:
            started.kill()
