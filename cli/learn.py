"""`feedsight labels fit` and `feedsight worker learn`: learn from corrections, by hand or as they come."""

import asyncio
import json
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import ConfigOption, KafkaOption, fail, hush_client_logs, read_settings

if TYPE_CHECKING:
    from config import Settings
    from workers.text.lane import Encode


def fit(
    name: Annotated[str, typer.Argument(help="The label set.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure only; publish nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    kafka: KafkaOption = None,
    config: ConfigOption = None,
    prefix: Annotated[str | None, typer.Option("--prefix", help="Prefix of the topics.")] = None,
) -> None:
    """Fit a label set to all corrections, and publish it where that measures better on held-back ones.

    Exit status: 0 published, or nothing to be gained; 1 the broker doesn't answer, 2 no such label set.

    Example: feedsight labels fit crisis --dry-run
    """
    hush_client_logs()
    settings = read_settings(config, {"kafka": {"bootstrap": kafka}, "topics": {"prefix": prefix}})
    from stream.learner import fit_once
    from workers.errors import FatalError, PipelineError

    try:
        found = asyncio.run(fit_once(settings, load_encoder(settings), name, publish=not dry_run))
    except FatalError as error:
        raise fail(error.detail, 2) from error
    except PipelineError as error:
        raise fail(error.detail) from error
    if as_json:
        facts = {"name": name, "version": found.version, "published": found.published}
        typer.echo(json.dumps({**facts, "reason": found.reason, **found.facts}, ensure_ascii=False))
        return
    what = "published" if found.published else "would be published" if found.fit else "kept"
    typer.echo(f"{name} {found.version} {what}: {found.reason}")
    if "stream_accuracy" in found.facts:
        low, high = (float(found.facts[f"stream_accuracy_{end}"] or 0) for end in ("low", "high"))
        right = float(found.facts["stream_accuracy"] or 0)
        drawn = found.facts["stream_count"]
        typer.echo(
            f"on the stream {right:.0%} are right (95 %: {low:.0%} to {high:.0%}; {drawn} drawn by lot)"
        )


def learn(settings: "Settings") -> int:
    """Run the learner; gives the exit status."""
    from stream.learner_app import run_learner

    return run_learner(settings, load_encoder(settings))


def load_encoder(settings: "Settings") -> "Encode":
    """Load the sentence model that the text workers of these settings use.

    Raises:
        FatalError: reason model_load.
    """
    from workers.text.encoders import Encoders

    text = settings.text
    source = text.sentence_model if text.model in ("static", "cascade") else text.model
    encoders = Encoders(source, threads=text.threads)
    encoders.load()
    return encoders.known
