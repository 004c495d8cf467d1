"""Where the posts of `feedsight label` come from: JSON lines, text files, folders, standard input.

A thread reads ahead and hands over what has come, so that results flow while input still comes and a slow
writer never waits for a batch to fill. What waits is bounded by the queue.
"""

import os
import queue
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from workers.text.parse import MAX_POST_BYTES
from workers.text.samples import is_text_file

CHUNK_BYTES: Final = 256 * 1024
"""What is read at once; about 1,000 short posts."""

WAITING_CHUNKS: Final = 4
"""Chunks read ahead: enough to keep the model busy, little enough to hold."""

MAX_LINE_BYTES: Final = 4 * MAX_POST_BYTES
"""A longer line is cut here; it is too large for a post in any case, and the rest is never held."""


class RawPost(NamedTuple):
    """One input, unread.

    Attributes:
        line: its line in its file, from 1; a document is line 1.
        value: JSON, or plain text where `text_id` is set.
        text_id: the id of a plain text.
    """

    line: int
    value: bytes
    text_id: str | None = None


class InputError(Exception):
    """An input named on the command line can't be used; one line that says why."""


class PostReader:
    """Reads inputs ahead in a thread.

    Args:
        inputs: paths of files and folders, or `-`.
        lines: whether a text file is one post a line, in place of one document.

    Raises:
        InputError: an input does not exist, or a folder holds no .txt file.
    """

    def __init__(self, inputs: Sequence[str], *, lines: bool) -> None:
        self._sources = [_source(given, lines=lines) for given in inputs]
        self._queue: queue.Queue[list[RawPost] | InputError | None] = queue.Queue(WAITING_CHUNKS)
        self._waiting: list[RawPost] = []
        self._ended = False
        threading.Thread(target=self._read, name="read posts", daemon=True).start()

    def next_batch(self, limit: int, *, wait: bool) -> list[RawPost]:
        """What has come, at most `limit`; empty at the end, or where nothing has come and `wait` is false.

        Raises:
            InputError: a file can't be read.
        """
        while len(self._waiting) < limit and not self._ended:
            try:
                chunk = self._queue.get(block=wait and not self._waiting)
            except queue.Empty:
                break
            if isinstance(chunk, InputError):
                raise chunk
            if chunk is None:
                self._ended = True
            else:
                self._waiting += chunk
        batch, self._waiting = self._waiting[:limit], self._waiting[limit:]
        return batch

    def _read(self) -> None:
        try:
            for source in self._sources:
                for chunk in source:
                    self._queue.put(chunk)
            self._queue.put(None)
        except OSError as error:
            self._queue.put(InputError(f"{error.filename or 'the input'} can't be read: {error.strerror}"))


def _source(given: str, *, lines: bool) -> Iterator[list[RawPost]]:
    if given == "-":
        return _line_chunks(None, "stdin" if lines else None)
    path = Path(given)
    if path.is_dir():
        files = text_files(path)
        if not files:
            raise InputError(f"folder {given} holds no .txt file")
        if lines:
            return (c for p in files for c in _line_chunks(p, p.relative_to(path).as_posix()))
        return (chunk for p in files for chunk in _document(p, p.relative_to(path).as_posix()))
    if not path.exists():
        raise InputError(f"{given} does not exist")
    if not is_text_file(path):
        return _line_chunks(path, path.name if lines else None)
    return _line_chunks(path, path.name) if lines else _document(path, path.name)


def text_files(folder: Path) -> list[Path]:
    """The .txt files in a folder and those within it, in order."""
    return sorted(path for path in folder.rglob("*") if is_text_file(path) and path.is_file())


def _document(path: Path, name: str) -> Iterator[list[RawPost]]:
    with path.open("rb") as file:
        yield [RawPost(1, file.read(MAX_LINE_BYTES), name)]


def _line_chunks(path: Path | None, text_name: str | None) -> Iterator[list[RawPost]]:
    """Lines as they come, a list for each read; None is standard input."""
    number = 0
    for values in _split_lines(path):
        chunk = []
        for value in values:
            number += 1
            chunk.append(RawPost(number, value, None if text_name is None else f"{text_name}:{number}"))
        if chunk:
            yield chunk


def _split_lines(path: Path | None) -> Iterator[list[bytes]]:
    """Whole lines without their ends; the last may lack its end; a line longer than the limit is cut."""
    descriptor = sys.stdin.fileno() if path is None else os.open(path, os.O_RDONLY)
    try:
        rest = bytearray()
        while data := os.read(descriptor, CHUNK_BYTES):
            first, *more = data.split(b"\n")
            room = MAX_LINE_BYTES - len(rest)
            rest += first[: max(room, 0)]
            if more:
                yield [bytes(rest), *more[:-1]]
                rest = bytearray(more[-1])
        if rest:
            yield [bytes(rest)]
    finally:
        if path is not None:
            os.close(descriptor)
