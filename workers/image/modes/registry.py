"""The modes by name. Each is imported when it is asked for, so that a worker loads only what it uses."""

from collections.abc import Callable
from importlib import import_module
from typing import Final, cast

from config import ImageSettings
from schemas import ImageMode
from workers.image.embedding import SEARCH
from workers.image.models import load_backbone
from workers.image.modes.base import Mode

MODES: Final[dict[ImageMode, tuple[str, str]]] = {
    "similarity": ("similarity", "SimilarityMode"),
    "uniqueness": ("uniqueness", "UniquenessMode"),
    "defect": ("defect", "DefectMode"),
    "compare": ("compare", "CompareMode"),
    "signature": ("signature", "SignatureMode"),
}
"""Name of a mode → its module in this package and its class."""

WITH_BACKBONE: Final = frozenset({"similarity", "uniqueness", "defect"})
"""Modes built as `Mode(settings, backbone)`; the others as `Mode(settings)`."""


def decode_px(settings: ImageSettings) -> int | None:
    """How long the shorter side of a decoded image must be at least; None where every pixel counts."""
    if settings.mode in ("similarity", "uniqueness"):
        return SEARCH.side_px
    return 2 * settings.side_px if settings.mode == "defect" else None


def create_mode(settings: ImageSettings) -> Mode:
    """Build the mode that the settings name.

    Raises:
        FatalError: its model can't be loaded.
    """
    module, name = MODES[settings.mode]
    build = cast("Callable[..., Mode]", getattr(import_module(f"workers.image.modes.{module}"), name))
    if settings.mode in WITH_BACKBONE:
        return build(settings, load_backbone(settings.model, settings.threads))
    return build(settings)
