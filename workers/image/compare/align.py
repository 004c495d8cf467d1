"""Alignment of a photograph to its reference: translation, rotation, scale and a little shear.

A transform is a float64 2 × 3 matrix M with p_test = M · (x, y, 1) for a point (x, y) of the reference, in
pixels with the origin at the centre of the first pixel. It is found in two steps: a guess (the pictures laid
over one another, phase correlation, and, only where that fails, a grid of turns and scales), then
inverse-compositional Gauss-Newton on a reduced and on a finer picture (Baker and Matthews, "Lucas-Kanade
20 Years On", 2004). The Jacobian belongs to the reference and is computed once, when that is enrolled.
"""

from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Transform = NDArray[np.float64]

_COARSE_PX = 160
"""Longer side of the picture in which the guess is made, in pixels."""
_FINE_PX = 480
"""Longer side of the picture in which the transform is refined; the fit is good to a tenth of its pixels."""
_MAX_POINTS = 4_000
"""Points with the strongest gradient that enter the fit; more cost time and don't move the result."""
_RIDGE = (3e-3, 3e-4, 3e-4, 3e-4, 0.03, 0.03)
"""Damping of scale, turn, shifts, aspect and shear: where tracks run one way only, they are left alone."""
_GOOD_CORRELATION = 0.96
"""Coarse correlation after refinement from which no grid of rotations and scales is tried."""
_ANGLES_DEG = (-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0)
_SCALES = (0.97, 0.985, 1.0, 1.015, 1.03)


@dataclass(frozen=True)
class Alignment:
    """Where the reference lies in the test image.

    Attributes:
        matrix: float64, shape (2, 3), reference pixel to test pixel.
        correlation: of the coarse pictures after alignment, in [-1, 1]; low means another scene.
    """

    matrix: Transform
    correlation: float


@dataclass(frozen=True)
class _Level:
    """One resolution of the reference, with what Gauss-Newton needs of it."""

    image: NDArray[np.float32]
    points: NDArray[np.intp]
    jacobian: NDArray[np.float32]
    factor: float


class Aligner:
    """Aligns test images to one reference.

    Args:
        reference: uint8, shape (h, w).
    """

    def __init__(self, reference: Grey) -> None:
        self._shape = reference.shape
        self._coarse = _level(reference, _COARSE_PX)
        self._fine = _level(reference, _FINE_PX)

    def align(self, test: Grey) -> Alignment:
        """Find the transform of the reference into the test image, uint8, shape (h', w')."""
        coarse = _Reduced(test, self._coarse.factor)
        bases = self._bases(test.shape)
        matrix, correlation = self._settled(coarse, bases)
        if correlation < _GOOD_CORRELATION:
            turns = [
                _compose(base, _about_centre(self._shape, self._shape, angle, (scale, scale)))
                for base, angle, scale in product(bases[:2], _ANGLES_DEG, _SCALES)
            ]
            matrix, correlation = max(
                (matrix, correlation), self._settled(coarse, turns), key=lambda found: found[1]
            )
        fine = _Reduced(test, self._fine.factor)
        refined = _refine(self._fine, fine, matrix, iterations=8)
        before = _correlation(self._fine.image, fine.warp(matrix, self._fine))
        after = _correlation(self._fine.image, fine.warp(refined, self._fine))
        return Alignment(refined, after) if after >= before else Alignment(matrix, before)

    def _bases(self, test: tuple[int, ...]) -> list[Transform]:
        """The test image laid over the reference: stretched to its size, or pixel on pixel."""
        ratio_x, ratio_y = test[1] / self._shape[1], test[0] / self._shape[0]
        bases = [_about_centre(self._shape, test, 0.0, (ratio_x, ratio_y))]
        if abs(ratio_x - 1) > 1e-9 or abs(ratio_y - 1) > 1e-9:
            bases.append(_about_centre(self._shape, test, 0.0, (1.0, 1.0)))
        return bases

    def _settled(self, test: "_Reduced", starts: list[Transform]) -> tuple[Transform, float]:
        """The best of the starts, each moved by phase correlation, the best few refined."""
        found = sorted((self._shifted(test, start) for start in starts), key=lambda one: -one[1])[:3]
        refined = [_refine(self._coarse, test, matrix, iterations=20) for matrix, _ in found]
        level = self._coarse
        found += [(matrix, _correlation(level.image, test.warp(matrix, level))) for matrix in refined]
        return max(found, key=lambda one: one[1])

    def _shifted(self, test: "_Reduced", base: Transform) -> tuple[Transform, float]:
        """`base` with the translation that phase correlation finds, if that correlates better."""
        level = self._coarse
        warped = test.warp(base, level)
        still = _correlation(level.image, warped)
        if still >= 0.97:
            return base, still
        window = cv2.createHanningWindow(level.image.shape[::-1], cv2.CV_32F)
        # copies: where the size suits its transform, phaseCorrelate applies the window to its inputs in place
        (dx, dy), _ = cv2.phaseCorrelate(level.image.copy(), warped.copy(), window)
        moved = _compose(base, np.array([[1.0, 0, dx * level.factor], [0, 1.0, dy * level.factor]]))
        found = _correlation(level.image, test.warp(moved, level))
        # a periodic part looks the same a period on, and the flaw is then out of sight: what is seen counts
        return (moved, found) if found * _overlap(dx, dy, level.image.shape) > still else (base, still)


