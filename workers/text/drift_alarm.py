"""When a stream has changed: river's detectors on blocks, and whether what they found matters.

A detector that fires says that something changed, not that it matters. So a change is told only where the
posts since then lie farther from the reference than the settings say, and farther than chance would have
them. What is told becomes the new normal: the posts since then are the next reference, and a further change
is seen against them.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from workers.text.drift_windows import DISTANCES, SIGNALS, Block, Reference, merge

REFERENCE_BLOCKS: Final = 20
"""Blocks of a first reference at least: fewer say too little of how much blocks vary among themselves."""

NEXT_REFERENCE_BLOCKS: Final = 10
"""Blocks of the reference after a change, so that the next one is not missed meanwhile."""

TRAILING_BLOCKS: Final = 48
"""Blocks that stand for the last hours, evenly spread over them."""

RECENT_BLOCKS: Final = 32
"""Blocks kept, among which the beginning of a change is looked for."""

CLIP: Final = 5.0
"""Standard deviations at most that one block counts: a change takes three blocks, one odd block is none."""

PH_DELTA: Final = 0.5
"""Page-Hinkley's allowance, in standard deviations: half of the smallest shift worth finding soon."""

PH_THRESHOLD: Final = 13.0
"""Page-Hinkley's threshold, in standard deviations: three blocks at the clip."""

ADWIN_DELTA: Final = 1e-4
"""ADWIN's bound on a false alarm at each look."""

LOOKS: Final = 20
"""Blocks after a detector fired in which it is seen whether the change matters."""


class Change(NamedTuple):
    """A change that matters.

    Attributes:
        effects: by signal, those that moved farther than the settings say; see Reference.effects.
        before: the reference.
        after: the posts since the change.
    """

    effects: dict[str, float]
    before: Block
    after: Block


def warm_up() -> None:
    """Import river, which takes half a second and 34 MB; nobody who watches no stream needs it."""
    import river.drift  # noqa: F401


class _Detectors:
    """river's detectors for one signal."""

    def __init__(self, name: str) -> None:
        from river.drift import ADWIN, PageHinkley

        mode = "up" if name in DISTANCES else "both"
        self._jump: Any = PageHinkley(min_instances=10, delta=PH_DELTA, threshold=PH_THRESHOLD, mode=mode)
        self._creep: Any = ADWIN(delta=ADWIN_DELTA, clock=4, grace_period=10)  # type: ignore[no-untyped-call]

    def update(self, deviation: float) -> bool:
        """Take in a block's deviation, in standard deviations; whether its mean has changed."""
        clipped = min(max(deviation, -CLIP), CLIP)
        self._jump.update(clipped)
        self._creep.update(0.5 + clipped / (2 * CLIP))  # ADWIN's bounds are for values in [0, 1]
        return bool(self._jump.drift_detected or self._creep.drift_detected)


class Alarm:
    """Tells when blocks are no longer like those of its reference.

    Args:
        thresholds: by signal, from where on a change matters.
        floors: see Reference.
        reference_posts: of the first reference, at least.
        next_posts: of the reference after a change, at least.
        trailing_s: the reference follows the last so many seconds; None: it stays.
    """

    def __init__(
        self,
        thresholds: dict[str, float],
        floors: dict[str, float],
        *,
        reference_posts: int,
        next_posts: int,
        trailing_s: float | None,
    ) -> None:
        self.reference: Reference | None = None
        self._thresholds = thresholds
        self._floors = floors
        self._next_posts = next_posts
        self._trailing_s = trailing_s
        self._start((), reference_posts, REFERENCE_BLOCKS)

    def _start(self, blocks: Sequence[Block], posts: int, least: int) -> None:
        """Gather a reference, beginning with these blocks."""
        self._gathering = True
        self._kept = list(blocks)
        self._wanted = posts, least
        self._recent: deque[tuple[Block, dict[str, float]]] = deque(maxlen=RECENT_BLOCKS)
        self._detectors: dict[str, _Detectors] = {}
        self._fired = dict.fromkeys(SIGNALS, 0)
        self._settle()

    def judge(self, block: Block) -> Change | None:
        """Take in the next block; a change that matters, where there is one."""
        if self._gathering or self.reference is None:
            self._kept.append(block)
            self._settle()
            return None
        deviations = self.reference.standardise(block)
        self._recent.append((block, deviations))
        for name in SIGNALS:
            fired = self._detectors[name].update(deviations[name])
            self._fired[name] = LOOKS if fired else max(self._fired[name] - 1, 0)
        change = self._look()
        if change is None and self._trailing_s is not None:
            self._follow(block.ended, self._trailing_s)
        return change

    def _settle(self) -> None:
        """Take the blocks gathered as the reference once they are enough; detectors learn how they vary."""
        posts, least = self._wanted
        if len(self._kept) < least or sum(block.posts for block in self._kept) < posts:
            return
        self.reference = Reference(self._kept, self._floors)
        self._detectors = {name: _Detectors(name) for name in SIGNALS}
        for block in self._kept:
            for name, deviation in self.reference.standardise(block).items():
                self._detectors[name].update(deviation)
        self._gathering = False
        if self._trailing_s is None:
            self._kept.clear()

    def _look(self) -> Change | None:
        fired = [name for name in SIGNALS if self._fired[name]]
        if not fired or self.reference is None:
            return None
        blocks = self._since(fired)
        window = merge(blocks)
        effects = self.reference.effects(window, len(blocks))
        certain = self.reference.certain(window, len(blocks))
        large = {
            name: effect
            for name, effect in effects.items()
            if name in certain and abs(effect) >= self._thresholds[name]
        }
        if not any(name in large for name in fired):
            return None
        before = self.reference.whole
        self._start(blocks, self._next_posts, NEXT_REFERENCE_BLOCKS)
        return Change(large, before, window)

    def _since(self, fired: Sequence[str]) -> list[Block]:
        """The recent blocks from where signals left the reference: the likeliest place of one step."""
        clipped = np.clip([[seen[name] for name in fired] for _, seen in self._recent], -CLIP, CLIP)
        totals = np.cumsum(clipped[::-1], axis=0)
        gains = (totals**2).sum(axis=1) / np.arange(1, len(totals) + 1)
        gains[0] = 0.0  # one block alone is no change
        last = int(gains.argmax()) + 1
        return [block for block, _ in self._recent][-last:]

    def _follow(self, now: float, span_s: float) -> None:
        """Let the reference follow, in steps; the last blocks stay out, or it would follow any change."""
        step_s = span_s / TRAILING_BLOCKS
        settled = [block for block, _ in self._recent][:-10]
        due = [block for block in settled if block.started >= self._kept[-1].started + step_s]
        if not due:
            return
        self._kept.append(due[0])
        while len(self._kept) > REFERENCE_BLOCKS and self._kept[0].ended < now - span_s:
            self._kept.pop(0)
        self.reference = Reference(self._kept, self._floors)
