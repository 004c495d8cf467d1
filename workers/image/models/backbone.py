"""A backbone: turns images into features of several layers."""

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from workers.errors import FatalError
from workers.image.models.export import exported_lite0
from workers.image.models.runtime import Outputs, Pixels, Session, available_cores, open_session
from workers.image.models.turns import Turns, lets_others_first

TOGETHER: Final = 4
"""Images a core runs before another thread may have its turn; one where the thread lets others first."""
LITE0: Final = "efficientnet-lite0"


class Backbone:
    """A network whose layers are tapped. Thread-safe: calls from several threads take turns; see `Turns`.

    Args:
        name: the model's name, as it stands in results.
        path: the exported graph.
        threads: threads of the model; 0 takes all cores.
        engine: `openvino` or `onnxruntime`; the faster one where it is left out.
    """

    granularity_px: Final = 32
    """Sides of images must be multiples of this."""

    def __init__(self, name: str, path: Path, threads: int = 0, engine: str | None = None) -> None:
        self.name = name
        self._path = path
        self._threads = threads
        self._engine = engine
        self._sessions: dict[tuple[str, ...], Session] = {}
        self._cores = threads or available_cores()
        self._opening = threading.Lock()
        self._turns = Turns()

    @property
    def fingerprint(self) -> str:
        """Hash of the model's weights and layout, 16 hexadecimal digits."""
        return hashlib.sha256(self._path.read_bytes()).hexdigest()[:16]

    def features(self, images: Sequence[Pixels], taps: Sequence[str]) -> list[Outputs]:
        """Run images through the network.

        Args:
            images: uint8, shape (height, width, 3), RGB, sides multiples of `granularity_px`.
            taps: names of the layers, such as `block4` or `pooled`.

        Returns:
            For each image what each tap gave, float32: shape (channels, rows, columns), or (channels,) for
            `pooled`.
        """
        key = tuple(taps)
        if key not in self._sessions:
            with self._opening:
                if key not in self._sessions:
                    self._sessions[key] = open_session(self._path, key, self._threads, self._engine)
        session = self._sessions[key]
        session.compile({image.shape for image in images})
        found: list[Outputs] = []
        together = self._cores * (1 if lets_others_first() else TOGETHER)
        for start in range(0, len(images), together):
            with self._turns.taken():
                found += session.run(images[start : start + together])
        return found


def load_backbone(model: str, threads: int = 0, engine: str | None = None) -> Backbone:
    """Load a backbone by name, exporting it where that has not been done yet.

    Raises:
        FatalError: there is no such model or it can't be exported.
    """
    if model != LITE0:
        raise FatalError(f"image model {model!r} is not known (there is: {LITE0})", reason="model_load")
    return Backbone(model, exported_lite0(), threads, engine)


def resized(pixels: Pixels, height: int, width: int) -> Pixels:
    """Resize to a height and width in pixels, smoothed (each output pixel averages what it covers)."""
    if pixels.shape[:2] == (height, width):
        return np.ascontiguousarray(pixels)
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.asarray(image)
