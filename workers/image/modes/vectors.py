"""What modes share whose references are one vector each, kept in a gallery."""

from collections.abc import Sequence
from typing import Self, cast

import numpy as np
from numpy.typing import NDArray

from schemas import Reference
from workers.image.context import SMOOTHED_UP_TO
from workers.image.embedding import Embedder
from workers.image.gallery import Gallery
from workers.image.models import Backbone
from workers.image.modes.base import Changeable, DecodedImage


class VectorMode(Changeable):
    """A mode with a gallery of embedded references.

    Args:
        backbone: the network whose features are compared.
        gallery: an empty one.
    """

    def __init__(self, backbone: Backbone, gallery: Gallery) -> None:
        self.model = backbone.name
        self.gallery = gallery
        self.threshold: float | None = None
        """As calibrated on the gallery; None while it is not."""
        self._embedder = Embedder(backbone)

    @property
    def fingerprint(self) -> str:
        """Names what makes the vectors; see `Embedder`."""
        return self._embedder.fingerprint

    @property
    def large(self) -> bool:
        """Whether the gallery is more than a moment's work."""
        return len(self.gallery) > SMOOTHED_UP_TO

    @property
    def crowded(self) -> bool:
        """Whether the gallery's latest members should go into its index."""
        return self.gallery.crowded

    def fork(self) -> Self:
        """A mode with a gallery of its own."""
        made = super().fork()
        made.gallery = self.gallery.fork()
        return made

    def describe(self, references: Sequence[tuple[Reference, DecodedImage]]) -> Sequence[object]:
        """Embed: a vector for each, float32, shape (d,)."""
        return list(self._embed([image for _, image in references]))

    def adopt(self, references: Sequence[tuple[Reference, object]]) -> None:
        """Add or replace members, each with its vector, float32, shape (d,)."""
        if references:
            vectors = np.stack([cast("NDArray[np.float32]", vector) for _, vector in references])
            self.gallery.put([reference for reference, _ in references], vectors)

    def enrol(self, references: Sequence[tuple[Reference, DecodedImage]]) -> None:
        """Embed and add or replace members."""
        kept = [reference.model_copy(update={"content": None}) for reference, _ in references]
        self.adopt(list(zip(kept, self.describe(references), strict=True)))

    def recall(self, threshold: float | None) -> None:
        """Learn what the members teach, with the threshold as it was calibrated on the very same ones."""
        self.gallery.learn()
        self.threshold = threshold

    def remove(self, ids: Sequence[str]) -> None:
        """Take members out; they are not found from the next match on."""
        self.gallery.remove(ids)

    def _embed(self, images: Sequence[DecodedImage]) -> NDArray[np.float32]:
        return self._embedder.embed([image.pixels for image in images])
