"""What is learned from corrections, and when it is published."""

from collections.abc import Sequence

import numpy as np
import pytest

from schemas import Label, LabelSet
from tests.support.words import encode_words
from workers.text.learning.corrections import Said, settle
from workers.text.learning.examples import learned, same_examples
from workers.text.learning.measure import Comparison, Figures, compare, split, wilson
from workers.text.learning.refit import Refit, better, refit, stream_accuracy

RAIN = ("river", "bridge", "water", "road", "flooded", "rain")
GAME = ("goal", "match", "keeper", "scored", "league", "coach")
LABELS = LabelSet(name="k", version=1, labels=(Label(name="alpha"), Label(name="beta")))
"""Names that say nothing: all there is to know comes from corrections."""


def sentences(words: Sequence[str], count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(words, 4, replace=False)) + f" number{seed}{n}" for n in range(count)]


def said(count: int, *, by_chance: bool = False) -> list[Said]:
    rng = np.random.default_rng(7)
    pairs = zip(sentences(RAIN, count, 1), sentences(GAME, count, 2), strict=True)
    words = [(text, label) for pair in pairs for text, label in zip(pair, ("alpha", "beta"), strict=True)]
    if by_chance:
        words = [(text, str(rng.choice(["alpha", "beta"]))) for text, _ in words]
    return [Said(f"p{number}", text, label) for number, (text, label) in enumerate(words)]


def fit(words: list[Said], label_set: LabelSet = LABELS, most: int = 100) -> Refit | None:
    return refit(label_set, settle(words, several=label_set.multi_label), encode_words, most=most)


def test_what_measures_better_is_published_with_its_figures() -> None:
    found = fit(said(10))
    assert found is not None
    assert found.label_set is not None
    assert found.comparison is not None
    assert found.comparison.after.accuracy > found.comparison.before.accuracy
    assert found.facts["corrections"] == 20
    assert found.facts["accuracy"] == round(found.comparison.after.accuracy, 4)


def test_the_same_corrections_again_teach_nothing_new() -> None:
    found = fit(said(10))
    assert found is not None
    assert found.label_set is not None
    assert fit(said(10), found.label_set) is None


def test_too_few_corrections_are_kept_and_said_to_be_too_few() -> None:
    found = fit(said(1)[:1])
    assert found is not None
    assert found.label_set is None
    assert "needed" in found.reason


def test_many_answers_by_chance_are_not_published_over_a_set_that_knows_better() -> None:
    good = fit(said(10))
    assert good is not None
    assert good.label_set is not None
    noise = [Said(f"n{n}", one.text + " again", one.label) for n, one in enumerate(said(40, by_chance=True))]
    found = fit([*said(10), *noise], good.label_set)
    assert found is not None
    assert found.label_set is None, found.reason


def test_a_correction_taken_back_is_unlearned() -> None:
    words = said(6)
    known = learned(LABELS, settle(words), encode_words, 100)
    text = words[0].text
    assert text in known.labels[0].examples
    turned = learned(known, settle([*words, Said("p0", text, "beta")]), encode_words, 100)
    assert text not in turned.labels[0].examples
    assert text in turned.labels[1].examples


def test_a_label_sets_own_examples_stay_unless_people_spoke_of_them() -> None:
    own = LABELS.model_copy(update={"labels": (Label(name="alpha", examples=("own one", "own two words")),)})
    found = learned(own, settle([Said("x", "own two words", None)]), encode_words, 100)
    assert found.labels[0].examples == ("own one",)
    assert found.counterexamples == ("own two words",)


def test_of_many_corrections_the_most_unlike_are_learned() -> None:
    alike = [
        Said(f"a{n}", f"river bridge water road flooded rain the a of to {n}", "alpha") for n in range(20)
    ]
    odd = Said("odd", "volcano ash over the airport", "alpha")
    found = learned(LABELS, settle([odd, *alike]), encode_words, 2)
    assert odd.text in found.labels[0].examples
    assert len(found.labels[0].examples) == 2


