"""What may go out as a result, and what may not; the results here are made without the schema's checks."""

from typing import Any

import pytest

from schemas import Candidate, Evidence, HeatMap, ImageResult, Neighbor, Region, TextResult
from stream.soundness import flaw_of
from workers.errors import MessageError
from workers.text.results import candidate, text_result

NAN, INFINITE = float("nan"), float("inf")


def text(probability: float = 0.9, margin: float | None = 0.8, **more: Any) -> TextResult:
    """As the text worker makes them: without checks."""
    candidates = (candidate("a", probability), Candidate(label="b", probability=0.1))
    return text_result("i", "a", candidates, model="m", label_set="l", version="1", margin=margin, **more)


def image(**changed: Any) -> ImageResult:
    whole: dict[str, Any] = {
        "id": "i", "mode": "defect", "verdict": "ok", "score": 0.5, "threshold": 0.7, "probability": None,
        "model": "m", "gallery": "g", "version": "1", "width": 2, "height": 2, **changed,
    }  # fmt: skip
    return ImageResult.model_construct(None, **whole)


@pytest.mark.parametrize("sound", [text(), text(margin=None), image(), MessageError("no"), ()])
def test_results_and_errors_go_out(sound: Any):
    assert flaw_of(sound) is None


@pytest.mark.parametrize("odd", [NAN, INFINITE, -INFINITE])
def test_a_probability_that_is_no_number_does_not(odd: float):
    assert flaw_of(text(odd)) is not None
    assert flaw_of(text(margin=odd)) is not None
    assert flaw_of(text(evidence=Evidence.model_construct(None, nearest_similarity=odd))) is not None
    assert flaw_of(text(evidence=Evidence.model_construct(None, words=(("w", odd),)))) is not None


@pytest.mark.parametrize("odd", [NAN, INFINITE])
def test_nor_does_a_score_in_any_place_of_an_image_result(odd: float):
    assert flaw_of(image(score=odd)) is not None
    assert flaw_of(image(threshold=odd)) is not None
    assert flaw_of(image(regions=(Region.model_construct(None, score=odd),))) is not None
    assert flaw_of(image(neighbors=(Neighbor.model_construct(None, similarity=odd),))) is not None
    heat_map = HeatMap.model_construct(None, low=odd, high=1)
    assert flaw_of(image(heat_map=heat_map)) is not None


def test_infinities_that_cancel_out_are_found():
    assert flaw_of(image(score=INFINITE, threshold=-INFINITE)) is not None


def test_each_part_of_several_results_for_one_message_is_looked_at():
    assert flaw_of((text(), text())) is None
    assert flaw_of((text(), text(NAN))) is not None


@pytest.mark.parametrize("odd", [None, "text", 7, {"label": "a"}, [text()]])
def test_what_is_no_result_says_so(odd: Any):
    assert "is no result" in (flaw_of(odd) or "")
