"""What comes out: a label for a post, a verdict for an image, each with how sure it is and why."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Json, Message, Origin

Probability = Annotated[float, Field(ge=0, le=1)]

ImageMode = Literal["similarity", "defect", "compare", "signature", "uniqueness"]
Verdict = Literal["match", "no_match", "ok", "defect", "genuine", "forged", "unsure"]


class Candidate(Message):
    """A label and its calibrated probability."""

    label: str
    probability: Probability


class Evidence(Message):
    """Why a label was given.

    Attributes:
        nearest: the phrasing or example closest to the text.
        nearest_kind: what `nearest` is.
        nearest_similarity: cosine similarity in [-1, 1].
        words: the words that counted most for the label, with their share of the score.
        window: for a long document, (start, end) in characters of the window that decided.
    """

    nearest: str | None = None
    nearest_kind: Literal["name", "description", "phrasing", "example"] | None = None
    nearest_similarity: float | None = None
    words: tuple[tuple[str, float], ...] | None = None
    window: tuple[int, int] | None = None


class TextResult(Message):
    """The labels of one post. `label` is null where the worker abstained.

    All labels stand in `candidates`, best first, abstained or not. `margin` is the difference of the best two
    probabilities. `labels` holds all labels of a multi-label set that hold.
    """

    id: str
    label: str | None
    candidates: tuple[Candidate, ...]
    model: str
    label_set: str
    version: str
    margin: float | None = None
    labels: tuple[str, ...] | None = None
    evidence: Evidence | None = None
    duplicate_of: str | None = None
    result_id: str | None = None
    source: Origin | None = None

    @property
    def confidence(self) -> float:
        """The probability of the best label."""
        return self.candidates[0].probability


class Region(Message):
    """A box (x1, y1, x2, y2) in pixels of the original image, EXIF turned; higher is more anomalous."""

    box: tuple[int, int, int, int]
    score: float
    kind: str | None = None


class Neighbor(Message):
    """A gallery member; `similarity` rises with closeness."""

    id: str
    similarity: float
    label: str | None = None
    metadata: dict[str, Json] | None = None


class HeatMap(Message):
    """A coarse map of anomaly over the whole image.

    Attributes:
        width: columns.
        height: rows.
        data: base64 of height × width uint8 values, row by row; 255 is the most anomalous.
        low: the score that 0 stands for.
        high: the score that 255 stands for.
    """

    width: int
    height: int
    data: str
    low: float
    high: float


class ImageResult(Message):
    """The verdict on one image.

    `score`: for defect and compare higher is more anomalous, for signature higher is more genuine, for
    similarity it is the best similarity, for uniqueness the distance to the nearest others. `verdict` is
    what `score` against `threshold` says.
    """

    id: str
    mode: ImageMode
    verdict: Verdict
    score: float
    threshold: float | None = None
    probability: Probability | None = None
    regions: tuple[Region, ...] = ()
    neighbors: tuple[Neighbor, ...] = ()
    model: str
    gallery: str
    version: str
    width: int
    height: int
    heat_map: HeatMap | None = None
    compared_with: str | None = None
    result_id: str | None = None
    source: Origin | None = None
