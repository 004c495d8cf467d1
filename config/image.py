"""Settings of the image worker."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from config.section import Section


class ImageSettings(Section):
    """How images are matched.

    Attributes:
        mode: what a match means.
        model: `efficientnet-lite0`, or a transformers name or folder.
        references: a folder or manifest of references to start with.
        snapshots: similarity and uniqueness: a folder for snapshots of the galleries, so that a restart
            embeds nothing again; none are written where it is left out.
        threshold: the score from which the verdict turns; left out, it is calibrated on the references.
            `{false_alarms: 0.01}` and `{false_accepts: 0.01}` set the rates below and leave it out.
        false_alarms: defect: the share of good parts that the calibrated threshold may call defective.
        false_accepts: signature: the share of forgeries that the calibrated threshold may call genuine;
            similarity: the share of images without a match that it may call one.
        top: neighbours given in each result.
        index: similarity: FAISS's description of the index of a gallery of more than 5,000, such as `HNSW32`;
            left out, exact search below 50,000 and scanned codes (`RR…,PQ…x4fs`) above. What the index names
            is compared exactly; how many it names is tried when it is made.
        window: uniqueness: images are compared with the last so many of the stream, besides the references;
            0 compares with the references only.
        side_px: defect: images are shown to the network with as many pixels as a square of this side; more
            finds smaller flaws and takes longer.
        margin_px: compare: how much wider than the flaw a box is on each side, in pixels of the reference.
        heat_maps: whether results of the modes that locate carry a heat map.
        threads: threads of the model; 0 takes all cores.
        allowed_folders: folders a claim check may point into; none by default.
        allowed_hosts: hosts a claim check may be fetched from over https, `name` or `name:port`; none by
            default.
        fetch_timeout_s: how long a fetch may take in all.
        max_bytes: largest image taken, in bytes.
        max_pixels: largest image taken, in pixels.
        max_batch_items: a batch closes at this many images.
        max_batch_pixels: a batch closes at this many estimated pixels.
        batch_deadline_ms: without target_latency_ms a batch closes this long after its first image came.
        target_latency_ms: what an image is to take at most, 99 times of 100, from being read to its committed
            result. What comes while the model has nothing to do goes at once, else when it is nearly free. A
            batch takes three fifths of this at most, and more when so much waits that it can't be held;
            0: batches close by their limits and the deadline alone.
    """

    mode: Literal["similarity", "defect", "compare", "signature", "uniqueness"] = "similarity"
    model: str = "efficientnet-lite0"
    references: Path | None = None
    snapshots: Path | None = None
    threshold: float | None = Field(None, allow_inf_nan=False)
    false_alarms: float = Field(0.01, gt=0, lt=1)
    false_accepts: float = Field(0.01, gt=0, lt=1)
    top: int = Field(10, ge=1, le=1_000)
    index: str | None = None
    window: int = Field(0, ge=0)
    side_px: int = Field(320, ge=64, le=2_048)
    margin_px: int = Field(10, ge=0, le=1_000)
    heat_maps: bool = True
    threads: int = Field(0, ge=0)
    allowed_folders: tuple[Path, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    fetch_timeout_s: float = Field(10.0, gt=0)
    max_bytes: int = Field(32 * 2**20, ge=1)
    max_pixels: int = Field(120_000_000, ge=1)
    max_batch_items: int = Field(32, ge=1)
    max_batch_pixels: int = Field(64_000_000, ge=1)
    batch_deadline_ms: float = Field(20.0, ge=0)
    target_latency_ms: float = Field(250.0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _threshold_by_rate(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or not isinstance(values.get("threshold"), Mapping):
            return values
        rates = values["threshold"]
        unknown = sorted(set(rates) - {"false_alarms", "false_accepts"})
        if unknown:
            raise ValueError(f"threshold takes false_alarms or false_accepts, not {unknown[0]!r}")
        return {**values, **rates, "threshold": None}
