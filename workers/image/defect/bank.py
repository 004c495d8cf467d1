"""The memory bank: every patch of the good parts, and how far patches are from the nearest of them."""

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from workers.image.defect.patches import PartPlanes
from workers.image.defect.projection import Projection
from workers.image.defect.relation import LayerRelation
from workers.image.models import PatchIndex

KEPT_DIMENSIONS: Final = 128
SPARSE: Final = 0.5
"""Share of a good patch's distance to other parts that is taken off the distances to it. In place of the
weight of an image's highest place in PatchCore, equation 7, which looks at one patch of each image only."""
RIVALS: Final = 16
"""Patches looked at for how far a good patch is from other parts, with and without the nearest part: a part
that is left out to be judged must not make its likes seem crowded."""
MAX_PATCHES: Final = 150_000
"""Patches the bank of a view holds at most; beyond, whole images are thinned evenly. About 80 MB."""

ScoreMap = NDArray[np.float32]


@dataclass(frozen=True)
class View:
    """One way of comparing patches: which planes of an image, and how they are scaled.

    Attributes:
        planes: numbers of the planes that are joined.
        even: each channel is brought to the same spread and the axes are partly whitened; else each plane
            counts as a whole, its channels as they are.
        place: how much the place of a patch counts beside its look: parts lie roughly alike, not exactly.
        weight: how much the view counts beside the others.
    """

    planes: tuple[int, ...]
    even: bool
    place: float
    weight: float


VIEWS: Final = (
    View((2,), even=True, place=1.0, weight=1.0),
    View((3,), even=True, place=1.0, weight=1.0),
    View((0, 1, 2, 3), even=False, place=0.4, weight=3.0),
)
"""The deepest layers by themselves, evened, serve aligned parts best; all layers together, as they are, parts
that differ. The mean of both loses nothing on the former and gains a point of AUROC on the latter."""


