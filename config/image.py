"""Settings of the image worker."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from config.section import Section


class ImageSettings(Section):
    """How images are matched.

    Attributes:
        mode: what a match means.
        model: `efficientnet-lite0`, or a transformers name or folder.
        references: a folder or manifest of references to start with.
        threshold: the score from which the verdict turns; left out, it is calibrated on the references.
        top: neighbours given in each result.
        threads: threads of the model; 0 takes all cores.
        allowed_folders: folders a claim check may point into; none by default.
        allowed_hosts: hosts a claim check may be fetched from over https; none by default.
        max_bytes: largest image taken, in bytes.
        max_pixels: largest image taken, in pixels.
        max_batch_items: a batch closes at this many images.
        max_batch_pixels: a batch closes at this many estimated pixels.
        batch_deadline_ms: a batch closes this long after its first image came.
    """

    mode: Literal["similarity", "defect", "compare", "signature", "uniqueness"] = "similarity"
    model: str = "efficientnet-lite0"
    references: Path | None = None
    threshold: float | None = None
    top: int = Field(10, ge=1, le=1_000)
    threads: int = Field(0, ge=0)
    allowed_folders: tuple[Path, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    max_bytes: int = Field(32 * 2**20, ge=1)
    max_pixels: int = Field(120_000_000, ge=1)
    max_batch_items: int = Field(32, ge=1)
    max_batch_pixels: int = Field(64_000_000, ge=1)
    batch_deadline_ms: float = Field(20.0, ge=0)
