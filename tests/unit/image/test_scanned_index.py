"""Codes that are scanned: nearly all of the nearest are found, however vectors lie, whatever was removed."""

import numpy as np
import pytest

from schemas import Reference
from workers.errors import FatalError
from workers.image import context, gallery
from workers.image.context import Context
from workers.image.embedding import unit_rows
from workers.image.gallery import Gallery
from workers.image.models import LargeIndex, create_index, indexes, load_index
from workers.image.models.index_trial import tried
from workers.image.models.scanned_index import ScannedIndex, scan_description
from workers.image.snapshot import read_snapshot, write_snapshot

COUNT, DIMENSION = 3_000, 48


def rows(kind, count=COUNT, seed=0):
    noise = np.random.default_rng(seed)
    drawn = noise.standard_normal((count, DIMENSION), np.float32)
    if kind == "clustered":
        drawn = 0.5 * drawn + noise.standard_normal((30, DIMENSION), np.float32)[np.arange(count) % 30]
    return unit_rows(np.ones_like(drawn) if kind == "copies" else drawn)


def built(kind="random", **options):
    drawn = rows(kind)
    return drawn, ScannedIndex(np.arange(COUNT), drawn, keep=True, **options)


def found_share(index, drawn, queries, k=10):
    exact = np.sort(queries @ drawn.T, axis=1)[:, -k]
    named = index.search(queries, k)[1]
    return np.mean(
        [
            (drawn[keys] @ q >= least - 1e-6).mean()
            for keys, q, least in zip(named, queries, exact, strict=True)
        ]
    )


@pytest.mark.parametrize("kind", ["random", "clustered", "copies"])
def test_nearly_all_of_the_nearest_are_found_and_the_index_says_so(kind):
    drawn, index = built(kind)
    queries = unit_rows(drawn[::30] + 0.05 * rows("random", 100, seed=1))
    assert found_share(index, drawn, queries) >= 0.95
    assert index.recall >= 0.95


def test_it_is_what_a_large_gallery_gets_and_what_its_description_asks_for(monkeypatch):
    monkeypatch.setattr(indexes, "FLAT_BELOW", 100)
    drawn = rows("random", 200)
    assert isinstance(create_index(np.arange(200), drawn), ScannedIndex)
    assert isinstance(create_index(np.arange(200), drawn, "RR48,PQ16x4fs"), ScannedIndex)
    assert not isinstance(create_index(np.arange(200), drawn, "HNSW16"), ScannedIndex)


