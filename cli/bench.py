"""`feedsight bench`: measure, against what one would use otherwise, in one run."""

import platform
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from cli.options import fail

if TYPE_CHECKING:
    from stream.bench.engine import Figures


def register(app: typer.Typer) -> None:
    """Add the command."""
    bench = typer.Typer(help="Measure the engine against its peers.", no_args_is_help=True)

    @bench.callback()
    def _group() -> None:
        """Measure the engine against its peers."""

    @bench.command()
    def engine(
        kafka: Annotated[
            str | None, typer.Option(help="Brokers; left out, one is started from FEEDSIGHT_KAFKA_HOME.")
        ] = None,
        posts: Annotated[int, typer.Option(help="Posts a round.", min=1_000)] = 200_000,
        rounds: Annotated[int, typer.Option(help="Counted rounds, after a warm-up.", min=1)] = 3,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    ) -> None:
        """The engine alone, exactly once, with a model that answers at once; all checks and metrics on.

        Beside it, in turn: aiokafka in transactions passing bytes through, by record and by batch, and a
        Faust agent.

        Example: feedsight bench engine --rounds 5
        """
        from stream.bench.engine import compare

        with _broker(kafka) as bootstrap:
            try:
                found = compare(
                    bootstrap,
                    count=posts,
                    rounds=rounds,
                    names=("engine", "raw", "raw-batches", "faust"),
                    said=lambda line: typer.echo(line, err=True),
                )
            except RuntimeError as error:
                raise fail(str(error)) from error
        typer.echo(orjson.dumps([vars(figures) for figures in found]) if as_json else _table(found))

    app.add_typer(bench, name="bench")


@contextmanager
def _broker(kafka: str | None) -> Iterator[str]:
    from stream.local_kafka import LocalKafka, find_kafka_home

    if kafka:
        yield kafka
        return
    home = find_kafka_home()
    if home is None:
        raise fail("no Kafka: give --kafka, or set FEEDSIGHT_KAFKA_HOME and install Java 17", 2)
    with tempfile.TemporaryDirectory() as folder:
        broker = LocalKafka(home, Path(folder))
        broker.start()
        try:
            yield broker.bootstrap
        finally:
            broker.kill()


def _table(found: "list[Figures]") -> str:
    ours = next(figures for figures in found if figures.name == "engine")
    lines = [
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}; medians of "
        f"{len(ours.posts_per_s)} rounds, lowest and highest in brackets",
        f"{'':<12} {'posts/s':>9}  {'':<19} {'CPU µs/post':>11}  engine / this, round by round",
    ]
    for figures in found:
        ratios = [a / b for a, b in zip(ours.posts_per_s, figures.posts_per_s, strict=True)]
        low, high = min(figures.posts_per_s), max(figures.posts_per_s)
        lines.append(
            f"{figures.name:<12} {figures.median:>9,.0f}  {f'({low:,.0f}–{high:,.0f})':<19} "
            f"{statistics.median(figures.cpu_us_per_post):>11.1f}  {statistics.median(ratios):.2f}"
        )
    return "\n".join(lines)
