"""Which posts are picked for review: shares are held, repeats are one question, a replay picks the same."""

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas import Review
from workers.text.review import CampaignReview, ReviewPicker

Floats = NDArray[np.float32]


def stream(count: int, seed: int = 0) -> tuple[Floats, Floats, list[str]]:
    rng = np.random.default_rng(seed)
    margins, novelty = rng.random((2, count)).astype(np.float32)
    return margins, novelty, [f"posts-0-{number}-v1" for number in range(count)]


def pick_all(picker: ReviewPicker, count: int, batch: int) -> dict[int, tuple[str, ...]]:
    margins, novelty, keys = stream(count)
    found: dict[int, tuple[str, ...]] = {}
    for start in range(0, count, batch):
        part = slice(start, start + batch)
        picked = picker.pick(margins[part], novelty[part], keys[part])
        found |= {start + place: why for place, why in picked.items()}
    return found


@pytest.mark.parametrize("batch", [1, 17, 2_000])
def test_each_share_is_held_and_none_but_the_lot_exceeded(batch: int) -> None:
    review = Review(random=0.02, uncertain=0.01, novel=0.03)
    count = 10_000
    whys = Counter(why for all_of in pick_all(ReviewPicker(review), count, batch).values() for why in all_of)
    assert 0.009 * count <= whys["uncertain"] <= 0.01 * count
    assert 0.027 * count <= whys["novel"] <= 0.03 * count
    assert 0.016 * count <= whys["random"] <= 0.024 * count


def test_uncertain_posts_have_small_margins_and_novel_ones_are_far_from_what_is_known() -> None:
    margins, novelty, _ = stream(10_000)
    found = pick_all(ReviewPicker(Review(random=0, uncertain=0.01, novel=0.01)), 10_000, 100)
    assert np.mean([margins[place] for place, why in found.items() if "uncertain" in why]) < 0.1
    assert np.mean([novelty[place] for place, why in found.items() if "novel" in why]) > 0.9


def test_a_replay_picks_the_same_by_lot_whatever_the_batches() -> None:
    review = Review(random=0.05, uncertain=0, novel=0)
    assert pick_all(ReviewPicker(review), 3_000, 7) == pick_all(ReviewPicker(review), 3_000, 500)


def test_another_seed_draws_other_posts() -> None:
    review = Review(random=0.05, uncertain=0, novel=0)
    assert pick_all(ReviewPicker(review, 1), 3_000, 100) != pick_all(ReviewPicker(review, 2), 3_000, 100)


def test_a_share_of_0_picks_nothing_and_of_1_everything_by_lot() -> None:
    assert pick_all(ReviewPicker(Review(random=0, uncertain=0, novel=0)), 1_000, 50) == {}
    assert len(pick_all(ReviewPicker(Review(random=1, uncertain=0, novel=0)), 1_000, 50)) == 1_000


def test_an_empty_batch_picks_nothing() -> None:
    nothing = np.zeros(0, np.float32)
    assert ReviewPicker(Review()).pick(nothing, nothing, [], np.zeros((0, 4), np.float32)) == {}


def test_a_burst_of_one_story_is_one_question() -> None:
    """However novel, posts that lie close to one that was picked are passed over."""
    picker = ReviewPicker(Review(random=0, uncertain=0, novel=0.2))
    count = 500
    story = np.zeros((count, 8), np.float32)
    story[:, 0] = 1.0
    far = np.full(count, 0.9, np.float32)
    margins, _, keys = stream(count)
    assert len(picker.pick(margins, far, keys, story)) == 1


def test_a_new_version_of_a_campaign_goes_on_where_the_former_stopped() -> None:
    """What was asked is not asked again, and no share is lost to frequent changes."""
    review, count = Review(random=0, uncertain=0, novel=0.2), 100
    known = np.zeros((2, 8), np.float32)
    story = np.tile(np.eye(8, dtype=np.float32)[0], (count, 1))
    keys = [str(number) for number in range(count)]
    first, second, third = (CampaignReview(review, known, "k") for _ in range(3))
    assert len(first.by_rank([0.5] * count, story, keys)) == 1
    second.take_over(first)
    assert second.by_rank([0.5] * count, story, keys) == {}
    assert len(third.by_rank([0.5] * count, story, keys)) == 1