@pytest.mark.parametrize(
    ("count", "dimension", "bytes_each"),
    [(10**6, 320, 54), (10**5, 1_280, 214), (10**6, 1_280, 92), (10**8, 1_280, 80)],
)
def test_codes_take_fewer_bytes_where_there_are_many(count, dimension, bytes_each):
    parts = int(scan_description(count, dimension).split("PQ")[1].removesuffix("x4fs"))
    assert -(-parts // 2) == bytes_each


def test_scores_are_exact_and_in_order():
    drawn, index = built()
    scores, keys = index.search(drawn[:5], 20)
    assert keys[:, 0].tolist() == [0, 1, 2, 3, 4]
    for i in range(5):
        assert scores[i] == pytest.approx(drawn[keys[i]] @ drawn[i], abs=1e-5)
    assert (np.diff(scores, axis=1) <= 0).all()


def test_where_all_that_is_near_was_removed_what_is_further_is_found():
    drawn, index = built("clustered")
    near = np.flatnonzero(np.arange(COUNT) % 30 == 0)
    index.remove(near[:-3])
    keys = index.search(drawn[:1], 10)[1][0]
    assert set(near[-3:]) <= set(keys.tolist())
    assert (keys >= 0).all()
    assert not set(near[:-3]) & set(keys.tolist())
    left = index.candidates(drawn[:1], 3, set(near[-3:].tolist()))
    assert len(left) >= 3
    assert not set(near.tolist()) & set(left.tolist())


def test_it_is_stale_only_when_a_quarter_is_gone():
    _, index = built()
    index.remove(np.arange(500))
    assert not index.stale
    index.remove(np.arange(750))
    assert index.stale
    assert len(index) == COUNT - 750


def test_a_copy_finds_what_was_added_to_it_alone():
    drawn, index = built()
    late = rows("random", 50, seed=9)
    copy = index.copied()
    copy.add(np.arange(COUNT, COUNT + 50), late)
    assert copy.search(late, 1)[1][:, 0].tolist() == list(range(COUNT, COUNT + 50))
    assert index.search(late, 1)[1].max() < COUNT
    assert found_share(copy, np.concatenate([drawn, late]), drawn[:50]) >= 0.95


def test_it_comes_back_from_its_bytes_with_what_was_tried():
    drawn, index = built()
    again = load_index(index.dumped(), index.description, index.depth, index.recall)
    assert isinstance(again, ScannedIndex)
    assert (again.depth, again.recall) == (index.depth, index.recall)
    assert (again.candidates(drawn[:1], 10) == index.candidates(drawn[:1], 10)).all()


def test_an_index_that_all_was_removed_from_names_nothing():
    drawn, index = built()
    index.remove(np.arange(COUNT))
    assert not len(index.candidates(drawn[:1], 10))
    assert (index.search(drawn[:1], 3)[1] == -1).all()


def test_a_poor_index_says_that_it_is():
    """Cells at random directions: those that are looked into hold only some of the nearest."""
    drawn = rows("random")
    index = LargeIndex(np.arange(COUNT), drawn, "IVF200,Flat")
    assert 0.05 < index.recall < 0.6
    depth, recall = tried(lambda query, k: np.zeros(0, np.int64), drawn, deepest=70)
    assert (depth, recall) == (70, 0.0)


@pytest.fixture
def large(monkeypatch):
    """A gallery of more than 1,000 is searched by codes."""
    for module in (context, gallery):
        monkeypatch.setattr(module, "SMOOTHED_UP_TO", 10)
    monkeypatch.setattr(indexes, "FLAT_BELOW", 1_000)
    drawn = rows("clustered", 3_000)
    made = Gallery()
    made.put([Reference(id=f"m{i:05}", label=f"l{i % 30}") for i in range(3_000)], drawn)
    made.learn()
    return drawn, made


def test_a_large_gallery_keeps_16_bits_of_each_number_and_says_what_its_index_finds(large):
    drawn, made = large
    assert made.content.stock.vectors.dtype == np.float16
    assert made.recall >= 0.95
    [hits] = made.search(drawn[7:8], 5)
    assert hits[0].reference.id == "m00007"
    assert hits[0].similarity == pytest.approx(1.0, abs=1e-4)
    assert made.vectors == pytest.approx(drawn, abs=1e-3)


def test_a_member_has_the_same_similarity_beside_the_stock_and_in_it(large):
    _, made = large
    late = rows("random", 1, seed=4)
    made.put([Reference(id="late")], late)
    [beside] = made.search(late, 1)
    made.content.fold(None, indexed=True)
    assert len(made.content.stock) == 3_001
    assert made.search(late, 1) == [beside]


@pytest.mark.parametrize("labelled", [True, False])
def test_the_threshold_of_a_large_gallery_is_that_of_all_its_members_at_once(large, labelled):
    drawn, _ = large
    labels = [f"l{i % 30}" if labelled else None for i in range(3_000)]
    made = Context.of_mean(drawn.sum(axis=0, dtype=np.float64), 3_000)
    chosen = np.unique(np.linspace(0, 2_999, context.CALIBRATED_ON).astype(np.int64))
    plain = made.centred(drawn[chosen]) @ made.centred(drawn).T
    if labelled:
        related = (chosen % 30)[:, None] == np.arange(3_000) % 30
    else:
        median = np.median(plain)
        related = plain >= median + 4 * (median - np.quantile(plain, 0.1587))
    related[np.arange(len(chosen)), chosen] = True
    expected = np.quantile(np.where(related, -1, plain).max(axis=1), 0.95)
    assert made.threshold(labels, 0.05, drawn) == pytest.approx(float(context.bent(expected)), abs=1e-4)


def test_a_gallery_of_16_bits_comes_back_from_a_file(tmp_path, large):
    _, made = large
    stock = made.content.stock
    write_snapshot(tmp_path / "g", stock.references, stock.vectors, "m")
    again = read_snapshot(tmp_path / "g", "m")
    assert again.vectors.dtype == np.float16
    assert (again.vectors == stock.vectors).all()
    content = (tmp_path / "g").read_bytes()
    (tmp_path / "g").write_bytes(content.replace(b'"<f2"', b'"<c8"'))
    with pytest.raises(FatalError):
        read_snapshot(tmp_path / "g", "m")
