"""Similarity seen in the context of a gallery: what is common to all of it tells nothing.

Three steps, each learnt from the gallery's own vectors, without labels:

1. The gallery's mean is taken away (shrunk towards nothing where members are few), so that the cosine tells
   what sets images apart, and unrelated ones have about 0.
2. In galleries up to SMOOTHED_UP_TO each member and each query is averaged with its nearest members,
   weighted by their cosine.
3. Copies are found by the plain cosine and always come first.

Source: Jégou and Chum, Negative evidences and co-occurrences in image retrieval, ECCV 2012 (centring);
Arandjelović and Zisserman, Three things everyone should know to improve object retrieval, CVPR 2012
(averaging of both sides).
"""

from collections.abc import Sequence
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from workers.image.embedding import unit_rows
from workers.image.models import Rows as RowSource

Rows = NDArray[np.float32]

SMOOTHED_UP_TO: Final = 5_000
"""Members: comparing all with all takes about a second then, which each change of the gallery costs."""
SHRINKAGE: Final = 10
"""Members that the mean of a gallery is weighed against: one of 10 loses half of its mean."""
NEIGHBOURS: Final = 5
MEMBERS_TO_A_NEIGHBOUR: Final = 20
"""A gallery of 20 averages with 1, of 100 and more with NEIGHBOURS."""
COPY: Final = 0.999
"""Plain or centred cosine of what tells nothing new, and is not averaged with."""
NEAR_DUPLICATE: Final = 0.95
"""Plain cosine from which two files are called the same picture. Of 187,000 pairs of different photographs
the most alike have 0.930, of like steel surfaces 0.923; saved again as JPEG of quality 70 half have 0.974 or
more."""
BENT_FROM: Final = 0.93
BEND: Final = 0.28
"""Slope above BENT_FROM, so that only near-duplicates reach NEAR_DUPLICATE."""
CALIBRATED_FROM: Final = 20
CALIBRATED_ON: Final = 500
SPREAD_SEEN_ON: Final = 5_000
"""Members whose similarities tell how far those of unrelated ones spread, in a larger gallery."""
UNRELATED_WITHIN: Final = 4.0
"""Spreads above the median up to which an unlabelled member counts as unrelated."""
COPY_CANDIDATES: Final = 100
"""Most similar members whose plain cosine is looked at."""
BLOCK: Final = 256
"""Members compared with all others at a time. A product of matrices keeps others waiting until it is done:
with 5,000 members that is 30 ms."""


