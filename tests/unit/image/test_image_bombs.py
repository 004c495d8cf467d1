"""Small files that say, or become, something huge: refused with a reason, in little memory."""

import io
import resource
import struct
import zlib
from collections.abc import Callable

import pytest
from PIL import Image

from tests.unit.image.drawn import encoded, gradient, png_header_only
from workers.errors import MessageError
from workers.image.decode import Decoder

MAX_PIXELS = 20_000_000
MAX_GROWTH_MB = 200
"""What the largest image that is taken needs: 60 MB of pixels, and as many while they are converted."""

MEGABYTE = zlib.compress(b"\0" * 2**20)
SWELL = zlib.compress(b"\0" * (200 * 2**20), 9)


def chunk(name: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")


def png_with(*chunks: bytes) -> bytes:
    content = encoded(gradient())
    return content[:33] + b"".join(chunks) + content[33:]


def png_of(width: int, height: int, rows: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def jpeg_of(width: int, height: int) -> bytes:
    content = bytearray(encoded(gradient(), "JPEG"))
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def gif_of(screen: tuple[int, int], frame: tuple[int, int]) -> bytes:
    content = bytearray(encoded(gradient().convert("P"), "GIF"))
    content[6:10] = struct.pack("<HH", *screen)
    place = content.index(b"\x2c", 13 + 3 * 256)
    content[place + 5 : place + 9] = struct.pack("<HH", *frame)
    return bytes(content)


def tiff_of(*tags: tuple[int, int, int, int], data: bytes = b"\0" * 64) -> bytes:
    """Tags are (number, type, count, value)."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    offset = 8 + len(data)
    return b"II*\0" + struct.pack("<I", offset) + data + struct.pack("<H", len(tags)) + entries + b"\0" * 4


def tiff(width: int, height: int, *more: tuple[int, int, int, int], compression: int = 1) -> bytes:
    base = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, compression)]
    base += [(262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, 64)]
    numbers = {tag[0] for tag in more}
    return tiff_of(*[tag for tag in base if tag[0] not in numbers], *more)


def webp_lossless(width: int, height: int) -> bytes:
    bits = (width - 1) | (height - 1) << 14
    data = b"\x2f" + struct.pack("<I", bits) + b"\0" * 20
    return b"RIFF" + struct.pack("<I", 12 + len(data)) + b"WEBPVP8L" + struct.pack("<I", len(data)) + data


def webp_canvas(width: int, height: int) -> bytes:
    content = bytearray(encoded(gradient().convert("RGBA"), "WEBP"))
    if content[12:16] != b"VP8X":
        head = b"VP8X" + struct.pack("<I", 10) + b"\x10\0\0\0" + b"\0" * 6
        content[12:12] = head
        content[4:8] = struct.pack("<I", len(content) - 8)
    content[24:27] = (width - 1).to_bytes(3, "little")
    content[27:30] = (height - 1).to_bytes(3, "little")
    return bytes(content)


def bmp_of(width: int, height: int) -> bytes:
    content = bytearray(encoded(gradient(), "BMP"))
    content[18:26] = struct.pack("<ii", width, height)
    return bytes(content)


TILES = ((322, 4, 1, 2**20), (323, 4, 1, 2**20), (324, 4, 1, 8), (325, 4, 1, 64))
"""One tile of a million by a million, deflated."""

BOMBS: dict[str, Callable[[], bytes]] = {
    "PNG, 2**31 - 1 square": lambda: png_header_only(2**31 - 1, 2**31 - 1),
    "PNG, one row over the cap": lambda: png_of(5_000, 4_001, zlib.compress(b"\0" * 10)),
    "PNG, zTXt": lambda: png_with(chunk(b"zTXt", b"k\0\0" + SWELL)),
    "PNG, iTXt": lambda: png_with(chunk(b"iTXt", b"k\0\1\0\0\0" + SWELL)),
    "PNG, many texts": lambda: png_with(*[chunk(b"zTXt", b"k%d\0\0" % n + MEGABYTE) for n in range(100)]),
    "PNG, iCCP": lambda: png_with(chunk(b"iCCP", b"k\0\0" + SWELL)),
    "JPEG, 65,535 square": lambda: jpeg_of(65_535, 65_535),
    "GIF, a screen of 65,535 square": lambda: gif_of((65_535, 65_535), (64, 48)),
    "GIF, a frame of 65,535 square": lambda: gif_of((64, 48), (65_535, 65_535)),
    "TIFF, 2**31 square": lambda: tiff(2**31, 2**31),
    "TIFF, 2**32 - 1 by 1": lambda: tiff(2**32 - 1, 1),
    "TIFF, a text of 4 GB": lambda: tiff(8, 8, (270, 2, 2**32 - 1, 8)),
    "TIFF, 2**30 strips": lambda: tiff(8, 8, (273, 4, 2**30, 8), (279, 4, 2**30, 8)),
    "TIFF, tiles of 2**20 square": lambda: tiff(8, 8, *TILES, compression=8),
    "TIFF, 65,535 samples a pixel": lambda: tiff(8, 8, (277, 3, 1, 65_535)),
    "TIFF, itself as its next": lambda: tiff(8, 8)[:-4] + struct.pack("<I", 72),
    "WebP, 16,384 square": lambda: webp_lossless(16_384, 16_384),
    "WebP, a canvas of 16,777,216 by 255": lambda: webp_canvas(2**24, 255),
    "BMP, 2**31 - 1 square": lambda: bmp_of(2**31 - 1, 2**31 - 1),
    "BMP, upside down": lambda: bmp_of(100_000, -100_000),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_and_costs_little(name: str) -> None:
    content = BOMBS[name]()
    assert len(content) < 2**20
    decoder = Decoder(max_bytes=2**25, max_pixels=MAX_PIXELS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        decoded = decoder.decode(content)
    except MessageError as error:
        assert error.reason in ("image_too_large", "image_bomb", "image_undecodable")
    else:  # what is said beside the pixels was passed over
        assert decoded.pixels.shape[0] * decoded.pixels.shape[1] <= MAX_PIXELS
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1_024
    assert grown_mb < MAX_GROWTH_MB


def test_frames_after_the_first_are_never_decoded() -> None:
    frames = [Image.new("P", (2_000, 2_000), n % 7) for n in range(40)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert Decoder(2**25, MAX_PIXELS).decode(buffer.getvalue()).pixels.shape == (2_000, 2_000, 3)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1_024 < MAX_GROWTH_MB
