"""EfficientNet-Lite0 as an ONNX graph, built straight from the published weights.

Layout and padding are TensorFlow's, from which the weights were converted: ReLU6, batch norm with epsilon
1e-3 (folded into the convolutions here), "SAME" padding, pixels scaled by (x - 127) / 128. Sides must be
multiples of 32, for then the padding of each stride is the same for every size.

Source: Tan and Le, EfficientNet, ICML 2019; the Lite variants of github.com/tensorflow/tpu.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

PIXEL_MEAN: Final = 127.0
PIXEL_SCALE: Final = 128.0
BATCH_NORM_EPSILON: Final = 1e-3
OPSET: Final = 17


@dataclass(frozen=True)
class Stage:
    """Blocks of one width: how many, kernel side, stride of the first, widening, channels out."""

    blocks: int
    kernel: int
    stride: int
    expand: int
    channels: int


STAGES: Final = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)

Weights = Mapping[str, NDArray[np.float32]]


class _Graph:
    """Collects nodes and constants; each method adds a node and gives back the name of its output."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.channels: dict[str, int] = {}

    def add(self, operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def conv(
        self, source: str, output: str, conv: str, norm: str, stride: int = 1, depthwise: bool = False
    ) -> str:
        """Add a convolution with its batch norm folded in."""
        weight = self.weights[f"{conv}.weight"]
        scale = self.weights[f"{norm}.weight"] / np.sqrt(
            self.weights[f"{norm}.running_var"] + BATCH_NORM_EPSILON
        )
        bias = self.weights[f"{norm}.bias"] - self.weights[f"{norm}.running_mean"] * scale
        kernel = int(weight.shape[-1])
        total = max(kernel - stride, 0)
        before = total // 2
        self.channels[output] = int(weight.shape[0])
        return self.add(
            "Conv",
            [
                source,
                self.constant(f"{output}.weight", (weight * scale[:, None, None, None]).astype(np.float32)),
                self.constant(f"{output}.bias", bias.astype(np.float32)),
            ],
            output,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[before, before, total - before, total - before],
            group=int(weight.shape[0]) if depthwise else 1,
        )

    def relu6(self, source: str, output: str) -> str:
        self.channels[output] = self.channels[source]
        return self.add("Clip", [source, "zero", "six"], output)


def build_graph(weights: Weights) -> onnx.ModelProto:
    """Build the graph.

    Args:
        weights: tensors by their names in the published file, float32.

    Returns:
        A model from `pixels` (uint8, shape (n, height, width, 3), RGB) to, each float32 in (n, channels,
        rows, columns): `block0` … `block15`, what each block gives; `expand1` … `expand15`, its widened
        features before the depthwise step; `head`, the 1280 features of the last layer at each place; and
        `pooled`, their mean, shape (n, 1280).
    """
    graph = _Graph(weights)
    graph.constant("zero", np.array(0, np.float32))
    graph.constant("six", np.array(6, np.float32))
    graph.constant("pixel_mean", np.array(PIXEL_MEAN, np.float32))
    graph.constant("pixel_scale", np.array(1 / PIXEL_SCALE, np.float32))
    x = graph.add("Cast", ["pixels"], "pixels_float", to=TensorProto.FLOAT)
    x = graph.add("Transpose", [x], "pixels_planes", perm=[0, 3, 1, 2])
    x = graph.add("Sub", [x, "pixel_mean"], "pixels_centred")
    x = graph.add("Mul", [x, "pixel_scale"], "pixels_scaled")
    x = graph.relu6(graph.conv(x, "stem_conv", "_conv_stem", "_bn0", stride=2), "stem")
    taps: list[str] = []
    number, reduction = 0, 2
    strides: dict[str, int] = {}
    for stage in STAGES:
        for position in range(stage.blocks):
            stride = stage.stride if position == 0 else 1
            if stage.expand != 1:
                strides[f"expand{number}"] = reduction
                taps.append(f"expand{number}")
            reduction *= stride
            x = _block(graph, x, number, stage, stride)
            strides[x] = reduction
            taps.append(x)
            number += 1
    x = graph.relu6(graph.conv(x, "head_conv", "_conv_head", "_bn1"), "head")
    taps.append(x)
    strides[x] = reduction
    graph.add("ReduceMean", [x], "pooled", axes=[2, 3], keepdims=0)
    outputs = [
        helper.make_tensor_value_info(
            tap,
            TensorProto.FLOAT,
            ["n", graph.channels[tap], f"rows_{strides[tap]}", f"columns_{strides[tap]}"],
        )
        for tap in taps
    ]
    outputs.append(helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["n", graph.channels["head"]]))
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", "height", "width", 3])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "efficientnet-lite0", [pixels], outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=9,
    )
    onnx.checker.check_model(model)
    return model


def _block(graph: _Graph, source: str, number: int, stage: Stage, stride: int) -> str:
    """Add a mobile inverted bottleneck: widen, filter each channel, narrow, add the input where it fits."""
    prefix = f"_blocks.{number}"
    x = source
    if stage.expand != 1:
        x = graph.conv(x, f"expand_conv{number}", f"{prefix}._expand_conv", f"{prefix}._bn0")
        x = graph.relu6(x, f"expand{number}")
    x = graph.conv(
        x, f"depthwise_conv{number}", f"{prefix}._depthwise_conv", f"{prefix}._bn1", stride, depthwise=True
    )
    x = graph.relu6(x, f"depthwise{number}")
    out = f"block{number}"
    skips = stride == 1 and graph.channels.get(source) == stage.channels
    x = graph.conv(x, f"project{number}" if skips else out, f"{prefix}._project_conv", f"{prefix}._bn2")
    if skips:
        x = graph.add("Add", [x, source], out)
        graph.channels[out] = stage.channels
    return x
