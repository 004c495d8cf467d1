"""What benchmarks of images send: the pictures of a folder, or drawn JPEGs of 224 × 224 pixels."""

import io
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from schemas import Reference

SIDE_PX: Final = 224
GALLERY: Final = 50
"""References that images are matched against."""
SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})


def drawn(count: int, *, seed: int = 0, side_px: int = SIDE_PX) -> list[bytes]:
    """Draw JPEGs: soft patches of colour with some grain, about as large as photographs of that size."""
    noise = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        coarse = Image.fromarray(noise.integers(0, 256, (14, 14, 3), dtype=np.uint8))
        soft = np.asarray(coarse.resize((side_px, side_px), Image.Resampling.BICUBIC), np.int16)
        grain = noise.integers(-12, 13, soft.shape, dtype=np.int16)
        buffer = io.BytesIO()
        Image.fromarray(np.clip(soft + grain, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=88)
        made.append(buffer.getvalue())
    return made


def pictures(count: int, folder: Path | None = None) -> list[bytes]:
    """Give up to `count` pictures' bytes.

    Raises:
        ValueError: the folder holds none.
    """
    if folder is None:
        return drawn(count)
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)[:count]
    if not paths:
        raise ValueError(f"{folder} holds no pictures")
    return [path.read_bytes() for path in paths]


def write_gallery(folder: Path) -> None:
    """Write the references as files, for a worker that is to start with them."""
    for number, content in enumerate(drawn(GALLERY, seed=1)):
        (folder / f"r{number}.jpg").write_bytes(content)


def references() -> list[Reference]:
    """The gallery, drawn from another seed."""
    return [Reference(id=f"r{n}", content=content) for n, content in enumerate(drawn(GALLERY, seed=1))]