class _Reduced:
    """A test image reduced by the reference's factor, so that both are equally sharp."""

    def __init__(self, image: Grey, factor: float) -> None:
        size = (max(1, round(image.shape[1] / factor)), max(1, round(image.shape[0] / factor)))
        self._image = _smooth(image, size)
        self._to_x = size[0] / image.shape[1]
        self._to_y = size[1] / image.shape[0]

    def warp(self, matrix: Transform, level: _Level) -> NDArray[np.float32]:
        """The test image as the reference's level sees it under `matrix`."""
        # half-pixel centres: reduced = (full + ½) · factor - ½
        up = np.array([[level.factor, 0, (level.factor - 1) / 2], [0, level.factor, (level.factor - 1) / 2]])
        down = np.array([[self._to_x, 0, (self._to_x - 1) / 2], [0, self._to_y, (self._to_y - 1) / 2]])
        inner = _compose(down, _compose(matrix, up))
        shape = level.image.shape[::-1]
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        warped: NDArray[np.float32] = cv2.warpAffine(
            self._image, inner, shape, flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        return warped


def _smooth(image: Grey, size: tuple[int, int]) -> NDArray[np.float32]:
    reduced = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if size != image.shape[::-1] else image
    # a little blur widens the basin of convergence and hides edge jitter
    smooth = cv2.GaussianBlur(reduced, (0, 0), 1.0).astype(np.float32)
    # and light that falls off across the picture must not count
    reach = max(3, max(size) // 5) | 1
    return np.asarray(smooth - cv2.blur(smooth, (reach, reach), borderType=cv2.BORDER_REPLICATE))


def _level(reference: Grey, longest: int) -> _Level:
    factor = max(1.0, max(reference.shape) / longest)
    size = (max(1, round(reference.shape[1] / factor)), max(1, round(reference.shape[0] / factor)))
    image = _smooth(reference, size)
    grad_x = cv2.Sobel(image, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    grad_y = cv2.Sobel(image, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    strength = grad_x**2 + grad_y**2
    inside = np.zeros_like(strength, dtype=bool)
    inside[2:-2, 2:-2] = True
    strength[~inside] = 0
    strong = np.flatnonzero(strength > 1.0)
    if len(strong) > _MAX_POINTS:  # the strongest, by a threshold read off a sample: sorting them all is slow
        values = strength.ravel()[strong]
        sample = values[:: max(1, len(values) // 2_000)]
        strong = strong[values >= np.quantile(sample, 1 - _MAX_POINTS / len(values))]
    points = strong
    rows, columns = np.divmod(points, image.shape[1])
    # centred and scaled coordinates keep the Hessian well conditioned
    half = max(image.shape) / 2
    x = (columns - (image.shape[1] - 1) / 2) / half
    y = (rows - (image.shape[0] - 1) / 2) / half
    gx, gy = grad_x.ravel()[points], grad_y.ravel()[points]
    # scale, turn, shift in x and y, aspect, shear: each the displacement it makes at the edge, in pixels
    steps = [gx * x + gy * y, gy * x - gx * y, gx, gy, gx * x - gy * y, gx * y + gy * x]
    jacobian = np.stack(steps, axis=1).astype(np.float32)
    return _Level(image, points, jacobian, factor)


def _refine(level: _Level, test: _Reduced, matrix: Transform, iterations: int) -> Transform:
    """Gauss-Newton steps of an affine transform, robust to defects and to a change of gain and offset."""
    if len(level.points) < 50:
        return matrix
    height, width = level.image.shape
    half = max(height, width) / 2
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    spread, mean = float(level.image.std()), float(level.image.mean())
    target = level.image.ravel()[level.points] - mean
    for _ in range(iterations):
        warped = test.warp(matrix, level)
        gain = spread / max(float(warped.std()), 1e-3)
        seen = (warped.ravel()[level.points] - float(warped.mean())) * gain
        error = seen - target
        limit = 4.0 * float(np.median(np.abs(error))) + 8.0
        weight = (np.abs(error) < limit).astype(np.float32)
        weighted = level.jacobian * weight[:, None]
        hessian = (weighted.T @ level.jacobian).astype(np.float64)
        ridge = np.diag(_RIDGE) * (float(np.trace(hessian)) / 6 + 1e-6)
        step = np.linalg.solve(hessian + ridge, weighted.T @ error)
        scale, turn, aspect, shear = step[0], step[1], step[4], step[5]
        linear = np.array([[scale + aspect, shear - turn], [shear + turn, scale - aspect]]) / half
        shift = step[2:4] - linear @ centre
        # the step is in the reference's reduced pixels; bring it to full ones
        offset = (level.factor - 1) / 2
        shift = shift * level.factor - linear @ np.array([offset, offset])
        increment = np.column_stack([np.eye(2) + linear, shift])
        matrix = _compose(matrix, _inverse(increment))
        if float(np.abs(step).max()) < 0.01:
            break
    return matrix


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    spread = float(one.std()) * float(other.std())
    if spread < 1e-6:
        return 1.0 if abs(float(one.std()) - float(other.std())) < 1.0 else 0.0
    return float(np.mean((one - one.mean()) * (other - other.mean()))) / spread


def _overlap(dx: float, dy: float, shape: tuple[int, ...]) -> float:
    """Share of a picture that still lies over its like after a shift."""
    return max(0.0, 1 - abs(dx) / shape[1]) * max(0.0, 1 - abs(dy) / shape[0])


def _about_centre(
    reference: tuple[int, ...], test: tuple[int, ...], angle_deg: float, scale: tuple[float, float]
) -> Transform:
    """Turn and scale about the centres of the two images."""
    radians = np.deg2rad(angle_deg)
    turn = np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])
    linear = np.diag(scale) @ turn
    from_centre = np.array([(reference[1] - 1) / 2, (reference[0] - 1) / 2])
    to_centre = np.array([(test[1] - 1) / 2, (test[0] - 1) / 2])
    return np.column_stack([linear, to_centre - linear @ from_centre])


def _compose(outer: Transform, inner: Transform) -> Transform:
    """First `inner`, then `outer`."""
    linear = outer[:, :2] @ inner[:, :2]
    return np.column_stack([linear, outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def _inverse(matrix: Transform) -> Transform:
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])
