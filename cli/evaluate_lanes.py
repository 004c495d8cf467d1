"""The faster lanes in `feedsight eval`, judged beside the heads."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from workers.text.encoders import Encoders, LaneKind
    from workers.text.heads.base import LabelSpace
    from workers.text.heads.metrics import Probabilities
    from workers.text.heads.trials import Collection, Contestant, Draw

LANES: "Final[tuple[LaneKind, ...]]" = ("static", "cascade")


class LaneContestant:
    """A lane as a worker has it. Its time to fit holds embedding the examples and the stream, too.

    Args:
        name: one of LANES.
        encoders: loaded.
    """

    least_shots = 0
    slow = True

    def __init__(self, name: "LaneKind", encoders: "Encoders") -> None:
        self.name = f"{name} lane"
        self._kind = name
        self._encoders = encoders

    def judge(self, space: "LabelSpace", posts: "Collection", draw: "Draw") -> tuple["Probabilities", float]:
        """Fit to the draw's texts and judge."""
        import numpy as np

        from config import TextSettings
        from workers.text.fitting import create_lane
        from workers.text.lane import Knowledge

        knowledge = Knowledge(
            names=space.names,
            phrases=space.phrases,
            phrase_labels=tuple(space.phrase_labels.tolist()),
            phrase_kinds=space.phrase_kinds,
            examples=tuple(posts.texts[i] for i in draw.examples),
            example_labels=tuple(posts.labels[draw.examples].tolist()),
            unlabelled=tuple(posts.texts[i] for i in draw.unlabelled),
            multi_label=False,
        )
        lane = create_lane(self._kind, TextSettings(), self._encoders)
        started = time.perf_counter()
        lane.fit(knowledge)
        took = time.perf_counter() - started
        batch = self._encoders.batch([posts.texts[i] for i in draw.held_out])
        return lane.predict(batch, np.arange(len(batch))).probabilities, took


def choose_lanes(names: Sequence[str], encoders: "Encoders") -> list["Contestant"]:
    """Build lanes by name.

    Raises:
        FatalError: there is no lane of a name.
    """
    from workers.errors import FatalError

    for name in names:
        if name not in LANES:
            raise FatalError(
                f"no lane {name!r}; there are {' and '.join(LANES)} beside the sentence model's heads"
            )
    return [LaneContestant(kind, encoders) for name in names for kind in LANES if kind == name]
