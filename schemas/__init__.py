"""The messages of Feedsight: frozen pydantic models, exported as JSON Schema to schemas/json."""

from schemas.base import Json, Message, Origin
from schemas.dead_letter import DeadLetterFacts
from schemas.image_message import ImageMessage, Reference
from schemas.label_set import Abstain, Filters, Label, LabelSet, Review
from schemas.loop import Feedback, LabelDiff, ReviewItem, Why
from schemas.metrics import CampaignSnapshot, LatencySummary, MetricsSnapshot, WorkerEvent
from schemas.post import MAX_TEXT_CHARS, Post
from schemas.result import (
    Candidate,
    Evidence,
    HeatMap,
    ImageMode,
    ImageResult,
    Neighbor,
    Region,
    TextResult,
    Verdict,
)

__all__ = [
    "MAX_TEXT_CHARS",
    "Abstain",
    "CampaignSnapshot",
    "Candidate",
    "DeadLetterFacts",
    "Evidence",
    "Feedback",
    "Filters",
    "HeatMap",
    "ImageMessage",
    "ImageMode",
    "ImageResult",
    "Json",
    "Label",
    "LabelDiff",
    "LabelSet",
    "LatencySummary",
    "Message",
    "MetricsSnapshot",
    "Neighbor",
    "Origin",
    "Post",
    "Reference",
    "Region",
    "Review",
    "ReviewItem",
    "TextResult",
    "Verdict",
    "Why",
    "WorkerEvent",
]
