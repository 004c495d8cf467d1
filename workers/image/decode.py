"""Decodes images safely: what a file is, is judged by its content, and how large it is, before its pixels.

Whatever a format holds (16 bits, a palette, CMYK, transparency, frames) comes out as 8-bit RGB, turned as
EXIF says, over white where it is transparent.
"""

import struct
import warnings
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from workers.errors import MessageError
from workers.image.modes.base import DecodedImage

SIGNATURES: Final[tuple[tuple[str, Callable[[bytes], bool]], ...]] = (
    ("JPEG", lambda head: head.startswith(b"\xff\xd8\xff")),
    ("PNG", lambda head: head.startswith(b"\x89PNG\r\n\x1a\n")),
    ("GIF", lambda head: head.startswith((b"GIF87a", b"GIF89a"))),
    ("WEBP", lambda head: head.startswith(b"RIFF") and head[8:12] == b"WEBP"),
    ("TIFF", lambda head: head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))),
    ("BMP", lambda head: head.startswith(b"BM")),
)
"""Formats taken, by the first bytes of a file."""

DECODE_ERRORS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    EOFError,
    OverflowError,
    NotImplementedError,
    ZeroDivisionError,
    struct.error,
    zlib.error,
)
"""What Pillow's format readers raise on broken files, as seen in its own fuzzing."""

WIDE_MODES: Final = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
"""Pillow's names of grey images with more than 8 bits."""

TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each of EXIF's orientations."""


class Decoder:
    """Turns the bytes of a file into pixels. Thread-safe.

    It sets Pillow's own pixel limit, which holds for the whole process, and makes its warning an error.

    Args:
        max_bytes: largest file taken.
        max_pixels: largest image taken, width times height.
        target_px: how long the shorter side must be at least, where the whole resolution is not needed:
            larger images are then decoded at a half, a quarter or an eighth.
    """

    def __init__(self, max_bytes: int, max_pixels: int, target_px: int | None = None) -> None:
        self.max_bytes = max_bytes
        self.max_pixels = max_pixels
        self.target_px = target_px
        Image.MAX_IMAGE_PIXELS = max_pixels
        # Its remarks on odd metadata would otherwise stand on stderr once for every such image.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.filterwarnings("error", category=Image.DecompressionBombWarning)

    def decode(self, content: bytes) -> DecodedImage:
        """Decode one image.

        Raises:
            MessageError: `image_too_large`, `image_format` (not one of the formats taken), `image_bomb` (more
                comes out than the file says) or `image_undecodable` (broken or cut off).
        """
        if len(content) > self.max_bytes:
            raise MessageError(f"{len(content)} bytes, more than {self.max_bytes}", reason="image_too_large")
        image = self._opened(content)
        width, height = image.size
        if width * height > self.max_pixels:
            raise _too_large(f"{width} x {height} pixels, more than {self.max_pixels}")
        try:
            if self.target_px and image.format == "JPEG":
                image.draft(None, _at_least(width, height, self.target_px))
            image.load()
            turned = _orientation(image) >= 5
            pixels = self._pixels(image)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise MessageError("more pixels come out than the header says", reason="image_bomb") from error
        except MemoryError as error:
            raise _too_large(f"{width} x {height} pixels do not fit in memory") from error
        except DECODE_ERRORS as error:
            raise _undecodable(error) from error
        return DecodedImage(pixels, *((height, width) if turned else (width, height)))

    def _opened(self, content: bytes) -> Image.Image:
        head = content[:16]
        known = next((name for name, matches in SIGNATURES if matches(head)), None)
        if known is None:
            names = ", ".join(name for name, _ in SIGNATURES)
            raise MessageError(f"not one of {names}", reason="image_format")
        try:
            return Image.open(BytesIO(content), formats=[known])
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise _too_large(f"more than {self.max_pixels} pixels") from error
        except DECODE_ERRORS as error:
            raise _undecodable(error) from error

    def _pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        """8-bit RGB, reduced where that loses nothing that is needed, turned."""
        orientation = _orientation(image)
        if image.mode in WIDE_MODES:
            image = Image.fromarray(_eight_bits(np.asarray(image)))
        transparent = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
        image = image.convert("RGBA" if transparent else "L" if image.mode in ("1", "L") else "RGB")
        factor = min(image.size) // self.target_px if self.target_px else 1
        if factor > 1:
            image = image.reduce(factor)
        if transparent:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        if orientation != 1:
            image = image.transpose(TURNS[orientation])
        return np.asarray(image.convert("RGB"))


def _at_least(width: int, height: int, target_px: int) -> tuple[int, int]:
    shrink = min(1.0, target_px / min(width, height))
    return max(1, round(width * shrink)), max(1, round(height * shrink))


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1 where there is none or it can't be read."""
    try:
        value: Any = image.getexif().get(0x0112, 1)
    except DECODE_ERRORS:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale a grey image of more than 8 bits to 0 to 255.

    Whole numbers up to 65,535 are taken as 16 bits, larger ones by their largest; fractions up to 1 as shares
    of white, larger ones by the largest too, where that is above 255.
    """
    numbers = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0).clip(min=0.0)
    top = float(numbers.max(initial=0.0))
    if np.issubdtype(values.dtype, np.floating):
        white = 1.0 if top <= 1.0 else max(255.0, top)
    else:
        white = max(65_535.0, top)
    return np.asarray(np.rint(numbers * (255.0 / white)), np.uint8)


def _too_large(detail: str) -> MessageError:
    return MessageError(detail, reason="image_too_large")


def _undecodable(error: BaseException) -> MessageError:
    detail = " ".join(str(error).split())[:200] or type(error).__name__
    if "ecompressed data too large" in detail:
        return MessageError(detail, reason="image_bomb")
    return MessageError(detail, reason="image_undecodable")