def test_null_is_no_example_where_every_post_has_a_label() -> None:
    assert learned(LABELS, settle([Said("x", "something else", None)]), encode_words, 9).counterexamples == ()


@pytest.mark.parametrize("shape", [{"none_of_these": True}, {"multi_label": True}])
def test_sets_that_take_none_of_these_learn_and_are_measured(shape: dict[str, bool]) -> None:
    other = sentences(("chess", "piano", "garden", "novel", "cheese", "paint"), 8, 3)
    words = [*said(8), *[Said(f"o{n}", text, None) for n, text in enumerate(other)]]
    found = fit(words, LABELS.model_copy(update=shape))
    assert found is not None
    assert found.comparison is not None
    assert found.comparison.count == 24


def test_held_back_means_that_neither_set_knows_the_post() -> None:
    """A set that knows all the answers by heart does no better on them than one that has to work them out."""
    words = said(6)
    heart = learned(LABELS, settle(words), encode_words, 100)
    found = compare(heart, heart, settle(words).corrections, encode_words)
    assert (found.gained, found.lost) == (0, 0)
    assert found.before == found.after
    odd = [Said("z1", "aa bb cc dd", "alpha"), Said("z2", "ee ff gg hh", "alpha")]
    pool = settle([*words, *odd])
    known = learned(LABELS, pool, encode_words, 100)
    assert compare(known, known, pool.corrections, encode_words).after.likelihood < 0.99


def test_folds_spread_the_labels() -> None:
    folds = split(settle(said(10)).corrections, 5)
    assert [int((folds == fold).sum()) for fold in range(5)] == [4] * 5


def test_examples_in_another_order_are_the_same() -> None:
    one = LabelSet(name="k", labels=(Label(name="a", examples=("x", "y")),))
    assert same_examples(one, LabelSet(name="k", labels=(Label(name="a", examples=("y", "x")),)))


def test_wilsons_interval_holds_the_share_and_stays_within_0_and_1() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    low, high = wilson(8, 10)
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)
    assert wilson(10, 10)[1] == pytest.approx(1.0)


def test_accuracy_on_the_stream_counts_posts_drawn_by_lot_alone() -> None:
    texts = sentences(RAIN, 12, 1)
    words = [Said(f"p{n}", text, "alpha", given="alpha", random=n < 4) for n, text in enumerate(texts)]
    words[0] = Said("p0", texts[0], "beta", given="alpha", random=True)
    facts = stream_accuracy(settle(words).corrections)
    assert (facts["stream_count"], facts["stream_accuracy"]) == (4, 0.75)
    assert stream_accuracy(()) == {}


def comparison(gained: int, lost: int, count: int = 100, likelihood: float = 0.0) -> Comparison:
    before = 0.5
    after = before + (gained - lost) / count
    return Comparison(
        count, Figures(before, before, 0.5), Figures(after, after, 0.5 + likelihood), gained, lost
    )


def test_chance_is_one_sided() -> None:
    assert comparison(5, 0).chance == pytest.approx(1 / 32)
    assert comparison(0, 0).chance == 1.0


@pytest.mark.parametrize(
    ("gained", "lost", "count", "published"),
    [
        (12, 2, 100, True),
        (8, 6, 100, False),  # so many by chance in two of five cases
        (0, 0, 100, False),
        (2, 12, 100, False),
        (2, 3, 20, True),  # so few corrections can't tell: a person's word counts
        (0, 4, 20, False),
    ],
)
def test_many_corrections_must_measure_better_and_few_not_worse(
    gained: int, lost: int, count: int, published: bool
) -> None:
    assert better(comparison(gained, lost, count)) is published


def test_a_rare_label_is_not_given_up_for_a_frequent_one() -> None:
    found = comparison(12, 2)
    lost_label = Figures(found.after.accuracy, found.before.macro_f1 - 0.1, 0.5)
    assert not better(Comparison(100, found.before, lost_label, 12, 2))
