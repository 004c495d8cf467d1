"""Drift: when a campaign's stream is no longer what it was when the labels came in force.

Posts are summed in blocks. The first ones, or those of the last hours, are the reference that snapshots
compare the present with. drift_alarm tells when there is a change; this module says it to people, once.
"""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from config import DriftSettings
from schemas.base import Json
from workers.text.drift_alarm import Alarm, Change
from workers.text.drift_windows import LEVELS, SIGNALS, Block, Reference, merge

FLOOR_SHARE: Final = 0.1
"""Blocks that vary by less than this share of what is reported are taken to vary by that much."""


@dataclass(frozen=True)
class Drift:
    """A stream that is no longer what it was.

    Attributes:
        effects: by signal, those beyond the settings: see Reference.effects.
        since: when it began, in seconds since the epoch, to a block.
        posts: posts since then.
        before: levels and, for `label`, its share in the reference.
        after: the same since then.
        label: the label whose share changed most.
    """

    effects: dict[str, float]
    since: float
    posts: int
    before: dict[str, float]
    after: dict[str, float]
    label: str | None

    @property
    def detail(self) -> str:
        """One line for a person."""
        parts = []
        for name, effect in self.effects.items():
            if name == "shares":
                moved = f" ({self.label} {self._change('label')})" if self.label else ""
                parts.append(f"label shares {effect:.2f} bits apart{moved}")
            elif name == "embedding":
                parts.append(f"texts {effect:.2f} apart")
            elif name == "novelty":
                parts.append(f"novelty {self.before[name]:.2f} → {self.after[name]:.2f}")
            else:
                what = "without a label" if name == "abstained" else name
                parts.append(f"{what} {self._change(name)}")
        begun = datetime.fromtimestamp(self.since, UTC)
        return f"drift since {begun:%H:%M:%S} UTC ({self.posts:,} posts): {', '.join(parts)}"

    @property
    def facts(self) -> dict[str, Json]:
        """Numbers and words for programs."""
        found: dict[str, Json] = {name: round(effect, 4) for name, effect in self.effects.items()}
        found["since"] = datetime.fromtimestamp(self.since, UTC).isoformat(timespec="seconds")
        found["posts"] = self.posts
        if self.label:
            found |= {
                "label": self.label,
                "label_before": round(self.before["label"], 4),
                "label_after": round(self.after["label"], 4),
            }
        return found

    def _change(self, name: str) -> str:
        return f"{self.before[name]:.0%} → {self.after[name]:.0%}"


class Reading(NamedTuple):
    """Where a campaign's stream stands now, over the last blocks.

    Attributes:
        novelty: mean distance to all that is known of the labels; None before the first post.
        drift: how far it is from the reference, by signal; None until there is a reference. See
            Reference.effects.
    """

    novelty: float | None
    drift: dict[str, float] | None


class DriftMonitor:
    """Watches one label set in one worker. One thread feeds it, another may look on.

    It holds no clock: times come with the batches, by the worker's clock or the records' own.

    Args:
        labels: names of the L labels.
        settings: sizes of windows, and what is reported.
    """

    def __init__(self, labels: Sequence[str], settings: DriftSettings) -> None:
        self._names = tuple(labels)
        self._settings = settings
        thresholds: dict[str, float] = {name: getattr(settings, name) for name in SIGNALS}
        floors = {name: FLOOR_SHARE * least for name, least in thresholds.items()}
        floors["shares"] = FLOOR_SHARE**2 * thresholds["shares"]  # bits are like squares
        hours = settings.reference_hours
        self._alarm = Alarm(
            thresholds,
            floors,
            reference_posts=settings.reference_posts,
            next_posts=settings.reference_posts // 2,
            trailing_s=None if hours is None else 3_600 * hours,
        )
        self._lock = threading.Lock()
        self._block: Block | None = None
        self._reference: Reference | None = None
        self._recent: deque[Block] = deque(maxlen=settings.window_blocks)
        self._said_at: dict[str, float] = {}

    def observe(
        self,
        labels: NDArray[np.integer],
        probabilities: NDArray[np.float32],
        novelty: NDArray[np.float32],
        mean: NDArray[np.float32] | None,
        at: float,
        *,
        embedded: int | None = None,
    ) -> Drift | None:
        """Take in a batch.

        Args:
            labels: index of the label given to each post, -1 where there is none; shape (n,).
            probabilities: of the best label, in [0, 1]; shape (n,).
            novelty: distance, 1 - cosine, to the nearest thing known of the labels; shape (n,).
            mean: of the embeddings of those posts that were embedded, unit vectors; shape (d,). None where
                no post was.
            at: seconds since the epoch, not falling.
            embedded: how many posts `mean` is of; left out, all of them.

        Returns:
            A drift, when one is found.
        """
        if not len(labels):
            return None
        with self._lock:
            if self._block is None:
                self._block = Block.empty(at, len(self._names))
            block = self._block
            block.add(at, labels, probabilities, novelty)
            if mean is not None:
                block.add_embeddings(mean, len(labels) if embedded is None else embedded)
            if block.posts < self._settings.block_posts or at - block.started < self._settings.block_s:
                return None
            self._block = None
            return self._judge(block)

    def reading(self) -> Reading:
        """Where the stream stands now."""
        with self._lock:
            blocks = [*self._recent, *([self._block] if self._block else [])]
            if not blocks:
                return Reading(None, None)
            window = merge(blocks)
            novelty = round(float(window.levels[LEVELS.index("novelty")]), 4)
            if self._reference is None:
                return Reading(novelty, None)
            effects = self._reference.effects(window, len(blocks))
            return Reading(novelty, {name: round(effect, 4) for name, effect in effects.items()})

    def _judge(self, block: Block) -> Drift | None:
        """Hold a full block against the reference; what was said within the cool-down is not said again."""
        change = self._alarm.judge(block)
        if self._reference is None or self._settings.reference_hours is not None:
            self._reference = self._alarm.reference
        self._recent.append(block)
        if change is None:
            return None
        quiet_s = self._settings.cooldown_s
        last = self._said_at
        new = [name for name in change.effects if block.ended - last.get(name, -np.inf) >= quiet_s]
        if not new:
            return None
        self._said_at |= dict.fromkeys(change.effects, block.ended)
        return self._describe(change)

    def _describe(self, change: Change) -> Drift:
        before = dict(zip(LEVELS, change.before.levels.tolist(), strict=True))
        after = dict(zip(LEVELS, change.after.levels.tolist(), strict=True))
        label = None
        if "shares" in change.effects:
            former, present = (
                block.labels / max(int(block.labels.sum()), 1) for block in (change.before, change.after)
            )
            most = int(np.abs(present - former).argmax())
            label = self._names[most]
            before["label"], after["label"] = float(former[most]), float(present[most])
        return Drift(change.effects, change.after.started, change.after.posts, before, after, label)
