"""The heads by name."""

from collections.abc import Callable
from typing import Final

from workers.errors import FatalError
from workers.text.heads.base import Head
from workers.text.heads.independent import IndependentHead
from workers.text.heads.linear import LinearHead
from workers.text.heads.open_set import OpenSetHead
from workers.text.heads.product import ProductHead
from workers.text.heads.whitening import Matrix
from workers.text.heads.wmap import WmapHead
from workers.text.heads.zero_shot import ZeroShotHead
from workers.text.heads.zmap import ZmapHead

DEFAULT_HEAD: Final = "product"

NEEDS_VECTORS: Final = frozenset({"zmap"})
"""Heads that can't be built without a map to word-vector space."""

_HEADS: Final[dict[str, Callable[[], Head]]] = {
    "product": ProductHead,
    "zero_shot": ZeroShotHead,
    "wmap": WmapHead,
    "linear": LinearHead,
}


def head_names() -> tuple[str, ...]:
    """Name the heads, the default first."""
    return (*_HEADS, *sorted(NEEDS_VECTORS))


def create_head(
    name: str = DEFAULT_HEAD,
    *,
    mapping: Matrix | None = None,
    multi_label: bool = False,
    none_of_these: bool = False,
) -> Head:
    """Build a head, not yet fitted.

    Args:
        name: one of `head_names()`.
        mapping: the map to word-vector space (`zmap.fit_zmap`); `zmap` needs it, `wmap` applies it first
            where it is given, the others don't use it.
        multi_label: True gives each label a probability by itself; the head is then always `independent`.
        none_of_these: True gives rows that sum to less than 1, the rest being posts about something else.

    Raises:
        FatalError: no such head, or `zmap` without a map.
    """
    if multi_label:
        return IndependentHead()
    if none_of_these:
        return OpenSetHead(create_head(name, mapping=mapping))
    if name == "zmap":
        if mapping is None:
            raise FatalError("the head zmap needs word vectors")
        return ZmapHead(mapping)
    if name == "wmap":
        return WmapHead(mapping)
    if name not in _HEADS:
        raise FatalError(f"no head {name!r}; there are {', '.join(head_names())}")
    return _HEADS[name]()
