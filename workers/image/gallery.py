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
from workers.image.members import Members
from workers.image.models import LargeIndex
from workers.image.modes.base import Pending
from workers.image.stock import Stock

Accepts = Callable[[Reference], bool]

BLOCK: Final = 256
"""Members compared with all others at a time."""
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
    """Members by id, each with one unit vector. Not thread-safe: change a `fork` of one that is searched.

    What the members teach is learnt by `learn`, or by the first search after one was added. Members that are
    removed are out at once; what they taught is forgotten by `learn`.

    Args:
        factory: FAISS's description of the index used for more than SMOOTHED_UP_TO members; exact search
            below 50,000 and cells above where it is left out.
        exact: for `nearest` only: no context and no index.
    """

    def __init__(self, factory: str | None = None, *, exact: bool = False) -> None:
        self.factory = factory
        self.content = Members()
        self._exact = exact
        self._context: Context | None = None
        self._seen = np.zeros(0, np.int64)
        self._changed = False

    def fork(self) -> "Gallery":
        """A gallery of the same members that may be changed while this one is searched."""
        made = Gallery(self.factory, exact=self._exact)
        made.content = self.content.fork()
        made._context, made._seen, made._changed = self._context, self._seen, self._changed
        return made

    def __len__(self) -> int:
        return len(self.content)

    def __contains__(self, member: str) -> bool:
        return member in self.content

    @property
    def members(self) -> list[Reference]:
        """The members, in the order of `vectors`."""
        return self.content.references

    @property
    def vectors(self) -> NDArray[np.float32]:
        """The members' vectors, float32, shape (n, d), unit rows; not to be changed."""
        return self.content.vectors

    @property
    def index(self) -> str:
        """How it is searched: `context`, `flat` or FAISS's description."""
        if self.pending == "enrolment":
            self.learn()
        if self.content.stock is not None:
            return self.content.stock.kind
        return "flat" if self._exact else "context"

    @property
    def recall(self) -> float | None:
        """Share of members' 10 nearest that the index found when it was made; None where all are compared."""
        stock = self.content.stock
        return stock.index.recall if stock is not None and isinstance(stock.index, LargeIndex) else None

    @property
    def pending(self) -> Pending:
        """What waits for `learn`: nothing, members themselves, or only what all of them teach."""
        if not self._exact and len(self) and self._context is None:
            return "enrolment"
        return "learning" if self._changed else "nothing"

    @property
    def crowded(self) -> bool:
        """Whether `learn` should not be put off."""
        return len(self) > SMOOTHED_UP_TO and self.content.crowded

    def put(self, references: Sequence[Reference], vectors: NDArray[np.float32]) -> None:
        """Add members, or replace those whose id is there already; see `Members.put`."""
        if not references:
            return
        self.content.put(references, vectors)
        self._changed = True
        if self.content.stock is None:
            self._context = None

    def restore(self, references: Sequence[Reference], vectors: NDArray[np.float32]) -> None:
        """Fill an empty gallery with unit rows, which are not copied."""
        self.content.restore(references, vectors)
        self._changed = True

    def expect(self, stock: Stock) -> None:
        """Prepare an empty gallery for the members of a stock; see `Members.expect`."""
        self.content.expect(stock)

    def remove(self, ids: Sequence[str]) -> None:
        """Take members out; unknown ids are passed over."""
        before = len(self)
        self.content.remove(ids)
        self._changed = self._changed or len(self) < before

    def learn(self) -> None:
        """Learn what the members there are teach.

        Of up to SMOOTHED_UP_TO members it does not depend on the order in which they came; of more, only
        what the index passes over does.
        """
        if not self._changed and (self._context is not None or self._exact or not len(self)):
            return
        if len(self) <= SMOOTHED_UP_TO:
            self.content.settle()
        elif self.content.crowded:
            self.content.fold(self.factory, indexed=not self._exact)
        if not self._exact:
            self._context, self._seen = self._context_of_all()
        self._changed = False

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
        if not len(self):
            return [[] for _ in queries]
        context = self._learnt()
        queries = unit_rows(queries)
        filters = list(accepts) or [None] * len(queries)
        if self.content.stock is None:
            found = context.similarities(queries)
            return [self._best(row, self._seen, k, ok) for row, ok in zip(found, filters, strict=True)]
        stock = self.content.stock
        return [self._indexed(queries[i : i + 1], k, ok, context, stock) for i, ok in enumerate(filters)]

    def nearest(self, queries: NDArray[np.float32], k: int) -> list[list[Hit]]:
        """Find the k members of the highest plain cosine, best first, exactly; see `search`."""
        return self._exactly(unit_rows(queries), k) if len(self) else [[] for _ in queries]

    def others(self, k: int, sample: int | None = None) -> Iterator[list[Hit]]:
        """Find for each member the k others of the highest plain cosine, best first.

        Args:
            k: wanted.
            sample: look at so many members only, evenly spaced in the order of ids.
        """
        members = sorted(enumerate(self.members), key=lambda member: member[1].id)
        chosen = members[:: max(1, -(-len(members) // sample)) if sample else 1]
        vectors = self.vectors
        for start in range(0, len(chosen), BLOCK):
            block = chosen[start : start + BLOCK]
            found = self._exactly(vectors[[row for row, _ in block]], k + 1, together=True)
            for (_, reference), hits in zip(block, found, strict=True):
                yield [hit for hit in hits if hit.reference.id != reference.id][:k]

    def threshold(self, rate: float) -> float | None:
        """Calibrate on the members; see `Context.threshold`. None where there are too few."""
        if not len(self):
            return None
        return self._learnt().threshold([m.label for m in self.members], rate, self.content.lazily)

    def _learnt(self) -> Context:
        if self._context is None:
            self.learn()
        if self._context is None:
            raise FatalError("an empty gallery has no context", reason="unexpected")
        return self._context

    def _context_of_all(self) -> tuple[Context | None, NDArray[np.int64]]:
        """The context, and the keys of the members that it compares with."""
        none = np.zeros(0, np.int64)
        if not len(self):
            return None, none
        if self.content.stock is None and self.content.rows is not None:
            return Context(self.content.rows.vectors), self.content.rows.keys.copy()
        return Context.of_mean(self.content.total(), len(self)), none

    def _exactly(self, queries: NDArray[np.float32], k: int, *, together: bool = False) -> list[list[Hit]]:
        """The k best by the plain cosine.

        Args:
            queries: float32, shape (n, d), unit rows.
            k: wanted.
            together: multiply all at once: many times as fast, but sums are then added up in another order,
                and a result must not depend on what else is in its batch.
        """
        parts = list(self.content.parts())
        keys = np.concatenate([part for part, _ in parts])
        every = [np.asarray(vectors, np.float32) for _, vectors in parts]
        if together:
            rows = iter(np.concatenate([queries @ vectors.T for vectors in every], axis=1))
        else:
            rows = (np.concatenate([vectors @ query for vectors in every]) for query in queries)
        return [self._best(row, keys, k, None) for row in rows]

    def _best(
        self, similarities: NDArray[np.float32], keys: NDArray[np.int64], k: int, accepts: Accepts | None
    ) -> list[Hit]:
        """The k best of one similarity for each key; keys of what has gone are passed over."""
        hits: list[Hit] = []
        for slot in np.argsort(-similarities, kind="stable").tolist():
            similarity = min(1.0, max(-1.0, float(similarities[slot])))
            if len(hits) >= k and similarity < hits[k - 1].similarity:
                break
            reference = self.content.get(int(keys[slot]))
            if reference is not None and (accepts is None or accepts(reference)):
                hits.append(Hit(reference, similarity))
        return _ordered(hits)[:k]

    def _indexed(
        self,
        query: NDArray[np.float32],
        k: int,
        accepts: Accepts | None,
        context: Context,
        stock: Stock,
    ) -> list[Hit]:
        """Ask the stock's index; compare exactly what it names, and all that lies beside the stock."""
        rows, wanted = self.content.rows, k
        while True:
            wanted = min(wanted, len(self))
            keys = stock.candidates(query, wanted, self.content.gone)
            similarities = [_similarities(context, np.asarray(stock.vectors[keys], np.float32), query)]
            if rows is not None and len(rows):
                keys = np.concatenate([keys, rows.keys])
                similarities.append(_similarities(context, rows.vectors, query))
            hits = self._best(np.concatenate(similarities), keys, k, accepts)
            if len(hits) >= k or wanted == len(self) or accepts is None:
                return hits
            wanted *= WIDENED


def _similarities(
    context: Context, members: NDArray[np.float32], query: NDArray[np.float32]
) -> NDArray[np.float32]:
    found, plain = context.compared(members, query)
    return marked(bent(found), plain)


def _ordered(hits: list[Hit]) -> list[Hit]:
    return sorted(hits, key=lambda hit: (-hit.similarity, hit.reference.id))
