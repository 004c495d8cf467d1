"""Files made once and kept: exported models and what the self-test found.

They lie under FEEDSIGHT_CACHE, or ~/.cache/feedsight. A name carries a hash of all that went in, so that a
file is never stale; it is written beside its place and moved there whole, under a lock. Beside it stands a
hash of what it holds. Native code reads it, so a file that was changed since is never opened but made anew.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from workers.errors import FatalError

logger = logging.getLogger(__name__)

_verified: dict[Path, tuple[object, ...]] = {}
"""What this process has verified: the file and its hash as they were then."""


def cache_folder() -> Path:
    """Where cached files lie; made where it is not there.

    Raises:
        FatalError: the folder can't be made.
    """
    chosen = os.environ.get("FEEDSIGHT_CACHE")
    folder = Path(chosen) if chosen else Path.home() / ".cache" / "feedsight"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FatalError(f"the cache folder {folder} can't be made: {error}", reason="model_load") from error
    return folder


def digest(*parts: object) -> str:
    """Sixteen hexadecimal digits that change with any of the parts."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def cached_file(name: str, build: Callable[[Path], None]) -> Path:
    """Give a cached file, building it where it is not there yet; processes wait for each other.

    Args:
        name: file name, with a hash of what goes in.
        build: writes the file to the path it is given.

    Raises:
        FatalError: the file can't be written, or what `build` raises.
    """
    folder = cache_folder()
    path = folder / name
    if _unchanged(path):
        return path
    beside = folder / f".{name}.{os.getpid()}"
    try:
        with _locked(folder / f".{name}.lock"):
            if not _unchanged(path):
                build(beside)
                _hash_of(path).write_text(_sha256(beside))
                beside.replace(path)
    except OSError as error:
        raise FatalError(f"can't write {path}: {error}", reason="model_load") from error
    finally:
        beside.unlink(missing_ok=True)
    return path


def _hash_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _unchanged(path: Path) -> bool:
    """Whether a file is there and is the one that was made."""
    try:
        stats = (path.stat(), _hash_of(path).stat())
        state = tuple((s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in stats)
        if _verified.get(path) == state:
            return True
        if _hash_of(path).read_text() != _sha256(path):
            logger.warning("%s was changed since it was made; making it anew", path)
            return False
    except FileNotFoundError:
        return False
    _verified[path] = state
    return True


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
