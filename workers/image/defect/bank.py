"""The memory bank: every patch of the good parts, and how far patches are from the nearest of them."""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.image.defect.patches import Planes
from workers.image.models import PatchIndex

KEPT_DIMENSIONS: Final = 128
SAMPLED: Final = 20_000
"""Patches that the axes are found on."""
WHITENING: Final = 0.5
"""0 leaves the spread along the axes, 1 makes it equal; half-way is a little better than either."""
POSITION_WEIGHT: Final = 1.0
"""How much the place of a patch counts beside its look: parts lie roughly alike, but not exactly."""
MAX_PATCHES: Final = 150_000
"""Patches a layer's bank holds at most; beyond, whole images are thinned evenly. About 80 MB."""

ScoreMap = NDArray[np.float32]


class LayerBank:
    """The bank of one layer.

    Args:
        images: planes of each good image; several of one part (variants) stand together.
        owners: for each image the number of its part, ascending.
        seed: of the random draws.

    Source: Roth et al., Towards Total Recall in Industrial Anomaly Detection (PatchCore), CVPR 2022; the
    position as in Yi and Yoon, Patch SVDD, 2020. The bank is not thinned to a coreset: searched by cells the
    whole is as fast, and on tiles 4,000 of 400,000 patches cost 5 points of AUROC.
    """

    def __init__(self, images: Sequence[Planes], owners: Sequence[int], seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        every = np.concatenate([planes.reshape(-1, planes.shape[2]) for planes in images])
        self._mean = every.mean(axis=0)
        self._spread = every.std(axis=0) + 1e-6
        rows = random.choice(len(every), min(SAMPLED, len(every)), replace=False)
        self._axes = _axes((every[rows] - self._mean) / self._spread)
        step = max(1, -(-len(every) // MAX_PATCHES))
        del every
        vectors: list[NDArray[np.float32]] = []
        self._ranges: dict[int, tuple[int, int]] = {}
        start = 0
        for planes, owner in zip(images, owners, strict=True):
            kept = self._projected(planes)[start % step :: step]
            first, _ = self._ranges.get(owner, (start, start))
            vectors.append(kept)
            start += len(kept)
            self._ranges[owner] = (first, start)
        self._index = PatchIndex(np.concatenate(vectors))
        self.unit = 1.0

    def distances(self, planes: Planes, without: int | None = None) -> ScoreMap:
        """Distance of each patch to the nearest good one, in units of a good patch's median.

        Args:
            planes: of one image.
            without: a part whose own patches don't count.
        """
        left_out = None if without is None else self._ranges[without]
        found = self._index.distances(self._projected(planes), left_out)
        finite = found[np.isfinite(found)]
        if finite.size < found.size:  # nothing left in the cells searched: as far as the farthest
            found = np.where(np.isfinite(found), found, finite.max(initial=0.0))
        return np.asarray(found.reshape(planes.shape[:2]) / self.unit, np.float32)

    def _projected(self, planes: Planes) -> NDArray[np.float32]:
        rows, columns, channels = planes.shape
        look = ((planes.reshape(-1, channels) - self._mean) / self._spread) @ self._axes
        down, across = np.mgrid[0:rows, 0:columns].reshape(2, -1)
        place = np.stack([(down + 0.5) / rows, (across + 0.5) / columns], axis=1)
        weight = POSITION_WEIGHT * np.sqrt(look.shape[1])
        return np.concatenate([look, place * weight], axis=1).astype(np.float32)


def _axes(sample: NDArray[np.float32]) -> NDArray[np.float32]:
    """Principal axes of standardised features, partly whitened; shape (channels, kept)."""
    spread, axes = np.linalg.eigh(np.atleast_2d(np.cov(sample, rowvar=False)))
    spread, axes = spread[::-1][:KEPT_DIMENSIONS], axes[:, ::-1][:, :KEPT_DIMENSIONS]
    relative = np.maximum(spread, 1e-4 * max(spread[0], 1e-12)) / max(spread[0], 1e-12)
    return np.asarray(axes * relative ** (-WHITENING / 2), np.float32)


class MemoryBank:
    """The banks of all layers, their distances brought to one unit and averaged.

    Args:
        images: for each good image the planes of each layer.
        owners: for each image the number of its part, ascending.
    """

    def __init__(self, images: Sequence[tuple[Planes, ...]], owners: Sequence[int]) -> None:
        self._layers = [
            LayerBank([planes[layer] for planes in images], owners) for layer in range(len(images[0]))
        ]
        parts = sorted(set(owners))
        if len(parts) > 1:
            first_of = {owner: position for position, owner in reversed(list(enumerate(owners)))}
            sample = parts[:: max(1, len(parts) // 20)]
            for number, layer in enumerate(self._layers):
                found = [layer.distances(images[first_of[part]][number], without=part) for part in sample]
                layer.unit = max(1e-6, float(np.median(np.concatenate([m.ravel() for m in found]))))

    def score_map(self, planes: tuple[Planes, ...], without: int | None = None) -> ScoreMap:
        """Anomaly of each patch, on the grid of the finest layer; about 1 for a good patch.

        Args:
            planes: of each layer.
            without: a part whose own patches don't count.
        """
        rows, columns = planes[0].shape[:2]
        total = np.zeros((rows, columns), np.float32)
        for layer, own in zip(self._layers, planes, strict=True):
            found = layer.distances(own, without)
            total += cv2.resize(found, (columns, rows), interpolation=cv2.INTER_LINEAR)
        return total / np.float32(len(self._layers))
