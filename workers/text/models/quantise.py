"""Static int8 for the matrix products of an encoder.

Activations become uint8 with one scale and zero point a tensor, fixed beforehand from calibration texts;
weights become int8 with one scale an output channel. Fixed scales make the result of a text independent of
its neighbours in the batch, which ONNX Runtime's dynamic quantization does not, and spare the pass that finds
the range. A few channels of a transformer's activations are many times larger than the others and would
take up the range; they are scaled down before, and their weights up (after SmoothQuant, Xiao et al., 2023).
all-MiniLM-L6-v2 on news: mean cosine to torch 0.997, dynamic 0.994, at the same speed.
"""

from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Floats = NDArray[np.float32]

OUTLIER: Final = 4.0
"""A channel whose largest value is above this many times the median channel's is scaled down to it. Tried on
news: 2 gives 0.9967, 4 gives 0.9971, 6 to 10 gives 0.9962, none 0.9936."""

WORTH_SCALING: Final = 1.5
"""Where the worst channel is less than this many times too large, the tensor is left as it is."""


class _Range(NamedTuple):
    """What calibration saw of a tensor: the least and greatest value of each channel, shape (k,)."""

    low: Floats
    high: Floats


def quantise(source: Path, target: Path, windows: list[list[int]]) -> None:
    """Write `target`, the graph `source` with its constant matrix products in int8.

    Args:
        source: takes `input_ids` and `attention_mask`.
        target: where the graph is written.
        windows: token ids of the calibration texts.
    """
    model = onnx.load(str(source))
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    products = [
        node
        for node in graph.node
        if node.op_type == "MatMul" and node.input[1] in weights and len(weights[node.input[1]].dims) == 2
    ]
    ranges = _observe(model, {node.input[0] for node in products}, windows)
    biases = _biases(graph, products, weights)
    scales: dict[str, Floats] = {}
    rewritten: list[Any] = []
    replaced = {node.output[0] for node in products}
    absorbed = {sum_node.output[0] for sum_node, _ in biases.values()}
    for node in graph.node:
        if node.output[0] in absorbed:
            continue
        if node.output[0] not in replaced:
            rewritten.append(node)
            continue
        x, w = node.input
        if x not in scales:
            scales[x] = _quantise_input(graph, rewritten, x, ranges[x])
        _quantise_weight(graph, w, numpy_helper.to_array(weights[w]) * scales[x][:, None])
        sum_node, bias = biases.get(node.output[0], (None, ""))
        output = sum_node.output[0] if sum_node is not None else node.output[0]
        inputs = [f"{x}_u8", f"{w}_s8", f"{x}_scale", f"{w}_scale", f"{x}_zero", "", bias]
        rewritten.append(helper.make_node("MatMulIntegerToFloat", inputs, [output], domain="com.microsoft"))
    used = {node.input[1] for node in products}
    kept = [tensor for tensor in graph.initializer if tensor.name not in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.node[:]
    graph.node.extend(rewritten)
    if all(entry.domain != "com.microsoft" for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, str(target))


def _observe(model: Any, names: set[str], windows: list[list[int]]) -> dict[str, _Range]:
    """Run the float graph on the calibration windows and note the range of each channel."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    ordered = sorted(names)
    probe.graph.output.extend(helper.make_tensor_value_info(name, 1, None) for name in ordered)
    session = onnxruntime.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    ranges: dict[str, _Range] = {}
    for window in windows:
        ids = np.array([window], np.int64)
        found = session.run(ordered, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        for name, values in zip(ordered, found, strict=True):
            rows = values.reshape(-1, values.shape[-1])
            seen = _Range(rows.min(axis=0), rows.max(axis=0))
            before = ranges.get(name, seen)
            ranges[name] = _Range(np.minimum(before.low, seen.low), np.maximum(before.high, seen.high))
    return ranges


def _biases(graph: Any, products: list[Any], weights: dict[str, Any]) -> dict[str, tuple[Any, str]]:
    """The additions of a constant row that follow products, by the product's output: (node, row's name)."""
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = {}
    for product in products:
        output = product.output[0]
        following = readers.get(output, [])
        if len(following) == 1 and following[0].op_type == "Add":
            other = next((name for name in following[0].input if name != output), "")
            if other in weights and len(weights[other].dims) == 1:
                found[output] = (following[0], other)
    return found


def _quantise_input(graph: Any, nodes: list[Any], name: str, seen: _Range) -> Floats:
    """Add the nodes that make a tensor uint8; gives what each channel was divided by, shape (k,)."""
    largest = np.maximum(np.abs(seen.low), np.abs(seen.high)) + 1e-5
    divisor = np.maximum(largest / (OUTLIER * np.median(largest)), 1).astype(np.float32)
    scaled = name
    if divisor.max() > WORTH_SCALING:
        scaled = f"{name}_even"
        graph.initializer.append(numpy_helper.from_array(1 / divisor, f"{name}_by"))
        nodes.append(helper.make_node("Mul", [name, f"{name}_by"], [scaled]))
    else:
        divisor = np.ones_like(divisor)
    low = min(float((seen.low / divisor).min()), 0.0)
    high = max(float((seen.high / divisor).max()), 1e-5)
    scale = np.float32((high - low) / 255)
    zero = np.uint8(np.clip(round(-low / scale), 0, 255))
    graph.initializer.append(numpy_helper.from_array(np.array(scale), f"{name}_scale"))
    graph.initializer.append(numpy_helper.from_array(np.array(zero), f"{name}_zero"))
    nodes.append(
        helper.make_node("QuantizeLinear", [scaled, f"{name}_scale", f"{name}_zero"], [f"{name}_u8"])
    )
    return divisor


def _quantise_weight(graph: Any, name: str, weight: Floats) -> None:
    """Add a weight, shape (k, n), as int8 with a scale for each of its n columns."""
    scale = np.maximum(np.abs(weight).max(axis=0), 1e-12) / 127
    values = np.clip(np.round(weight / scale), -127, 127).astype(np.int8)
    graph.initializer.append(numpy_helper.from_array(values, f"{name}_s8"))
    graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), f"{name}_scale"))
