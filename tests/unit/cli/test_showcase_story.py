"""The story that is played: whole, in order, with ids of its own and broken messages strewn in."""

import itertools
import json
from pathlib import Path

import pytest

from cli.showcase.story import load_story
from schemas import ImageMessage, Post
from workers.errors import FatalError

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(scope="module")
def story():
    return load_story(EXAMPLES)


def test_every_post_and_image_is_a_valid_message(story):
    for post in story.posts:
        assert Post.model_validate_json(post.value).id == post.key
    for image in story.images:
        message = ImageMessage.model_validate_json(image.value)
        assert Path(message.dataref).is_relative_to(story.parts.resolve())
        assert (story.references / f"{message.reference}.png").is_file()


def test_the_labels_of_the_posts_are_in_the_label_set(story):
    added = story.turned().labels[-1].name
    assert {post.label for post in story.posts} == set(story.label_names()) - {added}


def test_the_story_is_told_in_the_order_it_happened(story):
    times = [json.loads(post.value)["created_at"] for post in story.posts]
    assert times == sorted(times)
    assert 150 <= len(times) <= 300


def test_each_broken_message_is_played_once_in_a_story(story):
    played = list(itertools.islice(story.text_feed(), story.text_feed_items))
    assert played[-1].key == story.posts[-1].key
    assert {item.about for item in played} >= {item.about for item in story.broken_posts}


def test_ids_differ_in_every_round(story):
    played = list(itertools.islice(story.text_feed(), 3 * story.text_feed_items))
    assert len({item.key for item in played}) == len(played)
    later = next(item for item in played if item.key.endswith("-2"))
    assert json.loads(later.value)["id"] == later.key


def test_broken_posts_keep_their_bytes(story):
    played = {item.about: item for item in itertools.islice(story.text_feed(), story.text_feed_items)}
    for broken in story.broken_posts:
        assert played[broken.about].value == broken.value


def test_no_two_posts_of_a_burst_are_alike(story):
    posts = [Post.model_validate_json(item.value) for item in story.burst(3_000)]
    assert len({post.id for post in posts}) == len({post.text for post in posts}) == 3_000
    assert all(item.key == post.id for item, post in zip(story.burst(3_000), posts, strict=True))


def test_missing_examples_are_a_plain_error(tmp_path):
    with pytest.raises(FatalError, match="can't be read"):
        load_story(tmp_path)


def test_the_labels_that_are_added_make_a_next_version(story):
    turned = story.turned()

    assert turned.version == 2
    assert tuple(label.name for label in turned.labels) == story.label_names()
