"""Runs an exported graph on images by OpenVINO or ONNX Runtime, whichever a quick self-test finds faster.

Images are run one by one, each on a core of its own: the result of an image then never depends on what else
is in its batch, and images of different sizes need no padding.
"""

import json
import platform
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from workers.cores import available_cores as available_cores
from workers.errors import FatalError
from workers.image.models.cache import cached_file, digest

Pixels = NDArray[np.uint8]
"""uint8, shape (height, width, 3), RGB."""
Outputs = tuple[NDArray[np.float32], ...]
"""What each tap gave for one image, float32, without the batch axis."""

MAX_COMPILED: Final = 32
"""Image sizes a compiled graph is kept for, the last used ones; each takes some 10 to 30 MB. The modes show
images in fewer sizes than this, lest graphs be compiled over and over."""
SELF_TEST_SIDE_PX: Final = 224
SELF_TEST_IMAGES: Final = 24


class Session(Protocol):
    """A graph ready to run. `run` is called from one thread at a time, `compile` beside it."""

    def compile(self, shapes: Iterable[tuple[int, ...]]) -> None:
        """Do ahead what images of these shapes need once, which may take a second."""

    def run(self, images: Sequence[Pixels]) -> list[Outputs]:
        """Run images, each of any size that the graph takes; same length and order as the input."""


class OpenVinoSession:
    """OpenVINO, compiled once for each image size."""

    def __init__(self, path: Path, taps: Sequence[str], threads: int) -> None:
        import openvino

        self._openvino = openvino
        self._core = openvino.Core()
        model = self._core.read_model(path)
        self._model = openvino.Model([model.output(tap) for tap in taps], model.get_parameters(), "taps")
        self._taps = len(taps)
        self._threads = threads
        # Where the processor has it bfloat16 is 1.9 times as fast; embeddings keep a cosine of 0.998 or more.
        able = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self._precision = "bf16" if able else "f32"
        self._compiled: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self._compiling = threading.Lock()

    def compile(self, shapes: Iterable[tuple[int, ...]]) -> None:
        """Compile for shapes that are new; see `Session`."""
        for shape in shapes:
            if shape not in self._compiled:
                with self._compiling:
                    self._queue(shape)

    def run(self, images: Sequence[Pixels]) -> list[Outputs]:
        """Run images; see `Session`."""
        results: list[Outputs] = [()] * len(images)
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, pixels in enumerate(images):
            by_shape.setdefault(pixels.shape, []).append(index)

        def keep(request: Any, index: int) -> None:
            results[index] = tuple(
                np.array(request.get_output_tensor(tap).data[0]) for tap in range(self._taps)
            )

        for shape, indices in by_shape.items():
            queue = self._queue(shape)
            queue.set_callback(keep)
            for index in indices:
                queue.start_async({0: images[index][None]}, index)
            queue.wait_all()
        return results

    def _queue(self, shape: tuple[int, ...]) -> Any:
        queue = self._compiled.get(shape)
        if queue is None:
            model = self._model.clone()
            model.reshape({0: [1, *shape]})
            compiled = self._core.compile_model(
                model,
                "CPU",
                {
                    "PERFORMANCE_HINT": "THROUGHPUT",
                    "INFERENCE_NUM_THREADS": str(self._threads),
                    "NUM_STREAMS": str(self._threads),
                    "INFERENCE_PRECISION_HINT": self._precision,
                },
            )
            queue = self._openvino.AsyncInferQueue(compiled, self._threads)
            self._compiled[shape] = queue
            if len(self._compiled) > MAX_COMPILED:
                self._compiled.popitem(last=False)
        with suppress(KeyError):  # another thread's new shape may have pushed it out just now
            self._compiled.move_to_end(shape)
        return queue


class OnnxSession:
    """ONNX Runtime, with the parts of the graph that no tap needs left out."""

    def __init__(self, path: Path, taps: Sequence[str], threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            _pruned(path, taps), options, providers=["CPUExecutionProvider"]
        )
        self._taps = list(taps)
        self._input = self._session.get_inputs()[0].name

    def compile(self, shapes: Iterable[tuple[int, ...]]) -> None:
        """Nothing is to be done; see `Session`."""

    def run(self, images: Sequence[Pixels]) -> list[Outputs]:
        """Run images; see `Session`."""
        return [
            tuple(value[0] for value in self._session.run(self._taps, {self._input: pixels[None]}))
            for pixels in images
        ]


def _pruned(path: Path, taps: Sequence[str]) -> bytes:
    """Keep the nodes that the taps need: ONNX Runtime runs a whole graph whatever is asked of it."""
    import onnx

    model = onnx.load(path)
    needed, kept = set(taps), []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    outputs = {output.name: output for output in model.graph.output}
    constants = [constant for constant in model.graph.initializer if constant.name in needed]
    for field, values in (
        ("node", list(reversed(kept))),
        ("initializer", constants),
        ("output", [outputs[tap] for tap in taps]),
    ):
        target = getattr(model.graph, field)
        del target[:]
        target.extend(values)
    return bytes(model.SerializeToString())


ENGINES: Final[dict[str, Callable[[Path, Sequence[str], int], Session]]] = {
    "openvino": OpenVinoSession,
    "onnxruntime": OnnxSession,
}


def open_session(path: Path, taps: Sequence[str], threads: int = 0, engine: str | None = None) -> Session:
    """Open an exported graph.

    Args:
        path: the ONNX file; its one input is `pixels`, uint8, shape (n, height, width, 3).
        taps: names of the outputs wanted, in this order.
        threads: threads of the model; 0 takes all cores.
        engine: `openvino` or `onnxruntime`; the faster of the two where it is left out.

    Raises:
        FatalError: no engine can open it.
    """
    threads = threads or available_cores()
    chosen = engine or fastest_engine(path, threads)
    try:
        return ENGINES[chosen](path, taps, threads)
    except Exception as error:  # engines raise RuntimeError and classes of their own
        raise FatalError(f"{chosen} can't open {path.name}: {_line(error)}", reason="model_load") from error


def fastest_engine(path: Path, threads: int) -> str:
    """The engine that runs the graph fastest here; timed once a machine and kept in the cache."""
    versions = [f"{name} {metadata.version(name)}" for name in ENGINES]
    key = digest(path.name, threads, platform.processor(), platform.node(), *versions)

    def build(target: Path) -> None:
        target.write_text(json.dumps(_time_engines(path, threads)))

    found = json.loads(cached_file(f"engine-{key}.json", build).read_text())
    return str(found["fastest"])


def _time_engines(path: Path, threads: int) -> dict[str, object]:
    noise = np.random.default_rng(0)
    image = noise.integers(0, 256, (SELF_TEST_SIDE_PX, SELF_TEST_SIDE_PX, 3), dtype=np.uint8)
    speeds: dict[str, float] = {}
    failures: list[str] = []
    for name, engine in ENGINES.items():
        try:
            session = engine(path, ["pooled"], threads)
            session.run([image] * threads)
            started = time.perf_counter()
            session.run([image] * SELF_TEST_IMAGES)
            speeds[name] = SELF_TEST_IMAGES / (time.perf_counter() - started)
        except Exception as error:  # an engine that fails on this machine is passed over
            failures.append(f"{name}: {_line(error)}")
    if not speeds:
        raise FatalError(f"no engine runs the image model: {'; '.join(failures)}", reason="model_load")
    return {"fastest": max(speeds, key=lambda name: speeds[name]), "images_per_s": speeds}


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
