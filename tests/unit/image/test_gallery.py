"""Galleries: what is found, in which order, and what survives a change, a file or another model."""

import numpy as np
import pytest

from schemas import ImageMessage, Reference
from workers.errors import FatalError
from workers.image import context, gallery
from workers.image import members as contents
from workers.image.context import NEAR_DUPLICATE, Context
from workers.image.embedding import unit_rows
from workers.image.filters import message_filter
from workers.image.gallery import Gallery
from workers.image.models import LargeIndex, create_index, indexes, load_index
from workers.image.snapshot import read_snapshot, write_snapshot


def clusters(count, groups=8, dimension=32, seed=0, spread=0.15):
    noise = np.random.default_rng(seed)
    centres = noise.normal(size=(groups, dimension))
    rows = centres[np.arange(count) % groups] + spread * noise.normal(size=(count, dimension)) + 0.8
    return unit_rows(rows.astype(np.float32))


def members(count, groups=8):
    return [
        Reference(id=f"m{i:05}", label=f"l{i % groups}", metadata={"even": i % 2 == 0}) for i in range(count)
    ]


def filled(count, **options):
    made = Gallery(**options)
    made.put(members(count), clusters(count))
    return made


def ids(hits):
    return [hit.reference.id for hit in hits]


@pytest.fixture(params=["context", "flat", "HNSW16", "IVF8,Flat"])
def kind(request, monkeypatch):
    """Each way of searching, on a gallery small enough for a test."""
    if request.param != "context":
        monkeypatch.setattr(context, "SMOOTHED_UP_TO", 10)
        monkeypatch.setattr(gallery, "SMOOTHED_UP_TO", 10)
    return request.param


def of_kind(kind, count=200):
    return filled(count, factory=None if kind in ("context", "flat") else kind)


def test_the_way_of_searching_is_reported(kind):
    assert of_kind(kind).index == kind


def test_neighbours_are_of_the_querys_kind_and_in_order(kind):
    made = of_kind(kind)
    queries = clusters(208)[200:]
    for number, hits in enumerate(made.search(queries, 10)):
        similarities = [hit.similarity for hit in hits]
        assert len(hits) == 10
        assert similarities == sorted(similarities, reverse=True)
        assert {hit.reference.label for hit in hits} == {f"l{number}"}


def test_an_identical_image_comes_first_as_a_near_duplicate(kind):
    made = of_kind(kind)
    for number, hits in enumerate(made.search(clusters(200)[:20], 3)):
        assert hits[0].reference.id == f"m{number:05}"
        assert hits[0].similarity == pytest.approx(1.0, abs=1e-4)  # of 16 bits


def test_removal_and_replacement_hold_from_the_next_search_on(kind):
    made = of_kind(kind)
    query = clusters(200)[:1]
    assert ids(made.search(query, 1)[0]) == ["m00000"]
    made.remove(["m00000", "unknown"])
    assert "m00000" not in ids(made.search(query, 199)[0])
    made.put([Reference(id="m00001")], query)
    assert ids(made.search(query, 1)[0]) == ["m00001"]
    assert len(made) == 199


def test_a_filter_finds_all_that_fit(kind):
    made = of_kind(kind)
    wanted: dict[str, object] = {"filter.even": True, "filter.label": "l2|l4", "filter.subject": None}
    accepts = message_filter(ImageMessage(id="q", content=b"x", metadata=wanted))
    [hits] = made.search(clusters(200)[:1], 60, [accepts])
    assert {hit.reference.label for hit in hits} == {"l2", "l4"}
    assert len(hits) == 50


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        ({"filter.price": "7"}, True),
        ({"filter.price": 7}, True),
        ({"filter.price": "70|8"}, False),
        ({"filter.new": "true"}, True),
        ({"filter.new": False}, False),
        ({"filter.colour": "red"}, False),
        ({"filter.colour": None}, True),
        ({"filter.label": "shoes", "filter.subject": "ann|bob"}, True),
    ],
)
def test_a_filter_compares_text_numbers_and_what_is_not_there(wanted, holds):
    accepts = message_filter(ImageMessage(id="q", content=b"x", metadata=wanted))
    member = Reference(id="m", label="shoes", subject="bob", metadata={"price": 7, "new": True})
    assert accepts is not None
    assert accepts(member) is holds


