"""A worker process without a model, set by the environment: `python -m tests.support.secure_worker LANE`."""

import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from config import load_settings
from schemas import ImageMessage, ImageResult
from stream import app
from tests.support.workers import EchoWorker
from workers.base import Applied, Change


class FollowingWorker(EchoWorker):
    """Labels every post `seen`, and takes every change of its labels."""

    ready = True
    in_force: Mapping[str, str] = {}

    def apply_changes(self, changes: Sequence[Change]) -> list[Applied]:
        return [Applied(change.key, "1", change.published_ms) for change in changes]


class LookingWorker(FollowingWorker):
    """Matches every image."""

    def cost(self, message: Any) -> int:
        return 1

    def run(self, prepared: Sequence[Any]) -> Sequence[Any]:
        return [
            ImageResult(
                id=image.id,
                mode="similarity",
                verdict="match",
                score=1.0,
                threshold=0.5,
                model=self.model,
                gallery="none",
                version=self.version,
                width=1,
                height=1,
            )
            for image in prepared
            if isinstance(image, ImageMessage)
        ]


def main(lane: str = "text") -> int:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    worker = FollowingWorker() if lane == "text" else LookingWorker()
    return app.run(load_settings(), {lane: worker})


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
