"""The model cache: each exported model in a folder of its own, made once, by one process at a time.

Beside its files stands a hash of each. Native code reads them, so a file that was changed since it was made
is never opened: the folder is made anew.
"""

import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import xxhash

from workers.errors import FatalError

logger = logging.getLogger(__name__)

_COMPLETE: Final = "complete"
"""A file in a finished folder, with the sha256 of each other file (JSON); the folder is renamed into place
after it is written."""

_verified: Final[dict[Path, tuple[object, ...]]] = {}
"""What this process has verified: the folder's files as they were then."""


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
    if _unchanged(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.parent / f".{folder.name}.lock"):
            if _unchanged(folder):  # another process made it while this one waited
                return folder
            for left in folder.parent.glob(f".{folder.name}.*/"):  # by a process that died
                shutil.rmtree(left, ignore_errors=True)
            scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
            try:
                make(scratch)
                hashes = {name: _sha256(scratch / name) for name in _files(scratch)}
                (scratch / _COMPLETE).write_text(json.dumps(hashes, indent=1))
                shutil.rmtree(folder, ignore_errors=True)
                scratch.rename(folder)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise FatalError(
            f"the model cache {cache_root()} can't be written: {error}", reason="model_load"
        ) from error
    return folder


def _files(folder: Path) -> list[str]:
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if name != _COMPLETE)


def _unchanged(folder: Path) -> bool:
    """Whether a folder is finished and its files are those that were made."""
    try:
        hashes = json.loads((folder / _COMPLETE).read_text() or "null")
        if not isinstance(hashes, dict):
            return False
        stats = [(folder / name).stat() for name in (*hashes, _COMPLETE)]
        state = tuple((s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in stats)
        if _verified.get(folder) == state:
            return True
        changed = [name for name, expected in hashes.items() if _sha256(folder / name) != expected]
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        changed = [f"{_COMPLETE} ({type(error).__name__})"]
    if changed:
        logger.warning("%s was changed since it was made: %s; making it anew", folder, ", ".join(changed))
        return False
    _verified[folder] = state
    return True


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
