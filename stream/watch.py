"""Tells people what happens in the stream: bursts of one story, and drift of a campaign.

It looks on at what was committed. Nothing of it is part of delivery: whatever goes wrong here is logged, and
the lane goes on. A lane commits up to a few hundred times a second, and a look at one post takes 0.1 ms, at a
hundred 0.5: so it looks at some hundred at a time, or ten times a second.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, runtime_checkable

from config import DriftSettings, Settings
from schemas import Post
from stream.metrics import Exposition
from stream.records import Item
from workers.text.bursts import BurstFinder
from workers.text.bursts_story import Seen
from workers.text.campaign_watch import CampaignWatch
from workers.text.drift import Reading
from workers.text.drift_alarm import warm_up
from workers.text.drift_windows import SIGNALS
from workers.text.results import TEXT_RESULTS

logger = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 0.1

LOOK_AT: Final = 256
"""Answers that are looked at without waiting for more."""


class WatchedCampaign(Protocol):
    """A label set in force."""

    name: str
    version: str
    watch: CampaignWatch | None


@runtime_checkable
class Watched(Protocol):
    """A worker whose campaigns can be watched."""

    @property
    def campaigns(self) -> Sequence[WatchedCampaign]:
        """In force."""

    def watch_drift(self, settings: DriftSettings) -> None:
        """Look for drift from now on."""


class StreamWatch:
    """Watches a text lane. One event loop owns it.

    Args:
        settings: the sections `drift` and `bursts`.
        lane: its name.
        worker: whose campaigns are watched.
        exposition: counts what was told.
        tell: takes the facts of a WorkerEvent.
    """

    def __init__(
        self,
        settings: Settings,
        lane: str,
        worker: Watched,
        exposition: Exposition,
        tell: Callable[..., None],
    ) -> None:
        self._lane = lane
        self._worker = worker
        self._exposition = exposition
        self._tell = tell
        self._finder = BurstFinder(settings.bursts) if settings.bursts.enabled else None
        self._unseen: list[Item] = []
        self._failed = False
        exposition.bursts.labels(
            lane
        )  # from 0 on: Prometheus sees no increase in a series that begins with 1
        if settings.drift.enabled:  # imported beside, so that the first posts need not wait
            threading.Thread(target=warm_up, name="warm-up", daemon=True).start()
            worker.watch_drift(settings.drift)

    def committed(self, answers: Sequence[Item]) -> None:
        """Keep what a lane has committed for the next look; look at once where that is much already."""
        if self._finder is not None and not self._failed:
            self._unseen.extend(answers)
            if len(self._unseen) >= LOOK_AT:
                self.look()

    def look(self) -> None:
        """Look at what was committed since the last look."""
        answers, self._unseen = self._unseen, []
        if self._failed:
            return
        try:
            self._bursts(answers)
            self._drifts()
        except Exception:  # a watcher must never stop what it watches
            logger.exception("lane %s is not watched for bursts and drift any more", self._lane)
            self._failed = True

    def readings(self) -> Mapping[str, Reading]:
        """Where the stream of each campaign stands now."""
        found = {}
        for campaign in self._worker.campaigns:
            if campaign.watch is None:
                continue
            for signal in SIGNALS:  # from 0 on, like the bursts
                self._exposition.drifts.labels(self._lane, campaign.name, signal)
            found[campaign.name] = campaign.watch.reading()
        return found

    def _bursts(self, answers: Sequence[Item]) -> None:
        if self._finder is None:
            return
        seen = [_seen(answer) for answer in answers if isinstance(answer.message, Post)]
        for burst in self._finder.observe(seen):
            if not burst.again:
                self._exposition.bursts.labels(self._lane).inc()
            self._tell(kind="burst", detail=burst.detail, facts=burst.facts)

    def _drifts(self) -> None:
        for campaign in self._worker.campaigns:
            if campaign.watch is None:
                continue
            for drift in campaign.watch.take():
                for signal in drift.effects:
                    self._exposition.drifts.labels(self._lane, campaign.name, signal).inc()
                self._tell(
                    kind="drift",
                    name=campaign.name,
                    version=campaign.version,
                    detail=drift.detail,
                    facts=drift.facts,
                )


def _seen(answer: Item) -> Seen:
    """A post as the burst finder sees it; times are Kafka's."""
    post: Any = answer.message
    outcome: Any = answer.outcome
    if isinstance(outcome, tuple):
        outcome = outcome[0] if outcome else None
    at = answer.record.timestamp / 1_000
    if not isinstance(outcome, TEXT_RESULTS):
        return Seen(post.id, post.text, at)
    return Seen(post.id, post.text, at, outcome.label, outcome.duplicate_of)
