"""Settings of learning from people's corrections."""

from pydantic import Field

from config.section import Section


class LearnSettings(Section):
    """When corrections are learned, and how many are kept.

    Attributes:
        every: a label set is fitted anew after so many new corrections.
        interval_s: or so long after the first new one, whichever comes first.
        max_examples: examples learned for each label at most; of more, those most unlike each other.
        max_review_items: items under review whose text is remembered, the newest.
    """

    every: int = Field(5, ge=1)
    interval_s: float = Field(60.0, gt=0)
    max_examples: int = Field(100, ge=1, le=1_000)
    max_review_items: int = Field(50_000, ge=1)
