"""The table of words finds what was added, also where many words want one place, and while another adds."""

import threading

import numpy as np
import pytest

from workers.text.word_rows import WordRows


def listed(table: WordRows, keys: list[int]) -> list[list[int] | None]:
    """Rows of each word; None where it is not known."""
    entries = table.find(np.array(keys, np.uint64))
    rows, counts = table.rows(entries[entries >= 0])
    parts = iter(np.split(rows, np.cumsum(counts)))
    return [next(parts).tolist() if entry >= 0 else None for entry in entries.tolist()]


def test_words_have_the_rows_they_were_added_with() -> None:
    table = WordRows(10)
    table.add(np.array([7, 2**63, 9], np.uint64), [[0], [1, 2, 1], []])
    assert listed(table, [9, 7, 5, 2**63, 7]) == [[], [0], None, [1, 2, 1], [0]]
    table.add(np.array([7, 11], np.uint64), [[99], [3]])
    assert listed(table, [7, 11]) == [[0], [3]]


@pytest.mark.parametrize("step", [1, 2**52, 2**40 + 1])
def test_words_that_want_one_place_are_all_found(step: int) -> None:
    """Keys that are close take neighbouring places, and the last place goes on at the first."""
    keys = [(2**64 - 1 - n * step) % 2**64 for n in range(1, 3_000)]
    table = WordRows(3_000)
    table.add(np.array(keys, np.uint64), [[n] for n in range(len(keys))])
    assert listed(table, keys) == [[n] for n in range(len(keys))]
    assert listed(table, [3, 2**64 - 5_000 * step % 2**64 - 2]) == [None, None]


def test_a_full_table_takes_no_more_and_still_answers() -> None:
    table = WordRows(1)
    keys = np.arange(1, 20_000, dtype=np.uint64) << np.uint64(40)
    table.add(keys, [[n] for n in range(len(keys))])
    found = table.find(keys) >= 0
    assert 1 < found.sum() == len(table) < len(keys)
    assert found[: len(table)].all()


def test_one_thread_reads_while_another_adds() -> None:
    table = WordRows(20_000)
    keys = np.random.default_rng(0).integers(1, 2**63, 20_000).astype(np.uint64)
    done, wrong = threading.Event(), []

    def read() -> None:
        while not done.is_set():
            entries = table.find(keys)
            known = entries >= 0
            rows, counts = table.rows(entries[known])
            if (counts != 1).any() or (rows != np.flatnonzero(known)).any():
                wrong.append(rows)

    reader = threading.Thread(target=read)
    reader.start()
    for first in range(0, len(keys), 500):
        chunk = slice(first, first + 500)
        table.add(keys[chunk], [[n] for n in range(first, first + 500)])
    done.set()
    reader.join()
    assert not wrong
    assert listed(table, keys.tolist()) == [[n] for n in range(len(keys))]
