"""Scales features of several layers to one measure and turns them to their principal axes."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.image.defect.patches import PartPlanes

SAMPLED: Final = 10_000
"""Patches that the axes are found on."""
WHITENING: Final = 0.5
"""0 leaves the spread along the axes, 1 makes it equal; half-way is a little better than either."""

Rows = NDArray[np.float32]


class Scaling:
    """Brings the planes of an image to one measure, learnt from the patches of good images.

    Args:
        images: planes of each good image.
        planes: numbers of the planes that are joined.
        even: each channel is brought to the same spread; else each plane counts as a whole, its channels as
            they are.
        seed: of the patches drawn.
    """

    def __init__(
        self, images: Sequence[PartPlanes], planes: Sequence[int], *, even: bool = False, seed: int = 0
    ) -> None:
        self._planes = tuple(planes)
        self._even = even
        self._learn(self._sample(images, seed), [images[0][plane].shape[2] for plane in planes])

    def _learn(self, sample: Rows, widths: Sequence[int]) -> None:
        """Learn from patches of good images, shape (n, channels), and how many channels each plane has."""
        self._mean = sample.mean(axis=0)
        self._spread = sample.std(axis=0) + 1e-6
        if not self._even:
            self._spread = _by_plane(self._spread, widths)

    def scaled(self, planes: PartPlanes) -> Rows:
        """Scale the patches of one image, row by row; float32, shape (patches, channels)."""
        return np.asarray((self._joined(planes) - self._mean) / self._spread, np.float32)

    def _sample(self, images: Sequence[PartPlanes], seed: int) -> Rows:
        """Draw patches at random, about as many of each image; shape (n, channels)."""
        random = np.random.default_rng(seed)
        share = SAMPLED / sum(planes[0].shape[0] * planes[0].shape[1] for planes in images)
        drawn = []
        for planes in images:
            patches = self._joined(planes)
            drawn.append(patches if share >= 1 else patches[random.random(len(patches)) < share])
        return np.concatenate(drawn)

    def _joined(self, planes: PartPlanes) -> Rows:
        rows = [planes[plane].reshape(-1, planes[plane].shape[2]) for plane in self._planes]
        return rows[0] if len(rows) == 1 else np.concatenate(rows, axis=1)


class Projection(Scaling):
    """Turns scaled patches to the principal axes of good ones.

    Args:
        images: planes of each good image.
        planes: numbers of the planes that are joined.
        even: see `Scaling`; the axes are then partly whitened too.
        kept: axes at most.
        seed: of the patches drawn.

    Attributes:
        typical: root of the mean squared length of a projected patch.
    """

    def __init__(
        self, images: Sequence[PartPlanes], planes: Sequence[int], *, even: bool, kept: int, seed: int = 0
    ) -> None:
        self._kept = kept
        super().__init__(images, planes, even=even, seed=seed)

    def _learn(self, sample: Rows, widths: Sequence[int]) -> None:
        super()._learn(sample, widths)
        look = (sample - self._mean) / self._spread
        self._axes = _axes(look, WHITENING if self._even else 0.0, self._kept)
        self.typical = float(np.sqrt(np.mean(np.sum((look @ self._axes) ** 2, axis=1))))

    def project(self, planes: PartPlanes) -> Rows:
        """Project the patches of one image, row by row; float32, shape (patches, kept)."""
        return np.asarray(self.scaled(planes) @ self._axes, np.float32)


def _by_plane(spread: Rows, widths: Sequence[int]) -> Rows:
    """Scale each plane as a whole, so that its channels together vary by 1."""
    ends = np.cumsum(widths)
    whole = [
        np.full(width, np.sqrt(np.sum(spread[end - width : end] ** 2)))
        for width, end in zip(widths, ends, strict=True)
    ]
    return np.asarray(np.concatenate(whole), np.float32)


def _axes(sample: Rows, whitening: float, kept: int) -> Rows:
    """Principal axes of scaled features, partly whitened; shape (channels, kept)."""
    spread, axes = np.linalg.eigh(np.atleast_2d(np.cov(sample, rowvar=False)))
    spread, axes = spread[::-1][:kept], axes[:, ::-1][:, :kept]
    relative = np.maximum(spread, 1e-4 * max(spread[0], 1e-12)) / max(spread[0], 1e-12)
    return np.asarray(axes * relative ** (-whitening / 2), np.float32)