class ViewBank:
    """The bank of one view.

    Args:
        images: planes of each good image; several of one part (variants) stand together.
        owners: for each image the number of its part, ascending.
        view: how patches are compared.
        seed: of the random draws.

    Source: Roth et al., Towards Total Recall in Industrial Anomaly Detection (PatchCore), CVPR 2022; the
    position as in Yi and Yoon, Patch SVDD, 2020. The bank is not thinned to a coreset: searched by cells the
    whole is as fast, and on tiles 4,000 of 400,000 patches cost 5 points of AUROC.
    """

    def __init__(
        self, images: Sequence[PartPlanes], owners: Sequence[int], view: View, seed: int = 0
    ) -> None:
        self.view = view
        self.unit = 1.0
        self._projection = Projection(images, view.planes, even=view.even, kept=KEPT_DIMENSIONS, seed=seed)
        self._place_weight = view.place * self._projection.typical
        count = sum(planes[0].shape[0] * planes[0].shape[1] for planes in images)
        step = max(1, -(-count // MAX_PATCHES))
        vectors: list[NDArray[np.float32]] = []
        self._ranges: dict[int, tuple[int, int]] = {}
        start = 0
        for planes, owner in zip(images, owners, strict=True):
            kept = self._projected(planes)[start % step :: step]
            first, _ = self._ranges.get(owner, (start, start))
            vectors.append(kept)
            start += len(kept)
            self._ranges[owner] = (first, start)
        every = np.concatenate(vectors)
        self._index = PatchIndex(every)
        parts = np.concatenate([np.full(last - first, o) for o, (first, last) in self._ranges.items()])
        found = [self._index.nearest(every[slice(*own)], own, RIVALS) for own in self._ranges.values()]
        apart, rows = (np.concatenate(column) for column in zip(*found, strict=True))
        self._nearest_part = parts[rows[:, 0]]
        self._apart = _finite(apart[:, 0])
        elsewhere = np.where(parts[rows] == self._nearest_part[:, None], np.inf, apart).min(axis=1)
        farthest = np.where(np.isfinite(apart), apart, 0.0).max(axis=1)
        self._apart_else = np.where(np.isfinite(elsewhere), elsewhere, farthest)

    def distances(self, planes: PartPlanes, without: int | None = None) -> ScoreMap:
        """How far each patch is from the nearest good one, in units of a good patch's median.

        Where that one is itself far from the patches of all other parts, looks vary there, and distance means
        less: a share of its own distance is taken off.

        Args:
            planes: of one image.
            without: a part whose own patches don't count.
        """
        left_out = None if without is None else self._ranges[without]
        near, places = self._index.nearest(self._projected(planes), left_out)
        rows = places[:, 0]
        apart = np.where(self._nearest_part[rows] == without, self._apart_else[rows], self._apart[rows])
        found = np.maximum(near[:, 0] - SPARSE * apart, 0.0)
        finite = found[np.isfinite(found)]
        if finite.size < found.size:  # nothing left in the cells searched: as far as the farthest
            found = np.where(np.isfinite(found), found, finite.max(initial=0.0))
        return np.asarray(found.reshape(planes[0].shape[:2]) / self.unit, np.float32)

    def without(self, parts: Collection[int]) -> Self:
        """The same bank but for the patches of some parts; all else stays as it was learnt."""
        made = copy.copy(self)
        made._index = self._index.without([self._ranges[part] for part in parts])
        return made

    def _projected(self, planes: PartPlanes) -> NDArray[np.float32]:
        look = self._projection.project(planes)
        rows, columns = planes[0].shape[:2]
        down, across = np.mgrid[0:rows, 0:columns].reshape(2, -1)
        place = np.stack([(down + 0.5) / rows, (across + 0.5) / columns], axis=1)
        return np.concatenate([look, place * self._place_weight], axis=1).astype(np.float32)


def _finite(distances: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(np.isfinite(distances), distances, np.float32(0.0))


RELATION_WEIGHT: Final = 4.0
"""How much what the layers tell of each other counts beside the views. 2 to 8 differ by 0.002 of AUROC."""
RELATION_PARTS: Final = 8
"""So many good parts give it half of that weight: few don't tell what follows from what."""


class MemoryBank:
    """The banks of all views and how layers follow from each other, brought to one unit and averaged.

    Args:
        images: for each good image its planes.
        owners: for each image the number of its part, ascending.
        disturbed: some of the parts as another photograph would show them; good patches are taken to be no
            nearer to each other than these are to their parts, however alike the parts are.
        views: how patches are compared.
    """

    def __init__(
        self,
        images: Sequence[PartPlanes],
        owners: Sequence[int],
        disturbed: Sequence[PartPlanes] = (),
        views: Sequence[View] = VIEWS,
    ) -> None:
        self._banks = [ViewBank(images, owners, view) for view in views]
        self._relation = LayerRelation(images, owners)
        count = len(set(owners))
        self._relation_weight = RELATION_WEIGHT * count / (count + RELATION_PARTS)
        self._weight = sum(view.weight for view in views) + self._relation_weight
        first_of = {owner: position for position, owner in reversed(list(enumerate(owners)))}
        parts = sorted(first_of)
        sample = parts[:: max(1, len(parts) // 20)] if len(parts) > 1 else []
        measures: list[ViewBank | LayerRelation] = [*self._banks, self._relation]
        for bank in measures:
            apart = [bank.distances(images[first_of[part]], without=part) for part in sample]
            again = [bank.distances(planes) for planes in disturbed]
            medians = [
                float(np.median(np.concatenate(group, axis=None))) for group in (apart, again) if group
            ]
            bank.unit = max(medians, default=0.0) or 1.0

    def score_map(self, planes: PartPlanes, without: int | None = None) -> ScoreMap:
        """Anomaly of each patch; about 1 for a good one. Shape (rows, columns) of the planes.

        Args:
            planes: of one image.
            without: a part whose own patches don't count.
        """
        total = np.float32(self._relation_weight) * self._relation.distances(planes, without)
        for bank in self._banks:
            total += np.float32(bank.view.weight) * bank.distances(planes, without)
        return total / np.float32(self._weight)

    def without(self, parts: Collection[int]) -> Self:
        """The same bank but for the patches of some parts; all else stays as it was learnt."""
        made = copy.copy(self)
        made._banks = [bank.without(parts) for bank in self._banks]
        return made
