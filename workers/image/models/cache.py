"""Files made once and kept: exported models and what the self-test found.

They lie under FEEDSIGHT_CACHE, or ~/.cache/feedsight. A name carries a hash of all that went in, so that a
file is never stale; it is written beside its place and moved there whole, under a lock.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from workers.errors import FatalError


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
    if path.exists():
        return path
    beside = folder / f".{name}.{os.getpid()}"
    try:
        with _locked(folder / f".{name}.lock"):
            if not path.exists():
                build(beside)
                beside.replace(path)
    except OSError as error:
        raise FatalError(f"can't write {path}: {error}", reason="model_load") from error
    finally:
        beside.unlink(missing_ok=True)
    return path
