"""Images drawn for tests, as the bytes of files."""

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageDraw


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gradient(width: int = 64, height: int = 48) -> Image.Image:
    across = np.linspace(0, 255, width, dtype=np.uint8)[None, :].repeat(height, axis=0)
    down = np.linspace(0, 255, height, dtype=np.uint8)[:, None].repeat(width, axis=1)
    return Image.fromarray(np.stack([across, down, 255 - across], axis=-1))


def png_header_only(width: int, height: int) -> bytes:
    """A PNG that says how large it is and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def part(
    seed: int, width: int = 160, height: int = 160, flaw: tuple[int, int, int] | None = None
) -> Image.Image:
    """A brushed metal part; `flaw` draws a dark spot at (x, y) with a radius."""
    noise = np.random.default_rng(seed)
    stripes = noise.normal(0, 12, (1, width)).repeat(height, axis=0)
    grain = noise.normal(0, 6, (height, width))
    grey = np.clip(140 + stripes + grain, 0, 255).astype(np.uint8)
    image = Image.fromarray(grey).convert("RGB")
    if flaw is not None:
        x, y, radius = flaw
        ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), fill=(15, 15, 15))
    return image


SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"
