"""Kind of a flaw, learnt from a few labelled boxes: open, short, mouse bite, spur, however they are called.

What tells kinds apart is what the flaw touches. Around the flaw runs a ring; how often it passes from dark to
bright and back says whether material was added or taken inside an area (never), at an edge (once) or across
from one edge to the other (twice or more). That, the sign of the difference, and size and shape go to nearest
neighbours and to a shrunken linear discriminant, whose shares of the vote are averaged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Floats = NDArray[np.float64]
Example = tuple[Grey, Grey, str]
"""Crop of the reference, crop of the aligned test image, of the same shape, and the kind of flaw."""

_FLOOR = 0.35
"""Share of the crops' contrast from which a pixel differs."""


@dataclass(frozen=True)
class Kind:
    """A kind with its share of the vote, in [0, 1]."""

    name: str
    share: float


class _Model(Protocol):
    """What is asked of a classifier of scikit-learn."""

    def predict_proba(self, features: Floats) -> Floats:
        """Shares of the vote, shape (n, kinds)."""


class KindClassifier:
    """Few-shot classifier of flaws."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._centre = np.zeros(1)
        self._spread = np.ones(1)
        self._models: list[_Model] = []

    @property
    def fitted(self) -> bool:
        """Whether there is anything to tell apart."""
        return bool(self._names)

    def fit(self, examples: Sequence[Example]) -> None:
        """Learn from examples, in place of all former ones; none at all unlearns."""
        self._names = sorted({kind for _, _, kind in examples})
        self._models = []
        if len(self._names) < 2:
            return
        features = np.stack([describe_flaw(reference, test) for reference, test, _ in examples])
        kinds = np.array([kind for _, _, kind in examples])
        self._centre, self._spread = features.mean(axis=0), features.std(axis=0)
        self._spread[self._spread < 1e-9] = 1.0
        scaled = (features - self._centre) / self._spread
        # scikit-learn takes a second to import: only workers that tell kinds apart pay it
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
        from sklearn.neighbors import KNeighborsClassifier

        neighbours = KNeighborsClassifier(n_neighbors=min(5, len(examples)), weights="distance")
        self._models = [neighbours.fit(scaled, kinds)]
        if len(examples) >= 2 * len(self._names):
            linear = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3)
            self._models.append(linear.fit(scaled, kinds))

    def predict(self, reference: Grey, test: Grey) -> Kind | None:
        """The kind of the flaw in a pair of crops, uint8, of one shape; None before `fit`."""
        if not self._names:
            return None
        if not self._models:
            return Kind(self._names[0], 1.0)
        features = (describe_flaw(reference, test)[None] - self._centre) / self._spread
        shares = np.mean([model.predict_proba(features)[0] for model in self._models], axis=0)
        best = int(shares.argmax())
        return Kind(self._names[best], float(shares[best]))


def describe_flaw(reference: Grey, test: Grey) -> Floats:
    """Describe a flaw in a pair of crops.

    Args:
        reference: uint8, shape (h, w).
        test: uint8, shape (h, w), aligned and in the same light.

    Returns:
        float64, shape (15,): sign, size, shape, and what surrounds the flaw in both pictures.
    """
    low, high = float(min(reference.min(), test.min())), float(max(reference.max(), test.max()))
    contrast = max(32.0, high - low)
    middle = (low + high) / 2
    signed = test.astype(np.int16) - reference
    flaw = _main_part((np.abs(signed) > _FLOOR * contrast).astype(np.uint8))
    inside = flaw > 0
    area = int(inside.sum())
    if area == 0:
        return np.zeros(15)
    sign = float(np.sign(signed[inside]).mean())
    rows, columns = np.nonzero(inside)
    moments = (
        np.linalg.eigvalsh(np.cov(np.stack([rows, columns])) + np.eye(2) * 0.1) if area > 2 else np.ones(2)
    )
    radius = float(cv2.distanceTransform(flaw, cv2.DIST_L2, 3).max())
    parts = [sign, np.log(area), np.log(moments[1] / moments[0]), radius]
    parts += [(np.ptp(rows) + 1) * (np.ptp(columns) + 1) / area]
    for picture in (reference, test):
        dark = (picture < middle).astype(np.uint8)
        for near in (2, 4):
            parts += _ring(flaw, dark, near)
    parts += _pieces(reference, test, middle, flaw)
    return np.array(parts, np.float64)


def _main_part(mask: Grey) -> Grey:
    """The largest difference and what is nearly as large or touches it, without the jitter of edges."""
    opened: Grey = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    joined = cv2.dilate(opened, np.ones((5, 5), np.uint8))
    count, labels, _, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    if count <= 1:
        return opened
    thickness = cv2.distanceTransform(opened, cv2.DIST_L2, 3)
    weights = np.bincount(labels.ravel(), (thickness**2).ravel(), minlength=count)
    weights[0] = 0
    return np.where(weights[labels] > 0.3 * weights.max(), opened, 0).astype(np.uint8)


def _ring(flaw: Grey, dark: Grey, near: int) -> list[float]:
    """Of the ring `near` pixels about the flaw: share of dark, dark arcs (at most 3)."""
    ellipse = cv2.getStructuringElement
    inner = cv2.dilate(flaw, ellipse(cv2.MORPH_ELLIPSE, (2 * near - 1, 2 * near - 1)))
    inner = _filled(inner)
    outer = cv2.dilate(inner, ellipse(cv2.MORPH_ELLIPSE, (5, 5)))
    ring = cv2.subtract(outer, inner)
    total = int(ring.sum())
    if total == 0:
        return [0.5, 0.0]
    arcs = cv2.bitwise_and(ring, dark)
    count, _, stats, _ = cv2.connectedComponentsWithStats(arcs, connectivity=8)
    real = sum(1 for index in range(1, count) if stats[index, cv2.CC_STAT_AREA] >= 5)
    return [float(arcs.sum()) / total, float(min(real, 3))]


def _filled(mask: Grey) -> Grey:
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled: Grey = cv2.drawContours(mask.copy(), contours, -1, 1, cv2.FILLED)
    return filled


def _pieces(reference: Grey, test: Grey, middle: float, flaw: Grey) -> list[float]:
    """How many more pieces of dark and of bright the flaw's surroundings have than the reference."""
    near = cv2.dilate(flaw, np.ones((13, 13), np.uint8))
    changes = []
    for dark in (True, False):
        counts = []
        for picture in (reference, test):
            mask = ((picture < middle) == dark).astype(np.uint8) & near
            count, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
            counts.append(sum(1 for index in range(1, count) if stats[index, cv2.CC_STAT_AREA] >= 8))
        changes.append(float(np.clip(counts[1] - counts[0], -2, 2)))
    return changes
