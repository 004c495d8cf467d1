"""One story told many times is said to be one; what is told once, or as often as ever, is not."""

import numpy as np
import pytest

from config import BurstSettings
from workers.text import bursts
from workers.text.bursts import BurstFinder
from workers.text.bursts_index import SLOTS, StoryIndex
from workers.text.bursts_signature import PLACES, agreement, sign
from workers.text.bursts_story import Burst, Seen

STORY = "The river has burst its banks at Mill Lane and the school is being evacuated"
VERSIONS = (
    "RT @user: " + STORY + " http://t.co/a1",
    "the river has burst its banks at mill lane, and the school is being evacuated!!",
    "Horrible: the river has burst its banks at Mill Lane and the school is being evacuated now",
    "“" + STORY + "” – @mayor",
    STORY.replace("is being", "was"),
)
WORDS = [f"{a}{b}{c}" for a in "bdfgklm" for b in "aeiou" for c in ("nt", "rk", "lo", "si")]


class Feed:
    """A post a second, each of its own words."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.at = 1_000_000.0
        self.count = 0

    def post(self, text: str | None = None, **facts) -> Seen:
        self.count += 1
        self.at += 1.0
        text = text or " ".join(self.random.choice(WORDS, 12))
        return Seen(f"p{self.count}", text, self.at, **facts)

    def posts(self, count: int) -> list[Seen]:
        return [self.post() for _ in range(count)]


def finder(**settings) -> BurstFinder:
    return BurstFinder(BurstSettings(**{"min_posts": 10, **settings}))


def in_batches(found: BurstFinder, posts: list[Seen], size: int) -> list[Burst]:
    return [burst for at in range(0, len(posts), size) for burst in found.observe(posts[at : at + size])]


def mixed(feed: Feed, tellings: int, others: int = 4) -> list[Seen]:
    """A telling of the story, in one version after the other, then some other posts."""
    made = []
    for number in range(tellings):
        made.append(feed.post(VERSIONS[number % len(VERSIONS)], label="caution"))
        made += feed.posts(others)
    return made


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_a_story_in_many_versions_is_told_of_once_it_has_enough_posts(size):
    feed, found = Feed(), finder()
    bursts = in_batches(found, feed.posts(200) + mixed(feed, 15), size)
    assert [burst.again for burst in bursts] == [False]
    burst = bursts[0]
    assert burst.posts == (15 if size == 1_000 else pytest.approx(10, abs=2))
    assert burst.label == "caution"
    assert "Mill Lane" in burst.text or "mill lane" in burst.text
    assert burst.first_seen == pytest.approx(1_000_201, abs=1)


def test_the_line_says_how_many_how_fast_and_what_share():
    feed, found = Feed(), finder()
    (burst,) = in_batches(found, mixed(feed, 10), 50)
    assert burst.detail.startswith("one story: 10 posts in 45 s, one post in 5 now, caution: “")
    assert burst.facts["posts"] == 10
    assert burst.facts["share"] == 0.2
    assert burst.facts["first_seen"] == "1970-01-12T13:46:41+00:00"


def test_it_is_told_of_again_when_it_doubled_and_not_before():
    feed, found = Feed(), finder()
    bursts = in_batches(found, mixed(feed, 45), 5)
    assert [burst.posts for burst in bursts] == [10, 20, 40]
    assert [burst.again for burst in bursts] == [False, True, True]
    assert bursts[1].detail.startswith("the same story grows: 20 posts since 13:46 UTC, ")
    assert len({burst.story for burst in bursts}) == 1


def test_copies_are_known_by_the_post_they_copy_without_being_compared():
    feed, found = Feed(), finder()
    first = feed.post(STORY)
    copies = [feed.post("never looked at", same_as=first.id) for _ in range(12)]
    warm = found.observe([first, feed.post(STORY, same_as=first.id)])
    bursts = in_batches(found, copies, 4)
    assert warm == []
    assert [burst.post_id for burst in bursts] == [first.id]


def test_the_representative_is_in_the_wording_that_most_have():
    feed, found = Feed(), finder()
    comment = feed.post("My God, everyone look at this: " + STORY)
    original = feed.post(STORY)
    copies = [feed.post(STORY, same_as=original.id) for _ in range(10)]
    (burst,) = in_batches(found, [comment, original, *copies], 3)
    assert burst.post_id == original.id
    assert burst.text == STORY


def test_different_stories_are_no_burst():
    feed, found = Feed(1), finder()
    assert in_batches(found, feed.posts(5_000), 500) == []


def test_what_lies_far_apart_in_time_is_no_burst():
    feed, found = Feed(), finder(window_min=1)
    assert in_batches(found, mixed(feed, 60, others=29), 10) == []  # two a minute


def test_a_story_told_as_often_as_before_is_not_news_and_one_that_grows_is():
    """An advertisement comes every few seconds; once told of, it is told of when it doubles, not as new."""
    feed, found = Feed(), finder(window_min=2, min_share=0.3)
    quiet = in_batches(found, mixed(feed, 200, others=3), 20)  # a quarter of all posts, for long
    assert quiet == []
    grown = in_batches(found, mixed(feed, 40, others=0), 5)
    assert [burst.again for burst in grown] == [False]
    assert grown[0].share >= 0.5


def test_a_small_part_of_a_large_stream_is_no_burst():
    feed, found = Feed(), finder(min_share=0.05)
    assert in_batches(found, mixed(feed, 30, others=40), 200) == []


def test_a_story_that_comes_back_after_long_silence_is_told_of_anew():
    feed, found = Feed(), finder(window_min=1)
    first = in_batches(found, mixed(feed, 12), 5)
    feed.at += 600
    in_batches(found, feed.posts(50), 5)
    second = in_batches(found, mixed(feed, 12), 5)
    assert [burst.again for burst in first + second] == [False, False]
    assert second[0].first_seen > first[0].last_seen


def test_posts_that_say_next_to_nothing_are_no_story():
    feed, found = Feed(), finder()
    assert found.observe([feed.post(text) for text in ("lol", "!!!", "ok ok", "😂") for _ in range(50)]) == []


def test_memory_is_bounded():
    feed, found = Feed(), finder()
    index = StoryIndex()
    for _ in range(3):
        signatures, _ = sign([post.text for post in feed.posts(2_000)])
        index.place(signatures, np.zeros(len(signatures)))
    assert index._stories.nbytes + index._signatures.nbytes < 10 * 2**20
    assert found.observe(feed.posts(3_000)) == []
    assert len(found._stories) < 10  # what is told once is not followed


def test_wordings_are_bounded_over_all_stories_and_what_is_beyond_is_counted_all_the_same(monkeypatch):
    monkeypatch.setattr(bursts, "MAX_COPIES", 30)
    feed, finder = Feed(), BurstFinder(BurstSettings())
    stories = [" ".join(feed.random.choice(WORDS, 12)) for _ in range(8)]
    found = [
        burst
        for n in range(20)
        for burst in finder.observe([feed.post(f"{story} said number{n}") for story in stories])
    ]
    assert len(finder._copies) == 30
    assert len({burst.story for burst in found}) == 8
    assert sorted(story.posts for story in finder._stories.values()) == [20] * 8


def test_a_story_outlives_the_index_as_long_as_it_is_told():
    index = StoryIndex()
    (story,) = signed = sign([STORY])[0]
    number = int(index.place(signed, np.zeros(1))[0])
    random = np.random.default_rng(0)
    for _ in range(30):
        index.place(random.integers(0, 2**32, (4_096, PLACES), dtype=np.uint32), np.zeros(4_096))
        number = index.renew(int(index.place(story[None], np.zeros(1))[0])) or number
    assert index.newest > SLOTS
    assert int(index.place(story[None], np.zeros(1))[0]) == number


def test_signatures_disregard_case_punctuation_links_and_mentions():
    signed, enough = sign([STORY, "@user " + STORY.upper() + "!!! https://t.co/xyz?a=1#b @someone", "x"])
    assert agreement(signed[0], signed[1]) == 1.0
    assert enough.tolist() == [True, True, False]


def test_signatures_estimate_what_texts_have_in_common():
    random = np.random.default_rng(3)
    for shared in (3, 6, 10, 13):
        errors = []
        for _ in range(40):
            words = random.permutation(WORDS)
            one = " ".join(words[:14])
            other = " ".join([*words[:shared], *words[20 : 34 - shared]])
            common = (shared - 1) / (26 - (shared - 1))
            found, _ = sign([one, other])
            errors.append(float(agreement(found[0], found[1])) - common)
        assert abs(np.mean(errors)) < 0.06


def test_a_signature_does_not_depend_on_the_batch():
    texts = [STORY, "", "\0", "näive café 😀 mañana por la tarde", "x" * 5_000, "\ud800 lone", *VERSIONS]
    together, _ = sign(texts)
    for text, row in zip(texts, together, strict=True):
        assert (sign([text])[0][0] == row).all()
