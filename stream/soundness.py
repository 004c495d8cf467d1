"""Whether what a model gave is a result: of a known type, and every number in it finite.

A NaN passes comparisons and checks of ranges, and stands as `null` in JSON, where a subscriber reads no doubt
at all. So it is looked for here, once, whatever the model.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, Final

from schemas import ImageResult, TextResult
from workers.errors import PipelineError
from workers.text.results import LabelledPost

Flaw = Callable[[Any], str | None]
"""Says what is wrong with an outcome; None where it may go out."""

NOT_FINITE: Final = "a score or probability is not a finite number"


def flaw_of(outcome: Any) -> str | None:
    """Say what is wrong with one message's outcome; None where nothing is.

    Args:
        outcome: a result, an error (which is never wrong), or a tuple of these.
    """
    if isinstance(outcome, tuple):  # before the messages, whose metaclass takes long to say no
        return next((flaw for part in outcome if (flaw := flaw_of(part)) is not None), None)
    if isinstance(outcome, LabelledPost):  # checked a batch at a time, where the numbers were made
        return None if outcome.finite else NOT_FINITE
    if isinstance(outcome, TextResult):
        return None if _text_is_finite(outcome) else NOT_FINITE
    if isinstance(outcome, PipelineError):
        return None
    if isinstance(outcome, ImageResult):
        return None if _all_finite(_image_numbers(outcome)) else NOT_FINITE
    return f"{type(outcome).__name__} is no result"


def _all_finite(numbers: Iterable[float]) -> bool:
    # NaN and infinities outlive every sum, and one check of the sum is all that the hot path pays.
    try:
        return math.isfinite(sum(numbers))
    except TypeError:
        return False


def _text_is_finite(result: TextResult) -> bool:
    """The same of a text result; without a list, for each post passes here."""
    total = 0.0
    try:
        for candidate in result.candidates:
            total += candidate.probability
        if result.margin is not None:
            total += result.margin
        evidence = result.evidence
        if evidence is not None:
            total += evidence.nearest_similarity or 0.0
            total += sum(share for _, share in evidence.words or ())
        return math.isfinite(total)
    except TypeError:
        return False


def _image_numbers(result: ImageResult) -> list[float]:
    numbers = [result.score]
    numbers.extend(number for number in (result.threshold, result.probability) if number is not None)
    numbers.extend(region.score for region in result.regions)
    numbers.extend(neighbor.similarity for neighbor in result.neighbors)
    if result.heat_map is not None:
        numbers.extend((result.heat_map.low, result.heat_map.high))
    return numbers
