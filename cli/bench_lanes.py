"""`feedsight bench end-to-end` and `scale`: whole lanes on a broker."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import psutil
import typer

from cli import bench as shared
from cli.bench import (
    AgainstOption,
    ImagesOption,
    JsonOption,
    KafkaOption,
    LabelsOption,
    ModelsOption,
    PostsOption,
    RoundsOption,
    SecondsOption,
    WarmupOption,
)

if TYPE_CHECKING:
    from stream.bench.contest import Contestant, Report, Row
    from stream.bench.lanes import Bench

DEFAULT_MODELS: Final = {"text": ("sentence", "static"), "image": ("similarity",)}


def register(bench: typer.Typer) -> None:
    """Add the commands."""
    bench.command("end-to-end")(end_to_end)
    bench.command()(scale)


def end_to_end(
    lane: Annotated[Literal["text", "image"], typer.Option(help="What to send.")] = "text",
    kafka: KafkaOption = None,
    posts: PostsOption = None,
    images: ImagesOption = None,
    labels: LabelsOption = None,
    model: ModelsOption = None,
    against: AgainstOption = None,
    load: Annotated[
        str, typer.Option(help="Latency is taken at these percentages of the rate found; empty: not taken.")
    ] = "10,50,90",
    rounds: RoundsOption = 3,
    seconds: SecondsOption = 8.0,
    warmup: WarmupOption = 2.0,
    json_file: JsonOption = None,
) -> None:
    """Whole lanes, from a topic to committed results, exactly once, as `feedsight worker` runs them.

    Beside each stands its model with no stream around it. Peers for text: aiokafka with `encode` on batches
    (`aiokafka`), a Faust agent that calls `encode` for each message (`faust`), the same with `take()`
    (`faust-take`), a FastStream subscriber (`faststream`, where it is installed); for images torch eager
    one by one and in batches (`eager-each`, `eager-batches`). Then latency: from produce to the committed
    result in a subscriber's hands, posts arriving at random.

    Example: feedsight bench end-to-end --model static --against faust --rounds 3
    """
    from stream.bench import lanes

    models = model or list(DEFAULT_MODELS[lane])
    peers = shared._chosen(against, lanes.TEXT_PEERS if lane == "text" else lanes.IMAGE_PEERS)
    peers = tuple(name for name in peers if lanes.installed(name))
    loads = [float(share) / 100 for share in load.split(",") if share.strip()]
    inputs = posts if lane == "text" else images
    with shared.broker(kafka) as bootstrap, _bench(bootstrap, lane, kafka, labels, inputs) as bench:
        bench = lanes.with_window(bench, models[0], warmup_s=warmup, seconds=seconds)
        for name in models[1:]:
            other = lanes.with_window(bench, name, warmup_s=warmup, seconds=seconds)
            bench = max(bench, other, key=lambda one: one.window.total)

        def measured() -> "list[Row]":
            from stream.bench.contest import take_turns

            lanes.fill(bench)
            contestants: list[Contestant] = []
            for name in models:
                contestants += [lanes.ours(bench, name), lanes.without_stream(bench, name)]
            return take_turns(
                [*contestants, *(lanes.peer(bench, name) for name in peers)], rounds, shared.say
            )

        report = shared.run(
            f"{lane.capitalize()} end to end, exactly once, one process",
            "per_s",
            measured,
            {"models": models, "rounds": rounds, "seconds": seconds, "inputs": _named(bench.inputs)},
        )
        for name in models:
            _add_shares(report, name, peers)
            if loads:
                _add_latency(report, bench, name, loads)
    shared.show(report, json_file)


def scale(
    lane: Annotated[Literal["text", "image"], typer.Option(help="What to send.")] = "text",
    kafka: KafkaOption = None,
    posts: PostsOption = None,
    images: ImagesOption = None,
    labels: LabelsOption = None,
    model: Annotated[str | None, typer.Option(help="The lane's model or mode.")] = None,
    processes: Annotated[str, typer.Option(help="Numbers of processes, joined by commas.")] = "1,2",
    rounds: RoundsOption = 3,
    seconds: SecondsOption = 8.0,
    warmup: WarmupOption = 4.0,
    json_file: JsonOption = None,
) -> None:
    """One worker process against several, each model with one thread, on the same topic.

    The broker's processor time is told beside the rates: on a machine that it shares with the workers they
    have so much less.

    Example: feedsight bench scale --model sentence --processes 1,2
    """
    from stream.bench import lanes
    from stream.bench.contest import take_turns

    chosen = model or DEFAULT_MODELS[lane][0]
    counts = [int(count) for count in processes.split(",")]
    inputs = posts if lane == "text" else images
    with shared.broker(kafka) as bootstrap, _bench(bootstrap, lane, kafka, labels, inputs) as bench:
        bench = lanes.with_window(bench, chosen, warmup_s=warmup, seconds=seconds)
        contestants = [
            lanes.ours(
                bench, chosen, "--threads", str(count), "--processes", str(count), name=f"{count} processes"
            )
            for count in counts
        ]

        def measured() -> "list[Row]":
            lanes.fill(bench)
            return take_turns(contestants, rounds, shared.say)

        asked: dict[str, object] = {"model": chosen, "rounds": rounds, "seconds": seconds}
        report = shared.run(f"Scale: {lane}, {chosen}", "per_s", measured, asked)
    for row in report.rows[1:]:
        ratio = report.ratio(row.name, report.rows[0].name)
        report.facts[f"{row.name} against {report.rows[0].name}"] = _rounded(ratio)
    shared.show(report, json_file)


@contextmanager
def _bench(
    bootstrap: str, lane: Any, kafka: str | None, labels: Path | None, inputs: Path | None
) -> "Iterator[Bench]":
    from stream.bench.lanes import Bench, new_prefix
    from stream.bench.observe import Window
    from stream.bench.pictures import write_gallery

    with tempfile.TemporaryDirectory() as folder:
        gallery = Path(folder) if lane == "image" else None
        if gallery is not None:
            write_gallery(gallery)
        yield Bench(
            bootstrap,
            new_prefix(),
            lane,
            Window(0, 0, 0),
            shared.label_file(labels),
            inputs,
            gallery,
            broker_pid=None if kafka else _broker_pid(),
        )


def _broker_pid() -> int | None:
    """The broker that this process started."""
    children = psutil.Process().children(recursive=True)
    return next((child.pid for child in children if "java" in child.name()), None)


def _add_shares(report: "Report", model: str, peers: tuple[str, ...]) -> None:
    share = report.ratio(model, f"{model}, no stream")
    report.facts[f"{model}: share of the model's own rate"] = _rounded(share)
    for name in peers:
        report.facts[f"{model} / {name}"] = _rounded(report.ratio(model, name))


def _add_latency(report: "Report", bench: "Bench", model: str, loads: list[float]) -> None:
    from stream.bench.contest import Row
    from stream.bench.latency import latency

    row = report.row(model)
    rate = row.median("per_s") if row is not None else None
    if rate is None:
        return
    try:
        found = latency(bench, model, {f"{share:.0%}": share * rate for share in loads})
    except RuntimeError as error:
        report.rows.append(Row(f"{model}, latency", [], str(error)))
        return
    for share, figures in found.items():
        report.rows.append(Row(f"{model} at {share}", [figures]))
        shared.say(f"{model} at {share}: p50 {figures['p50_ms']:.1f} ms, p99 {figures['p99_ms']:.1f} ms")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _named(inputs: Path | None) -> str:
    return inputs.name if inputs else "drawn"
