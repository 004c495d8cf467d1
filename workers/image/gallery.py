"""A gallery: named vectors that are searched, added to and removed from while the stream runs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas import Neighbor, Reference
from workers.errors import FatalError
from workers.image.context import SMOOTHED_UP_TO, Context, bent, marked
from workers.image.embedding import unit_rows
from workers.image.models import FlatIndex, LargeIndex, create_index
from workers.image.rows import Rows

Accepts = Callable[[Reference], bool]

RELEARNT_AT: Final = 2.0
"""A large gallery's mean and index are made anew when it has grown or shrunk by this factor."""
WIDENED: Final = 4
"""A search that a filter leaves too few of is repeated with so many times the members."""


@dataclass(frozen=True)
class Hit:
    """A member that was found; `similarity` is in [-1, 1], as the search that found it says."""

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
    """Members by id, each with one unit vector. Not thread-safe.

    Args:
        factory: FAISS's description of the index used for more than SMOOTHED_UP_TO members; exact search
            below 50,000 and cells above where it is left out.
    """

    def __init__(self, factory: str | None = None) -> None:
        self.factory = factory
        self._rows: Rows | None = None
        self._keys: dict[str, int] = {}
        self._members: dict[int, Reference] = {}
        self._next_key = 0
        self._context: Context | None = None
        self._index: FlatIndex | LargeIndex | None = None

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, member: str) -> bool:
        return member in self._keys

    @property
    def members(self) -> list[Reference]:
        """The members, in the order of `vectors`."""
        return [] if self._rows is None else [self._members[key] for key in self._rows.keys.tolist()]

    @property
    def vectors(self) -> NDArray[np.float32]:
        """The members' vectors, float32, shape (n, d), unit rows; not to be changed."""
        return np.zeros((0, 1), np.float32) if self._rows is None else self._rows.vectors

    @property
    def index(self) -> str:
        """How it is searched: `context`, `flat` or FAISS's description."""
        self._learn()
        if self._index is None:
            return "context"
        return self._index.description if isinstance(self._index, LargeIndex) else "flat"

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
        if self._rows is None:
            self._rows = Rows(int(vectors.shape[1]))
        if vectors.shape[1] != self._rows.dimension:
            raise FatalError(
                f"vectors of {vectors.shape[1]} numbers in a gallery of {self._rows.dimension}",
                reason="index_mismatch",
            )
        self.remove(list(latest))
        keys = np.arange(self._next_key, self._next_key + len(rows), dtype=np.int64)
        self._next_key += len(rows)
        added = unit_rows(vectors[rows])
        self._rows.add(keys, added)
        for key, row in zip(keys.tolist(), rows, strict=True):
            self._keys[references[row].id] = key
            self._members[key] = references[row]
        if self._index is not None and self._context is not None:
            self._index.add(keys, self._context.centred(added))
        self._forget_if_outgrown()

    def restore(self, references: Sequence[Reference], vectors: NDArray[np.float32]) -> None:
        """Fill an empty gallery with unit rows, which are not copied."""
        self._rows = Rows(int(vectors.shape[1]), vectors)
        self._keys = {reference.id: key for key, reference in enumerate(references)}
        self._members = dict(enumerate(references))
        self._next_key = len(references)

    def remove(self, ids: Sequence[str]) -> None:
        """Take members out; unknown ids are passed over."""
        keys = [self._keys.pop(member) for member in ids if member in self._keys]
        if not keys or self._rows is None:
            return
        for key in keys:
            del self._members[key]
        self._rows.remove(keys)
        if self._index is not None:
            self._index.remove(np.array(keys, np.int64))
        self._forget_if_outgrown()

    def search(
        self, queries: NDArray[np.float32], k: int, accepts: Sequence[Accepts | None] = ()
    ) -> list[list[Hit]]:
        """Find the k most similar members of each query in the gallery's context, best first.

        Fewer come where there are fewer. Equal similarities are ordered by id.

        Args:
            queries: float32, shape (n, d).
            k: wanted for each query.
            accepts: for each query which members may be found; all where it is None or left out.
        """
        if self._rows is None or not len(self):
            return [[] for _ in queries]
        context = self._learn()
        queries = unit_rows(queries)
        filters = list(accepts) or [None] * len(queries)
        if self._index is None:
            found = context.similarities(queries)
            return [self._best(row, k, wanted) for row, wanted in zip(found, filters, strict=True)]
        return [
            self._indexed(queries[i : i + 1], k, wanted, context, self._index)
            for i, wanted in enumerate(filters)
        ]

    def nearest(self, queries: NDArray[np.float32], k: int) -> list[list[Hit]]:
        """Find the k members of the highest plain cosine, best first, exactly; see `search`."""
        if self._rows is None or not len(self):
            return [[] for _ in queries]
        queries = unit_rows(queries)
        return [self._best(self._rows.vectors @ query, k, None) for query in queries]

    def others(self, k: int) -> Iterator[list[Hit]]:
        """Find for each member the k others of the highest plain cosine, best first."""
        for reference, vector in zip(self.members, np.array(self.vectors), strict=True):
            [hits] = self.nearest(vector[None], k + 1)
            yield [hit for hit in hits if hit.reference.id != reference.id][:k]

    def threshold(self, rate: float) -> float | None:
        """Calibrate on the members; see `Context.threshold`. None where there are too few."""
        if self._rows is None or not len(self):
            return None
        return self._learn().threshold([m.label for m in self.members], rate, self._rows.vectors)

    def _learn(self) -> Context:
        if self._rows is None:
            raise FatalError("an empty gallery has no context", reason="unexpected")
        if self._index is not None and getattr(self._index, "stale", False):
            self._context = None
        if self._context is None:
            self._context, self._index = Context(self._rows.vectors), None
            if not self._context.smoothed:
                centred = self._context.centred(self._rows.vectors)
                self._index = create_index(self._rows.keys, centred, self.factory)
        return self._context

    def _forget_if_outgrown(self) -> None:
        """Small galleries learn anew after each change, large ones when much has changed."""
        context = self._context
        if context is None:
            return
        grown = max(len(self), 1) / context.built_from
        if len(self) <= SMOOTHED_UP_TO or context.smoothed or not 1 / RELEARNT_AT < grown < RELEARNT_AT:
            self._context = self._index = None

    def _best(self, similarities: NDArray[np.float32], k: int, accepts: Accepts | None) -> list[Hit]:
        """The k best of one similarity for each member."""
        hits: list[Hit] = []
        if self._rows is None:
            return hits
        keys = self._rows.keys
        for slot in np.argsort(-similarities, kind="stable").tolist():
            similarity = min(1.0, max(-1.0, float(similarities[slot])))
            if len(hits) >= k and similarity < hits[k - 1].similarity:
                break
            reference = self._members[int(keys[slot])]
            if accepts is None or accepts(reference):
                hits.append(Hit(reference, similarity))
        return _ordered(hits)[:k]

    def _indexed(
        self,
        query: NDArray[np.float32],
        k: int,
        accepts: Accepts | None,
        context: Context,
        index: FlatIndex | LargeIndex,
    ) -> list[Hit]:
        if self._rows is None:
            return []
        wanted = k
        while True:
            wanted = min(wanted, len(self))
            scores, keys = index.search(context.centred(query), wanted)
            real = keys[0] >= 0
            found = keys[0][real]
            plain = self._rows.of(found.tolist()) @ query[0]
            values = marked(bent(scores[0][real]), plain)
            references = [self._members[key] for key in found.tolist()]
            hits = [
                Hit(reference, float(value))
                for reference, value in zip(references, values, strict=True)
                if accepts is None or accepts(reference)
            ]
            if len(hits) >= k or wanted == len(self) or accepts is None:
                return _ordered(hits)[:k]
            wanted *= WIDENED


def _ordered(hits: list[Hit]) -> list[Hit]:
    return sorted(hits, key=lambda hit: (-hit.similarity, hit.reference.id))
