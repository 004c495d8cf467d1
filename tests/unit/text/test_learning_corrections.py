"""What people said becomes one correction a post."""

from workers.text.learning.corrections import Said, settle

FLOOD = "the river is over the bridge road"


def labels(*words: Said, several: bool = False) -> dict[str, tuple[str, ...]]:
    return {one.text: one.labels for one in settle(words, several=several).corrections}


def test_a_persons_last_word_counts() -> None:
    assert labels(Said("a", FLOOD, "x", "ann"), Said("a", FLOOD, "y", "ann")) == {FLOOD: ("y",)}


def test_people_who_differ_make_a_post_disputed() -> None:
    pool = settle([Said("a", FLOOD, "x", "ann"), Said("a", FLOOD, "y", "ben")])
    assert (pool.corrections, len(pool.disputed)) == ((), 1)


def test_more_than_half_decide() -> None:
    words = [Said("a", FLOOD, "x", "ann"), Said("a", FLOOD, "y", "ben"), Said("a", FLOOD, "y", "eve")]
    assert labels(*words) == {FLOOD: ("y",)}


def test_posts_that_say_the_same_are_one() -> None:
    found = settle([Said("a", FLOOD, "x"), Said("b", f"RT @someone: {FLOOD.upper()}!", "x")])
    assert len(found.corrections) == 1


def test_null_says_that_it_is_none_of_the_labels() -> None:
    assert labels(Said("a", FLOOD, None)) == {FLOOD: ()}


def test_where_several_labels_may_hold_a_persons_words_add_up_until_null() -> None:
    both = (Said("a", FLOOD, "x"), Said("a", FLOOD, "y"))
    assert labels(*both, several=True) == {FLOOD: ("x", "y")}
    assert labels(*both, Said("a", FLOOD, None), several=True) == {FLOOD: ()}


def test_corrections_stand_in_the_order_of_the_last_word() -> None:
    words = [Said("a", FLOOD, "x"), Said("b", "a late goal won the match", "y"), Said("a", FLOOD, "x")]
    assert [one.text for one in settle(words).corrections] == ["a late goal won the match", FLOOD]


def test_a_post_drawn_by_lot_remembers_the_label_it_was_given() -> None:
    (found,) = settle([Said("a", FLOOD, "x", given="y", random=True)]).corrections
    assert (found.random, found.given) == (True, "y")
