"""A gallery: named vectors that are searched, added to and removed from while the stream runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas import Neighbor, Reference
from workers.errors import FatalError
from workers.image.models import FlatIndex


@dataclass(frozen=True)
class Hit:
    """A member that was found; `similarity` is the cosine, in [-1, 1]."""

    reference: Reference
    similarity: float

    def as_neighbor(self) -> Neighbor:
        """The member as it stands in a result."""
        return Neighbor(
            id=self.reference.id,
            similarity=round(self.similarity, 6),
            label=self.reference.label,
            metadata=self.reference.metadata,
        )


class Gallery:
    """Members by id, each with one unit vector, searched by cosine similarity. Not thread-safe."""

    def __init__(self) -> None:
        self._index: FlatIndex | None = None
        self._keys: dict[str, int] = {}
        self._members: dict[int, Reference] = {}
        self._next_key = 0

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, member: str) -> bool:
        return member in self._keys

    def put(self, references: Sequence[Reference], vectors: NDArray[np.float32]) -> None:
        """Add members, or replace those whose id is there already.

        Args:
            references: n members; the last of an id that stands twice counts.
            vectors: float32, shape (n, d); they are scaled to unit length.

        Raises:
            FatalError: d differs from that of the members there are.
        """
        if not references:
            return
        latest = {reference.id: row for row, reference in enumerate(references)}
        rows = list(latest.values())
        if self._index is None:
            self._index = FlatIndex(int(vectors.shape[1]))
        if vectors.shape[1] != self._index.dimension:
            raise FatalError(
                f"vectors of {vectors.shape[1]} numbers in a gallery of {self._index.dimension}",
                reason="index_mismatch",
            )
        self.remove(list(latest))
        keys = np.arange(self._next_key, self._next_key + len(rows), dtype=np.int64)
        self._next_key += len(rows)
        self._index.add(keys, unit_rows(vectors[rows]))
        for key, row in zip(keys.tolist(), rows, strict=True):
            self._keys[references[row].id] = key
            self._members[key] = references[row]

    def remove(self, ids: Sequence[str]) -> None:
        """Take members out; unknown ids are passed over."""
        keys = [self._keys.pop(member) for member in ids if member in self._keys]
        for key in keys:
            del self._members[key]
        if keys and self._index is not None:
            self._index.remove(np.array(keys, np.int64))

    def search(self, queries: NDArray[np.float32], k: int) -> list[list[Hit]]:
        """Find the k most similar members of each query, best first; fewer where there are fewer.

        Equal similarities are ordered by id, so that the order does not depend on when members came.

        Args:
            queries: float32, shape (n, d).
            k: wanted for each query.
        """
        if self._index is None or not len(self):
            return [[] for _ in queries]
        similarities, keys = self._index.search(unit_rows(queries), k)
        found = []
        for row_similarities, row_keys in zip(similarities.tolist(), keys.tolist(), strict=True):
            hits = [
                Hit(self._members[key], min(1.0, max(-1.0, similarity)))
                for similarity, key in zip(row_similarities, row_keys, strict=True)
            ]
            found.append(sorted(hits, key=lambda hit: (-hit.similarity, hit.reference.id)))
        return found

    def others(self, k: int, chunk: int = 1_024) -> Iterator[list[Hit]]:
        """Find for each member the k most similar others, best first."""
        if self._index is None:
            return
        keys = np.array(sorted(self._members), np.int64)
        for start in range(0, len(keys), chunk):
            part = keys[start : start + chunk]
            for key, hits in zip(part.tolist(), self.search(self._index.vectors(part), k + 1), strict=True):
                own = self._members[key].id
                yield [hit for hit in hits if hit.reference.id != own][:k]


def unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale rows to unit length; rows of zeros stay as they are."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)
