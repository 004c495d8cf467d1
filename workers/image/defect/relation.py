"""How the deep layers of good parts follow from the shallow ones, and how far an image departs from that."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.image.defect.patches import PartPlanes
from workers.image.defect.projection import Projection, Scaling

SHALLOW: Final = (0, 1)
DEEP: Final = (2, 3)
SEEN_DIMENSIONS: Final = 64
SEEN_LENGTH: Final = 6.0
"""Typical length that what is seen of a patch is brought to."""
PENALTY: Final = 0.01
"""Of the squared coefficients, for each patch. 0.001 to 0.1 differ by less than a point of AUROC."""
FOLDS: Final = 10
"""Parts held out are told by a relation learnt from the other folds."""
STEPS: Final = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))
"""Patches that one is told from: itself and those around."""

Rows = NDArray[np.float32]


class LayerRelation:
    """Tells each patch's deep features from the shallow ones around, as good parts have them.

    A flaw changes what the network makes of what it sees in another way than good parts' differences do,
    also in places for which the bank knows no like: the relation holds for parts it has not seen.

    Args:
        images: planes of each good image; several of one part stand together.
        owners: for each image the number of its part, ascending.

    Source: the idea of Bergmann et al., Uninformed Students, CVPR 2020, and of Deng and Li, Reverse
    Distillation, CVPR 2022, with ridge regression in place of a network.
    """

    def __init__(self, images: Sequence[PartPlanes], owners: Sequence[int]) -> None:
        self.unit = 1.0
        self._seen = Projection(images, SHALLOW, even=False, kept=SEEN_DIMENSIONS)
        # Not on principal axes: those learnt hold more of what varies in their own parts than in new ones,
        # whose departures would look smaller than those of the parts that thresholds are set by.
        self._told = Scaling(images, DEEP)
        order = {owner: number for number, owner in enumerate(dict.fromkeys(owners))}
        folds = min(FOLDS, len(order))
        self._fold_of = {owner: number % folds for owner, number in order.items()}
        seen, told = self._around(images[0]).shape[1], self._told.scaled(images[0]).shape[1]
        squares = np.zeros((folds, seen, seen), np.float32)
        products = np.zeros((folds, seen, told), np.float32)
        counts = np.zeros(folds, np.int64)
        for planes, owner in zip(images, owners, strict=True):
            fold = self._fold_of[owner]
            around = self._around(planes)
            squares[fold] += around.T @ around
            products[fold] += around.T @ self._told.scaled(planes)
            counts[fold] += len(around)
        square, product, count = squares.sum(axis=0), products.sum(axis=0), counts.sum()
        self._all = _ridge(square, product, count)
        self._without = [
            _ridge(square - squares[fold], product - products[fold], count - counts[fold])
            for fold in range(folds)
        ]

    def distances(self, planes: PartPlanes, without: int | None = None) -> Rows:
        """How far each patch's deep features are from what the shallow ones tell.

        Args:
            planes: of one image.
            without: a part that shall not have been learnt from.

        Returns:
            float32, shape (rows, columns) of the planes, in units of a good patch's median.
        """
        learnt = self._all if without is None else self._without[self._fold_of[without]]
        departure = self._told.scaled(planes) - self._around(planes) @ learnt
        found = np.linalg.norm(departure, axis=1).reshape(planes[0].shape[:2])
        return np.asarray(found / self.unit, np.float32)

    def _around(self, planes: PartPlanes) -> Rows:
        """What a patch is told from: shallow features of it and those around, of the whole, and its place."""
        rows, columns = planes[0].shape[:2]
        seen = self._seen.project(planes) * np.float32(SEEN_LENGTH / max(self._seen.typical, 1e-6))
        grid = np.pad(seen.reshape(rows, columns, -1), ((1, 1), (1, 1), (0, 0)), mode="edge")
        near = [grid[1 + y : 1 + y + rows, 1 + x : 1 + x + columns] for y, x in STEPS]
        down, across = np.mgrid[0:rows, 0:columns]
        v, h = (down + 0.5) / rows * 2 - 1, (across + 0.5) / columns * 2 - 1
        place = np.stack([np.ones_like(h), h, v, h * h, v * v, h * v], axis=2)
        whole = np.broadcast_to(seen.mean(axis=0), (rows, columns, seen.shape[1]))
        return np.concatenate([*near, whole, place], axis=2).reshape(rows * columns, -1).astype(np.float32)


def _ridge(square: Rows, product: Rows, count: np.int64) -> Rows:
    """Coefficients that tell the products from the squares of n rows; shape (seen, told)."""
    penalty = PENALTY * max(int(count), 1) * np.eye(len(square))
    return np.asarray(np.linalg.solve(square + penalty, product), np.float32)
