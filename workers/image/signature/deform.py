"""Distance between two signatures that forgives small local displacements.

Image deformation model (Keysers et al., "Deformation Models for Image Recognition", PAMI 2007): each cell of
one description is compared, with its neighbourhood, to the cells about the same place in the other, and the
best fit counts. Hands never repeat a signature to the millimetre; they do repeat how each part of it runs.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_REACH_CELLS: Final = 2
"""How far a part may be displaced, in cells of the description."""
_CONTEXT: Final = (5, 5)
"""The neighbourhood that is compared, in cells."""


def distances(query: Floats, others: Floats) -> Floats:
    """Deformation distance of a signature to others, symmetric.

    Args:
        query: a description, float32, shape (rows, columns, directions).
        others: descriptions, float32, shape (k, rows, columns, directions).

    Returns:
        float32, shape (k,), from 0 to about 1.4.
    """
    there = np.array([_one_way(query[None], other)[0] for other in others], np.float32)
    return np.asarray((_one_way(others, query) + there) / 2, np.float32)


def _one_way(shifted: Floats, still: Floats) -> Floats:
    """Distance of `still` to each of `shifted`, whose cells may move; shape (k,)."""
    rows, columns = still.shape[:2]
    reach = _REACH_CELLS
    padded = np.pad(shifted, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    best = np.full((len(shifted), rows, columns), np.inf, np.float32)
    for dy in range(2 * reach + 1):
        for dx in range(2 * reach + 1):
            apart = padded[:, dy : dy + rows, dx : dx + columns] - still
            cells = np.einsum("krcd,krcd->krc", apart, apart)
            local = np.stack([cv2.blur(one, _CONTEXT, borderType=cv2.BORDER_CONSTANT) for one in cells])
            np.minimum(best, local, out=best)
    return np.asarray(np.sqrt(np.maximum(best, 0).sum(axis=(1, 2))), np.float32)