class Context:
    """What a gallery of a given moment teaches. It does not change with the gallery.

    Args:
        members: float32, shape (n, d), unit rows, n at least 1.
    """

    def __init__(self, members: Rows) -> None:
        count = len(members)
        self.built_from = count
        self._mean = np.asarray(members.mean(axis=0) * count / (count + SHRINKAGE), np.float32)
        self.smoothed = count <= SMOOTHED_UP_TO
        self._neighbours = min(NEIGHBOURS, count // MEMBERS_TO_A_NEIGHBOUR) if self.smoothed else 0
        self._members = members if self.smoothed else members[:0]
        self._centred = self.centred(self._members)
        self._averaged = self._centred
        if self._neighbours:
            parts = range(0, count, BLOCK)
            blocks = [self._average(self._centred[i : i + BLOCK], own=np.arange(i, count)) for i in parts]
            self._averaged = np.concatenate(blocks)

    @classmethod
    def of_mean(cls, total: NDArray[np.float64], count: int) -> Self:
        """The context of more than SMOOTHED_UP_TO members, of which only the mean counts.

        Args:
            total: sum of the members, float64, shape (d,).
            count: of the members.
        """
        return cls.around(np.asarray(total / (count + SHRINKAGE), np.float32), count)

    @classmethod
    def around(cls, mean: Rows, count: int) -> Self:
        """The context that `of_mean` made, by its mean, float32, shape (d,)."""
        made = cls.__new__(cls)
        made.built_from, made.smoothed, made._neighbours = count, False, 0
        made._mean = mean
        made._members = made._centred = made._averaged = np.zeros((0, len(mean)), np.float32)
        return made

    @property
    def mean(self) -> Rows:
        """What is taken away, float32, shape (d,); not to be changed."""
        return self._mean

    def centred(self, vectors: Rows) -> Rows:
        """Take the mean away; float32, shape (n, d), unit rows."""
        return unit_rows(vectors - self._mean)

    def similarities(self, queries: Rows) -> Rows:
        """Compare queries with all members of a smoothed context.

        Args:
            queries: float32, shape (m, d), unit rows.

        Returns:
            float32, shape (m, n), in [-1, 1]; NEAR_DUPLICATE or more only where the plain cosine is.
        """
        # One by one: a product of matrices adds up in another order than one of a vector, and the result of
        # an image must not depend on what else is in its batch.
        rows = [self._one(queries[i : i + 1]) for i in range(len(queries))]
        return np.concatenate(rows) if rows else np.zeros((0, len(self._members)), np.float32)

    def _one(self, query: Rows) -> Rows:
        averaged = self._average(self.centred(query))
        found = bent(np.asarray(averaged @ self._averaged.T, np.float32))
        likely = np.argsort(-found[0], kind="stable")[:COPY_CANDIDATES]
        found[0, likely] = marked(found[0, likely], self._members[likely] @ query[0])
        return found

    def compared(self, members: Rows, query: Rows) -> tuple[Rows, Rows]:
        """Compare one query with members; centred and plain cosine, both float32, shape (n,).

        The members are not centred one by one, which would take many times as long.

        Args:
            members: float32, shape (n, d), unit rows.
            query: float32, shape (1, d), a unit row.
        """
        asked = self.centred(query)[0]
        with_asked, with_mean, plain = np.stack([asked, self._mean, query[0]]) @ members.T
        lengths = np.sqrt(np.maximum(1.0 - 2.0 * with_mean + self._mean @ self._mean, 1e-12))
        found = (with_asked - self._mean @ asked) / lengths
        return np.asarray(np.clip(found, -1.0, 1.0), np.float32), plain

    def threshold(self, labels: Sequence[str | None], rate: float, members: RowSource) -> float | None:
        """Find the similarity that a query without a match in the gallery reaches at a given rate.

        Each of a sample of members is searched among those that are no match for it: where members have
        labels those of other labels; otherwise those less than UNRELATED_WITHIN spreads above the median, the
        spread being that of the lower half, which matches don't widen.

        Args:
            labels: of the n members.
            rate: of false matches, in (0, 1).
            members: n unit rows, as the context was built from or as they are now.

        Returns:
            A similarity in [-1, NEAR_DUPLICATE]; None where there are fewer than CALIBRATED_FROM members.
        """
        count = len(members)
        if count < CALIBRATED_FROM:
            return None
        chosen = np.unique(np.linspace(0, count - 1, min(count, CALIBRATED_ON)).astype(np.int64))
        asked = self._centred[chosen] if self.smoothed else self.centred(members[chosen])
        related = _Related(labels, chosen)
        if self.smoothed:
            plain = asked @ self._centred.T
            related.learn(plain)
            excluded = related.excluded(plain, 0)
            found = self._average(asked, excluded=excluded) @ self._averaged.T
            best = np.where(excluded, -1.0, found).max(axis=1)
        else:
            sample = np.unique(np.linspace(0, count - 1, SPREAD_SEEN_ON).astype(np.int64))
            related.learn(asked @ self.centred(members[sample]).T)
            best = np.full(len(asked), -1.0, np.float32)
            for start in range(0, count, BLOCK):
                plain = asked @ self.centred(members[start : start + BLOCK]).T
                unrelated = np.where(related.excluded(plain, start), -1.0, plain)
                best = np.maximum(best, unrelated.max(axis=1))
        value = float(np.quantile(best, 1.0 - rate))
        return float(bent(np.array([value]))[0])

    def _average(
        self, centred: Rows, own: NDArray[np.int64] | None = None, excluded: NDArray[np.bool_] | None = None
    ) -> Rows:
        """Average centred rows with their nearest members.

        Args:
            centred: float32, shape (m, d), unit rows.
            own: the members that the rows are, not to be averaged with themselves.
            excluded: shape (m, n), members that may not be averaged with.
        """
        if not self._neighbours:
            return centred
        cosines = centred @ self._centred.T
        cosines[cosines > COPY] = 0.0
        if own is not None:
            rows = np.arange(len(centred))
            cosines[rows, own[: len(centred)]] = 0.0
        if excluded is not None:
            cosines[excluded] = 0.0
        nearest = np.argpartition(-cosines, self._neighbours - 1, axis=1)[:, : self._neighbours]
        weights = np.maximum(np.take_along_axis(cosines, nearest, 1), 0.0)
        return unit_rows(centred + np.einsum("mk,mkd->md", weights, self._centred[nearest]))


def marked(similarities: Rows, plain: Rows) -> Rows:
    """Give near-duplicates their plain cosine; the others, which `bent` holds below it, stay as they are."""
    return np.where(plain >= NEAR_DUPLICATE, np.clip(plain, -1.0, 1.0), similarities)


def bent(similarities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Flatten similarities above BENT_FROM, so that they stay below NEAR_DUPLICATE."""
    values = np.clip(similarities, -1.0, 1.0)
    return np.where(values > BENT_FROM, BENT_FROM + BEND * (values - BENT_FROM), values)


class _Related:
    """Tells which members may match each of some chosen ones, itself among them.

    Args:
        labels: of all n members.
        chosen: numbers of m of them.
    """

    def __init__(self, labels: Sequence[str | None], chosen: NDArray[np.int64]) -> None:
        self._chosen = chosen
        self._names: NDArray[np.str_] | None = None
        if len({label for label in labels if label is not None}) >= 2:
            self._names = np.array(["" if label is None else label for label in labels])
        self._limit = np.inf

    def learn(self, plain: Rows) -> None:
        """See how similar members are, where no labels tell more; shape (m, any number)."""
        if self._names is None:
            median = float(np.median(plain))
            spread = median - float(np.quantile(plain, 0.1587))
            self._limit = median + UNRELATED_WITHIN * spread

    def excluded(self, plain: Rows, start: int) -> NDArray[np.bool_]:
        """Whether each of the members from `start` on may match each chosen one; shape that of `plain`."""
        stop = start + plain.shape[1]
        if self._names is None:
            related = plain >= self._limit
        else:
            related = self._names[self._chosen][:, None] == self._names[None, start:stop]
        here = np.flatnonzero((self._chosen >= start) & (self._chosen < stop))
        related[here, self._chosen[here] - start] = True
        return np.asarray(related, np.bool_)
