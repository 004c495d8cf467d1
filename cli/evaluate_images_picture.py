"""Search scores by layer and metric as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from workers.image.evaluation.trials import Trial

ROW_PX: Final = 24
BAR_PX: Final = 420
MARGIN_PX: Final = 14
COLOURS: Final = {"context": (27, 94, 120), "cosine": (86, 156, 178), "euclidean": (186, 200, 206)}


def draw_trials(trials: Sequence["Trial"], title: str, path: Path) -> None:
    """Draw a bar for each trial; the line is the highest score that the sizes of the classes allow.

    Args:
        trials: in the order of the rows.
        title: stands above.
        path: the PNG file to write.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(13)
    names = [f"{trial.name}, {trial.metric}" for trial in trials]
    left = 2 * MARGIN_PX + max(int(font.getlength(name)) for name in names)
    top = 2 * MARGIN_PX + 20
    width = max(left + BAR_PX + 60, 2 * MARGIN_PX + int(font.getlength(title)))
    image = Image.new("RGB", (width, top + ROW_PX * len(trials) + MARGIN_PX), "white")
    pen = ImageDraw.Draw(image)
    pen.text((MARGIN_PX, MARGIN_PX), title, fill="black", font=font)
    for row, (name, trial) in enumerate(zip(names, trials, strict=True)):
        y = top + row * ROW_PX
        end = left + int(BAR_PX * trial.score / 100)
        pen.text((left - 8, y + ROW_PX // 2), name, fill="black", font=font, anchor="rm")
        pen.rectangle((left, y + 3, end, y + ROW_PX - 4), fill=COLOURS[trial.metric])
        pen.text((end + 6, y + ROW_PX // 2), f"{trial.score:.1f}", fill="black", font=font, anchor="lm")
    limit = left + int(BAR_PX * trials[0].attainable / 100)
    pen.line((limit, top, limit, top + ROW_PX * len(trials)), fill=(170, 60, 50))
    image.save(path, format="PNG")