def test_a_message_without_a_filter_finds_all():
    assert message_filter(ImageMessage(id="q", content=b"x", metadata={"colour": "red"})) is None


def test_only_copies_reach_the_similarity_of_near_duplicates():
    tight = clusters(300, groups=3, spread=0.35)
    found = Context(tight).similarities(clusters(306, groups=3, spread=0.35)[300:])
    plain = clusters(306, groups=3, spread=0.35)[300:] @ tight.T
    assert np.array_equal(found >= NEAR_DUPLICATE, plain >= NEAR_DUPLICATE)


def test_unrelated_images_have_a_similarity_of_about_nothing():
    """All rows share a large part; the plain cosine calls everything alike."""
    rows = clusters(200)
    unlike = np.arange(200) % 8 != 0
    assert (rows[0] @ rows[unlike].T).mean() > 0.3
    assert abs(Context(rows).similarities(rows[:1])[0][unlike].mean()) < 0.2


def test_similarities_do_not_depend_on_what_is_searched_with_them():
    made, queries = filled(300), clusters(320)[300:]
    together = made.search(queries, 5)
    assert together == [made.search(queries[i : i + 1], 5)[0] for i in range(20)]


@pytest.mark.parametrize("count", [1, 2, 5, 19, 20, 21])
def test_small_galleries_of_copies_find_them(count):
    made = Gallery()
    made.put(members(count), np.repeat(clusters(1), count, axis=0))
    [hits] = made.search(clusters(1), 30)
    assert ids(hits) == [f"m{i:05}" for i in range(count)]
    assert all(hit.similarity == pytest.approx(1.0, abs=1e-5) for hit in hits)


@pytest.mark.parametrize("labelled", [True, False])
def test_the_threshold_parts_what_has_a_match_from_what_has_none(labelled):
    rows = clusters(480, groups=40, dimension=64, spread=0.6)
    known = np.arange(480) % 40 >= 10
    made = Gallery()
    kept = [
        m if labelled else Reference(id=m.id)
        for m, there in zip(members(480, 40), known, strict=True)
        if there
    ]
    made.put(kept, rows[known])
    limit = made.threshold(0.05)
    assert limit is not None
    strangers = [hits[0].similarity for hits in made.search(rows[~known], 1)]
    friends = [hits[1].similarity for hits in made.search(rows[known], 2)]
    assert np.mean(np.array(strangers) >= limit) <= 0.3
    assert np.mean(np.array(friends) >= limit) >= 0.9


def test_too_few_members_give_no_threshold():
    assert Gallery().threshold(0.01) is None
    assert filled(19).threshold(0.01) is None


def test_vectors_of_another_length_are_refused():
    with pytest.raises(FatalError) as caught:
        filled(5).put(members(1), np.ones((1, 7), np.float32))
    assert caught.value.reason == "index_mismatch"


def test_a_large_gallery_learns_anew_when_it_has_doubled(monkeypatch):
    monkeypatch.setattr(context, "SMOOTHED_UP_TO", 10)
    monkeypatch.setattr(gallery, "SMOOTHED_UP_TO", 10)
    made = filled(100)
    made.search(clusters(1), 1)
    late = [Reference(id=f"late{i}") for i in range(150)]
    made.put(late, clusters(150, seed=3))
    assert {hits[0].reference.id for hits in made.search(clusters(150, seed=3), 1)} == {m.id for m in late}


def test_cells_find_nearly_all_of_what_exact_search_finds(monkeypatch):
    monkeypatch.setattr(indexes, "FLAT_BELOW", 1_000)
    rows = clusters(6_000, groups=60)
    index = create_index(np.arange(6_000), rows)
    assert isinstance(index, LargeIndex)
    queries = clusters(6_060, groups=60)[6_000:]
    exact = np.argsort(-(queries @ rows.T), axis=1)[:, :10]
    _, found = index.search(queries, 10)
    assert np.mean([np.isin(exact[i], found[i]).mean() for i in range(60)]) > 0.85


