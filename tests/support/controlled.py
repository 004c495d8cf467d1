"""A lane with its control topic, in the test's own event loop; and a worker whose labels are words."""

import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from config import Settings
from schemas import LabelSet, Post, TextResult
from stream.app import lane_spec
from stream.control import Control
from stream.lane import Lane
from stream.metrics import Exposition, LaneMetrics
from stream.reports import Reports
from stream.topics import TopicNames, create_topics
from stream.watchdog import Watchdog
from tests.support.lanes import NeverEnds
from workers.base import Applied, Change
from workers.errors import FatalError, PipelineError
from workers.text.control import read_change
from workers.text.label_set import ARCHIVE_MARK
from workers.text.results import Answer, result_of, shared_fields


class FirstLabelWorker:
    """Gives each post the first label of each label set; needs no model."""

    model = "first"

    def __init__(self) -> None:
        self.sets: dict[str, LabelSet] = {}
        self.ready = False
        self.gate = threading.Event()
        """Batches wait for it."""
        self.gate.set()

    @property
    def version(self) -> str:
        return ",".join(f"{name}={found.version}" for name, found in sorted(self.sets.items()))

    @property
    def in_force(self) -> Mapping[str, str]:
        return {name: str(found.version) for name, found in self.sets.items()} if self.ready else {}

    @property
    def routes(self) -> Mapping[str, str]:
        return {name: found.route for name, found in self.sets.items() if found.route}

    def apply_changes(self, changes: Sequence[Change]) -> list[Applied]:
        applied = []
        for change in changes:
            if ARCHIVE_MARK in change.key:
                continue
            version = None
            refused = None
            if change.value is None:
                kept = {name: found for name, found in self.sets.items() if name != change.key}
                self.ready = bool(kept)
                self.sets = kept or self.sets
            else:
                try:
                    label_set = read_change(change)
                    version = str(label_set.version)
                    self.sets = (
                        self.sets | {label_set.name: label_set} if self.ready else {change.key: label_set}
                    )
                    self.ready = True
                except FatalError as error:
                    refused = error.detail
            applied.append(
                Applied(
                    change.key,
                    version,
                    refused,
                    removed=change.value is None,
                    published_ms=change.timestamp_ms,
                )
            )
        return applied

    def load(self) -> None:
        return

    def cost(self, message: Post) -> int:
        return len(message.text)

    def prepare(self, batch: Sequence[Post]) -> Sequence[Post | PipelineError]:
        return batch

    def run(self, prepared: Sequence[Post | PipelineError]) -> Sequence[Any]:
        self.gate.wait(30)
        sets = self.sets
        return [
            tuple(_result(post, found) for found in sets.values()) if isinstance(post, Post) else post
            for post in prepared
        ]


def _result(post: Post, label_set: LabelSet) -> TextResult:
    label = label_set.labels[0].name
    shared = shared_fields("first", label_set.name, str(label_set.version))
    answer = Answer(shared, label, (label,), (1.0,), 1.0, finite=True, labels=None, evidence=None)
    made = result_of(answer, post.id, post.id)
    made.__dict__["review"] = ("random",) if "look" in post.text else None
    return made


@asynccontextmanager
async def controlled(
    settings: Settings, worker: Any, name: str = "w1", *, topics: bool = True
) -> AsyncIterator[Lane]:
    """A lane, its control and its reports, until the block ends."""
    if topics:
        await create_topics(settings.kafka, settings.topics)
    reports = Reports(settings, name)
    control = Control(
        settings.kafka,
        TopicNames(settings.topics.prefix).label_sets,
        worker,
        lambda applied, took_s: reports.applied("text", applied, took_s),
    )
    metrics = LaneMetrics("text", name, Exposition())
    watchdog = Watchdog(600, timer=NeverEnds())
    lane = Lane(lane_spec("text", settings), worker, settings, metrics, watchdog, control=control)
    reports.lanes.append(lane)
    services = (reports, control, lane)
    for service in services:
        await service.start()
    try:
        yield lane
    finally:
        for service in reversed(services):
            await service.stop()
