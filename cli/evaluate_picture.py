"""The confusion matrix as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

CELL_PX: Final = 56
MARGIN_PX: Final = 12


def draw_confusion(table: NDArray[np.int64], names: Sequence[str], title: str, path: Path) -> None:
    """Draw a confusion matrix: rows are true labels, columns those given, darker is more of its row.

    Args:
        table: counts, shape (L, L).
        names: the labels.
        title: stands above.
        path: the PNG file to write.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(13)
    small = ImageFont.load_default(12)
    left = MARGIN_PX + max(int(font.getlength(name)) for name in names) + 10
    top = 2 * MARGIN_PX + 20 + left
    side = CELL_PX * len(names)
    width = max(left + side, MARGIN_PX + int(font.getlength(title))) + MARGIN_PX
    image = Image.new("RGB", (width, top + side + MARGIN_PX), "white")
    pen = ImageDraw.Draw(image)
    pen.text((MARGIN_PX, MARGIN_PX), title, fill="black", font=font)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    for i, name in enumerate(names):
        middle = i * CELL_PX + CELL_PX // 2
        pen.text((left - 8, top + middle), name, fill="black", font=font, anchor="rm")
        _write_upwards(image, name, (left + middle, top - 8))
        for j in range(len(names)):
            share = float(shares[i, j])
            tint = (int(255 - 220 * share), int(255 - 150 * share), 255 if i == j else int(255 - 60 * share))
            corner = (left + j * CELL_PX, top + i * CELL_PX)
            pen.rectangle((*corner, corner[0] + CELL_PX - 2, corner[1] + CELL_PX - 2), fill=tint)
            text = f"{100 * share:.0f}" if share >= 0.005 else "·"
            ink = "white" if share > 0.6 else "black"
            pen.text(
                (corner[0] + CELL_PX // 2, corner[1] + CELL_PX // 2), text, fill=ink, font=small, anchor="mm"
            )
    image.save(path, format="PNG")


def _write_upwards(image: object, text: str, foot: tuple[int, int]) -> None:
    """Write text turned by a quarter, its start at `foot`, centred on its column."""
    from PIL import Image, ImageDraw, ImageFont

    if not isinstance(image, Image.Image):
        return
    font = ImageFont.load_default(13)
    strip = Image.new("RGB", (int(font.getlength(text)) + 4, 18), "white")
    ImageDraw.Draw(strip).text((1, 1), text, fill="black", font=font)
    turned = strip.rotate(90, expand=True)
    image.paste(turned, (foot[0] - turned.width // 2, foot[1] - turned.height))