def test_an_unknown_index_is_refused():
    with pytest.raises(FatalError):
        LargeIndex(np.arange(10), clusters(10), "NOSUCH7")


def test_a_graph_that_lost_many_says_it_is_stale():
    index = LargeIndex(np.arange(500), clusters(500), "HNSW16")
    index.remove(np.arange(10))
    assert not index.stale
    index.remove(np.arange(100))
    assert index.stale
    assert len(index) == 400
    assert not set(range(100)) & set(index.search(clusters(5), 20)[1].ravel().tolist())


def test_a_gallery_comes_back_from_a_file_as_it_was(tmp_path):
    made = filled(60)
    write_snapshot(tmp_path / "g", made.members, made.vectors, "model-1")
    again = Gallery()
    kept = read_snapshot(tmp_path / "g", "model-1")
    again.restore([member for member in kept.references if member], kept.vectors)
    queries = clusters(70)[60:]
    assert again.search(queries, 5) == made.search(queries, 5)
    again.remove(["m00003"])
    again.put([Reference(id="new")], queries[:1])
    assert ids(again.search(queries[:1], 1)[0]) == ["new"]
    assert ids(made.search(clusters(60)[3:4], 1)[0]) == ["m00003"]
    assert read_snapshot(tmp_path / "g", "model-1").references == made.members


def test_a_gallery_of_another_model_is_refused_by_name(tmp_path):
    made = filled(3)
    write_snapshot(tmp_path / "g", made.members, made.vectors, "model-1")
    with pytest.raises(FatalError, match=r"model-1.*model-2") as caught:
        read_snapshot(tmp_path / "g", "model-2")
    assert caught.value.reason == "index_mismatch"


@pytest.mark.parametrize("place", [0, 30, 300, -1])
def test_a_damaged_gallery_is_refused(tmp_path, place):
    made = filled(5)
    write_snapshot(tmp_path / "g", made.members, made.vectors, "m")
    content = bytearray((tmp_path / "g").read_bytes())
    content[place] ^= 1
    (tmp_path / "g").write_bytes(content)
    with pytest.raises(FatalError):
        read_snapshot(tmp_path / "g", "m")


def test_a_gallery_cut_short_or_missing_is_refused(tmp_path):
    made = filled(5)
    write_snapshot(tmp_path / "g", made.members, made.vectors, "m")
    content = (tmp_path / "g").read_bytes()
    (tmp_path / "g").write_bytes(content[:-40])
    for path in (tmp_path / "g", tmp_path / "none"):
        with pytest.raises(FatalError):
            read_snapshot(path, "m")


def test_a_fork_changes_nothing_of_what_it_was_made_from(kind):
    made = of_kind(kind)
    made.learn()
    queries = clusters(210)[200:]
    before = made.search(queries, 5)
    fork = made.fork()
    fork.put([Reference(id="late"), Reference(id="m00001")], queries[:2])
    fork.remove([f"m{i:05}" for i in range(10, 120)])
    fork.learn()
    assert made.search(queries, 5) == before
    assert (len(made), len(fork)) == (200, 91)
    assert "late" in ids(fork.search(queries[:1], 1)[0])


def test_a_removal_is_real_before_anything_is_learnt_anew(kind):
    made = of_kind(kind)
    made.learn()
    gone = {hit.reference.id for hit in made.search(clusters(200)[:1], 5)[0]}
    made.remove(list(gone))
    assert made.pending == "learning"
    assert not gone & set(ids(made.search(clusters(200)[:1], 195)[0]))


def test_a_small_gallery_teaches_the_same_in_whatever_order_it_came():
    rows, everyone = clusters(120), members(120)
    forward, shuffled = Gallery(), Gallery()
    forward.put(everyone, rows)
    for start in (60, 0, 90, 30):
        part = slice(start, start + 30)
        shuffled.put([*everyone[part], Reference(id="gone")], np.concatenate([rows[part], rows[:1]]))
    shuffled.remove(["gone"])
    for one in (forward, shuffled):
        one.learn()
    queries = clusters(130)[120:]
    assert forward.search(queries, 7) == shuffled.search(queries, 7)
    assert forward.threshold(0.05) == shuffled.threshold(0.05)


