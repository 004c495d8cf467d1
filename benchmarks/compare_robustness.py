"""Compare mode on DeepPCB boards moved, lit, blurred and resized: clean pairs must stay ok, defects be found.

    python -m benchmarks.compare_robustness [--data ../shared/data/deeppcb] [--pairs 30]

For each change: the share of defect-free boards (the reference itself, changed) called `defect`, and the
defects hit and false boxes of the changed test images, boxes carried along with the change.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from benchmarks.compare_deeppcb import DATA, Score, decode, pairs
from config.image import ImageSettings
from schemas import ImageMessage, Reference
from workers.image.modes.base import DecodedImage, Finding
from workers.image.modes.compare import CompareMode

Image = np.ndarray
Change = Callable[[Image, np.random.Generator], tuple[Image, np.ndarray]]
SAME = np.eye(2, 3)


def still(change: Callable[[Image, np.random.Generator], Image]) -> Change:
    return lambda image, rng: (change(image, rng), SAME)


def turned(angle: float, scale: float, shift: float) -> Change:
    def change(image: Image, rng: np.random.Generator) -> tuple[Image, np.ndarray]:
        height, width = image.shape[:2]
        factor = 1 + rng.uniform(-scale, scale)
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-angle, angle), factor)
        matrix[:, 2] += rng.uniform(-shift, shift, 2)
        return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), matrix

    return change


def resized(factor: float) -> Change:
    def change(image: Image, _: np.random.Generator) -> tuple[Image, np.ndarray]:
        size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
        flag = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        return cv2.resize(image, size, interpolation=flag), np.array([[factor, 0, 0], [0, factor, 0]])

    return change


def falloff(image: Image, _: np.random.Generator) -> Image:
    ramp = np.linspace(1, 0.65, image.shape[1])[None, :, None]
    return (image * ramp).astype(np.uint8)


def jpeg(image: Image, _: np.random.Generator) -> Image:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_COLOR)


def noise(image: Image, rng: np.random.Generator) -> Image:
    return np.clip(image + rng.normal(0, 12, image.shape), 0, 255).astype(np.uint8)


def tinted(image: Image) -> Image:
    """A green board with copper-coloured tracks."""
    share = image[..., :1] / 255.0
    return (share * (40, 120, 50) + (1 - share) * (190, 130, 70)).astype(np.uint8)


CHANGES: dict[str, Change] = {
    "as it is": still(lambda image, _: image),
    "shift 3 px": turned(0, 0, 3),
    "turn 3°": turned(3, 0, 0),
    "scale 2 %": turned(0, 0.02, 0),
    "turn 3°, scale 2 %, shift 3 px": turned(3, 0.02, 3),
    "half the contrast, brighter": still(lambda image, _: (image * 0.5 + 90).astype(np.uint8)),
    "dark": still(lambda image, _: (image * 0.4).astype(np.uint8)),
    "light falling off by 35 %": still(falloff),
    "blur 1 px": still(lambda image, _: cv2.GaussianBlur(image, (0, 0), 1.0)),
    "blur 2 px": still(lambda image, _: cv2.GaussianBlur(image, (0, 0), 2.0)),
    "noise 12 levels": still(noise),
    "JPEG quality 50": still(jpeg),
    "half the size": resized(0.5),
    "1.6 times the size": resized(1.6),
}


def carried(box: tuple[int, ...], matrix: np.ndarray) -> tuple[float, ...]:
    x1, y1, x2, y2 = box
    x, y = matrix @ np.array([[x1, x2, x1, x2], [y1, y1, y2, y2], [1, 1, 1, 1]])
    half = (x2 - x1) / 2 * matrix[0, 0], (y2 - y1) / 2 * matrix[1, 1]
    return x.mean() - half[0], y.mean() - half[1], x.mean() + half[0], y.mean() + half[1]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--tinted", action="store_true", help="boards in colour")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    everything = list(pairs(arguments.data))
    chosen = everything[:: max(1, len(everything) // arguments.pairs)][: arguments.pairs]
    for name, change in CHANGES.items():
        rng = np.random.default_rng(0)
        score, alarms, worst = Score(), 0, []
        for pair in chosen:
            reference, test = decode(pair.reference).pixels, decode(pair.test).pixels
            if arguments.tinted:
                reference, test = tinted(reference), tinted(test)
            mode = CompareMode(ImageSettings(mode="compare"))
            mode.enrol([(Reference(id="r"), DecodedImage(reference, *reference.shape[1::-1]))])
            clean, _ = change(reference, rng)
            changed, matrix = change(test, rng)
            asked = [(ImageMessage(id="t"), DecodedImage(one, *one.shape[1::-1])) for one in (clean, changed)]
            ok, finding = mode.match(asked)
            assert isinstance(ok, Finding) and isinstance(finding, Finding)
            alarms += ok.verdict == "defect"
            worst.append(ok.score)
            score.add(finding, [carried(box, matrix) for box in pair.boxes])
        print(
            f"{name:32} clean boards alarmed {alarms}/{len(chosen)} (median score {np.median(worst):.2f})  "
            f"defects hit {score.recall:.3f}  false boxes {score.false_boxes:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
