"""Making two aligned pictures comparable: the same light and the same sharpness."""

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]

_REDUCED_PX = 80
"""Longer side of the picture in which the light is compared, in pixels: defects are a pixel or two there."""
_SHARPER = 1.3
"""Ratio of gradient energy from which one picture counts as blurred against the other."""
_BLURS_PX = (0.6, 0.9, 1.3, 1.8, 2.5)
"""Standard deviations tried to blur the sharper picture, in pixels."""


def match_light(reference: Grey, test: Grey, valid: NDArray[np.bool_] | None = None) -> Grey:
    """Bring the test image to the reference's light: one gain and offset, then a slow local gain.

    Args:
        reference: uint8, shape (h, w).
        test: uint8, shape (h, w), aligned.
        valid: bool, shape (h, w), where the test image shows the scene; all of it where left out.

    Returns:
        uint8, shape (h, w).
    """
    factor = max(1.0, max(reference.shape) / _REDUCED_PX)
    size = (max(1, round(reference.shape[1] / factor)), max(1, round(reference.shape[0] / factor)))
    small_reference = cv2.resize(reference, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    small_test = cv2.resize(test, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    use = np.ones(small_test.shape, bool)
    if valid is not None:
        use = cv2.resize(valid.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    line = _robust_line(small_test[use], small_reference[use])
    # a gain for all, an offset, a slow local gain: whichever explains most pixels
    choices = [((1.0, 0.0), False), (line, False), ((1.0, 0.0), True), (line, True)]
    errors = []
    for (gain, offset), evened in choices:
        lit = small_test * gain + offset
        field = _slow_gain(small_reference, lit) if evened else 1.0
        errors.append(float(np.quantile(np.abs(lit * field - small_reference)[use], 0.75)))
    # simpler light unless the more complicated one is better by a grey level
    best = min(range(len(choices)), key=lambda index: errors[index] + 0.5 * index)
    (gain, offset), evened = choices[best]
    table = np.clip(np.arange(256) * gain + offset, 0, 255).astype(np.uint8)
    matched: Grey = test if (gain, offset) == (1.0, 0.0) else cv2.LUT(test, table)
    if not evened:
        return matched
    field = _slow_gain(small_reference, small_test * gain + offset)
    full = cv2.resize(field, test.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip(matched * full, 0, 255).astype(np.uint8))


def _robust_line(x: NDArray[np.float32], y: NDArray[np.float32]) -> tuple[float, float]:
    """Gain and offset of y ≈ gain · x + offset, by least squares without the worst tenth."""
    if x.size < 16 or float(x.std()) < 2.0:
        return 1.0, float(np.median(y - x)) if x.size else 0.0
    keep = np.ones(x.shape, bool)
    gain, offset = 1.0, 0.0
    for _ in range(3):
        spread = float(np.var(x[keep]))
        if spread < 1.0:
            break
        gain = float(np.mean((x[keep] - x[keep].mean()) * (y[keep] - y[keep].mean()))) / spread
        gain = float(np.clip(gain, 0.3, 3.0))
        offset = float(y[keep].mean()) - gain * float(x[keep].mean())
        error = np.abs(y - gain * x - offset)
        keep = error <= np.quantile(error, 0.9)
    return gain, offset


def _slow_gain(reference: NDArray[np.float32], test: NDArray[np.float32]) -> NDArray[np.float32]:
    """The gain, slowly varying over the picture, that brings the test image to the reference's local mean."""
    ksize = (max(3, test.shape[1] // 4 | 1), max(3, test.shape[0] // 4 | 1))
    low_reference = cv2.boxFilter(reference, -1, ksize, borderType=cv2.BORDER_REFLECT)
    low_test = cv2.boxFilter(test, -1, ksize, borderType=cv2.BORDER_REFLECT)
    # a weight of 4 levels keeps black areas, where a gain can't be seen, at their surroundings' gain
    return np.asarray(np.clip((low_reference + 4) / np.maximum(low_test + 4, 1), 0.5, 2.0), np.float32)


def match_sharpness(reference: Grey, test: Grey) -> tuple[Grey, Grey]:
    """Blur the sharper of the two until both have the same gradient energy.

    Args:
        reference: uint8, shape (h, w).
        test: uint8, shape (h, w), aligned and of the same light.

    Returns:
        Both pictures, uint8, shape (h, w).
    """
    ours, theirs = _sharpness(reference), _sharpness(test)
    if max(ours, theirs) < 1.0 or max(ours, theirs) < _SHARPER * min(ours, theirs):
        return reference, test
    sharp, goal = (reference, theirs) if ours > theirs else (test, ours)
    blurred = [cv2.GaussianBlur(sharp, (0, 0), sigma) for sigma in _BLURS_PX]
    nearest = min(blurred, key=lambda image: abs(_sharpness(image) - goal))
    return (nearest, test) if ours > theirs else (reference, nearest)


def _sharpness(image: Grey) -> float:
    """Mean squared step between neighbours, in squared grey levels."""
    across = cv2.absdiff(image[:, 1:], image[:, :-1])
    down = cv2.absdiff(image[1:], image[:-1])
    return float(cv2.norm(across, cv2.NORM_L2SQR) + cv2.norm(down, cv2.NORM_L2SQR)) / max(1, image.size)