@pytest.fixture
def settled(monkeypatch):
    """Small limits, so that 200 members are a large gallery whose latest are folded in by tens."""
    monkeypatch.setattr(context, "SMOOTHED_UP_TO", 10)
    monkeypatch.setattr(gallery, "SMOOTHED_UP_TO", 10)
    monkeypatch.setattr(contents, "FOLD_AT", 10)


@pytest.mark.parametrize("factory", [None, "IVF8,Flat", "HNSW16"])
def test_whatever_becomes_of_a_large_gallery_all_its_members_are_found(settled, factory):
    """Each step changes something; those in force and no others are found, each by its own vector."""
    noise = np.random.default_rng(3)
    rows = dict(zip([m.id for m in members(200)], clusters(200, spread=0.4), strict=True))
    made = filled(0, factory=factory)
    made.put([Reference(id=name) for name in rows], np.stack(list(rows.values())))
    for step in range(8):
        made = made.fork()
        gone = noise.choice(sorted(rows), 13, replace=False).tolist()
        made.remove(gone)
        for name in gone:
            del rows[name]
        new = dict(zip([f"s{step}-{i}" for i in range(11)], clusters(11, seed=50 + step), strict=True))
        new |= {name: new[f"s{step}-0"] * 0.5 + row for name, row in list(rows.items())[:3]}
        made.put([Reference(id=name) for name in new], np.stack(list(new.values())))
        rows |= new
        if step % 3:
            made.learn()
        assert len(made) == len(rows)
        asked = noise.choice(sorted(rows), 25, replace=False).tolist()
        found = made.search(np.stack([rows[name] for name in asked]), 20)
        near = [
            hits[0].reference.id == name or hits[0].similarity > 0.999
            for name, hits in zip(asked, found, strict=True)
        ]
        assert np.mean(near) > 0.9
        assert {hit.reference.id for hits in found for hit in hits} <= set(rows)


def test_a_member_comes_back_into_a_stock_as_it_was(settled):
    known = [Reference(id=f"m{i}", sha256=f"{i:064x}") for i in range(40)]
    made = Gallery()
    made.put(known, clusters(40))
    made.learn()
    made.remove(["m7", "m8"])
    stock = made.content.stock
    made.put([known[7], known[8].model_copy(update={"label": "changed"})], clusters(40)[7:9])
    assert len(made) == 40
    assert made.content.stock is stock
    assert [r.label for r in made.content.recent[0]] == ["changed"]
    assert ids(made.search(clusters(40)[7:9], 1)[0]) == ["m7"]


def test_filters_see_what_lies_beside_the_stock(settled):
    made = filled(40)
    made.learn()
    made.put([Reference(id="late", label="new")], clusters(41)[40:])
    accepts = message_filter(ImageMessage(id="q", content=b"x", metadata={"filter.label": "new"}))
    assert ids(made.search(clusters(1), 5, [accepts])[0]) == ["late"]


@pytest.mark.parametrize("factory", ["IVF8,SQ8", "HNSW16"])
def test_an_index_comes_back_from_its_bytes_and_a_copy_leaves_it_alone(factory):
    rows = clusters(300)
    index = LargeIndex(np.arange(300), rows, factory)
    again = load_index(index.dumped(), factory)
    _, keys = index.search(rows[:9], 5)
    assert (again.search(rows[:9], 5)[1] == keys).all()
    copy = again.copied()
    copy.remove(np.arange(100))
    copy.remove(np.arange(0))
    copy.add(np.array([900]), rows[:1])
    assert copy.search(rows[:1], 1)[1] == 900
    assert (again.search(rows[:9], 5)[1] == keys).all()
    with pytest.raises(FatalError):
        load_index(index.dumped()[:50], factory)
