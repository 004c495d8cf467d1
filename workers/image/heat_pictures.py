"""Pictures of heat maps: the image, greyed, with what is anomalous in red."""

import base64
from pathlib import Path

import numpy as np
from PIL import Image

from config import ImageSettings
from schemas import ImageResult
from workers.errors import FatalError, MessageError
from workers.image.decode import Decoder

MAX_SIDE_PX = 1024
"""Longer side of a picture: enough to see the place, small enough to look through many."""


def write_heat_picture(
    folder: Path, result: ImageResult, source: Path, settings: ImageSettings
) -> Path | None:
    """Write `NAME.png` for an image that was judged; slashes in its id become underscores.

    Args:
        folder: where the picture goes.
        result: with a heat map.
        source: the image's file.
        settings: the caps on what is decoded.

    Returns:
        The picture's path; None where the result has no heat map or the image has gone.

    Raises:
        FatalError: the picture can't be written.
    """
    heat = result.heat_map
    if heat is None:
        return None
    try:
        pixels = Decoder(settings.max_bytes, settings.max_pixels).decode(source.read_bytes()).pixels
    except (OSError, MessageError):
        return None
    image = Image.fromarray(pixels).convert("L")
    image.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
    cells = np.frombuffer(base64.b64decode(heat.data), np.uint8).reshape(heat.height, heat.width)
    spread = Image.fromarray(cells).resize(image.size, Image.Resampling.BICUBIC)
    share = np.asarray(spread, np.float32)[..., None] / 255.0
    grey = np.asarray(image, np.float32)[..., None].repeat(3, axis=2)
    red = np.array([255.0, 32.0, 0.0], np.float32)
    picture = Image.fromarray(np.asarray(grey * (1 - 0.6 * share) + red * 0.6 * share, np.uint8))
    path = folder / f"{result.id.strip('/').replace('/', '_')}.png"
    try:
        picture.save(path)
    except OSError as error:
        raise FatalError(f"can't write {path}: {error.strerror or error}") from error
    return path
