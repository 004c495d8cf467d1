"""The model cache: each exported model in a folder of its own, made once, by one process at a time."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import xxhash

from workers.errors import FatalError

_COMPLETE: Final = "complete"
"""An empty file that stands in a finished folder; the folder is renamed into place after it is written."""


def cache_root() -> Path:
    """Where exported models are kept: $FEEDSIGHT_CACHE, else ~/.cache/feedsight."""
    chosen = os.environ.get("FEEDSIGHT_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "feedsight"


def cached_folder(name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name` of the cache; where it is not there, `make` fills it.

    Safe against other processes and against dying half-way: one process makes it under a file lock, in a
    temporary folder that is renamed when it is whole.

    Raises:
        FatalError: reason model_load: the cache can't be written; or whatever `make` raises.
    """
    folder = cache_root() / name
    if (folder / _COMPLETE).exists():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.parent / f".{folder.name}.lock"):
            if (folder / _COMPLETE).exists():  # another process made it while this one waited
                return folder
            for left in folder.parent.glob(f".{folder.name}.*/"):  # by a process that died
                shutil.rmtree(left, ignore_errors=True)
            scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
            try:
                make(scratch)
                (scratch / _COMPLETE).touch()
                shutil.rmtree(folder, ignore_errors=True)
                scratch.rename(folder)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise FatalError(
            f"the model cache {cache_root()} can't be written: {error}", reason="model_load"
        ) from error
    return folder


def content_hash(paths: Iterator[Path] | list[Path], *more: str) -> str:
    """xxh3 of the contents of files and of further strings, as 16 hex digits."""
    digest = xxhash.xxh3_64()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    for part in more:
        digest.update(b"\0" + part.encode())
    return digest.hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes; the kernel lets go of it where the holder dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
