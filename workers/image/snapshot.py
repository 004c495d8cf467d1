"""A gallery in a file: its vectors, who they are, the model that made them and a checksum.

Layout: the line `feedsight gallery 1`, a line of JSON (`model`, `dimension`, `count`, `references_bytes`,
`sha256` of references and vectors), the references as lines of JSON, zeros up to a multiple of 64 bytes, and
the vectors as little-endian float32, row by row. The vectors are mapped, so that processes share
their memory.
"""

import hashlib
import json
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from schemas import Reference
from workers.errors import FatalError

FIRST_LINE: Final = b"feedsight gallery 1\n"
ALIGNED_BYTES: Final = 64
CHUNK_BYTES: Final = 2**24


def write_snapshot(
    path: Path, references: Sequence[Reference], vectors: NDArray[np.float32], model: str
) -> None:
    """Write a gallery, beside its place first and then moved there whole.

    Args:
        path: of the file.
        references: n members; their bytes are not kept.
        vectors: float32, shape (n, d), unit rows.
        model: `Embedder.fingerprint` of what made them.

    Raises:
        FatalError: it can't be written.
    """
    lines = b"".join(r.model_dump_json(exclude_none=True).encode() + b"\n" for r in references)
    data = np.ascontiguousarray(vectors, "<f4")
    header = json.dumps(
        {
            "model": model,
            "dimension": int(data.shape[1]),
            "count": len(references),
            "references_bytes": len(lines),
            "sha256": _checksum(lines, data),
        }
    ).encode()
    head = FIRST_LINE + header + b"\n" + lines
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(head + bytes(-len(head) % ALIGNED_BYTES))
            file.write(data.data if data.size else b"")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise FatalError(f"gallery {path} can't be written: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)


def read_snapshot(path: Path, model: str) -> tuple[list[Reference], NDArray[np.float32]]:
    """Read a gallery.

    Args:
        path: of the file.
        model: `Embedder.fingerprint` of what queries will be made with.

    Returns:
        The members, and their vectors, float32, shape (n, d), mapped: changes stay in this process.

    Raises:
        FatalError: it can't be read or is damaged; `index_mismatch` where another model made it.
    """
    try:
        with path.open("rb") as file:
            if file.readline(len(FIRST_LINE)) != FIRST_LINE:
                raise FatalError(f"{path} is no gallery of this version")
            header = json.loads(file.readline())
            if header["model"] != model:
                raise FatalError(
                    f"gallery {path} was made with model {header['model']}, not with {model}: make it anew",
                    reason="index_mismatch",
                )
            lines = file.read(header["references_bytes"])
            offset = -(-file.tell() // ALIGNED_BYTES) * ALIGNED_BYTES
            shape = (int(header["count"]), int(header["dimension"]))
            vectors = _mapped(path, offset, shape)
            if _checksum(lines, vectors) != header["sha256"]:
                raise ValueError("checksum")
        return list(_references(lines)), vectors
    except OSError as error:
        raise FatalError(f"gallery {path} can't be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise FatalError(f"gallery {path} is damaged: {type(error).__name__}") from error


def _mapped(path: Path, offset: int, shape: tuple[int, int]) -> NDArray[np.float32]:
    if 0 in shape:
        return np.zeros(shape, np.float32)
    mapped: Any = np.memmap(path, "<f4", "c", offset, shape)
    if hasattr(mmap, "MADV_WILLNEED"):
        mapped._mmap.madvise(mmap.MADV_WILLNEED)
    return np.asarray(mapped)


def _checksum(lines: bytes, vectors: NDArray[np.float32]) -> str:
    checksum = hashlib.sha256(lines)
    step = max(1, CHUNK_BYTES // max(1, 4 * vectors.shape[1]))
    for start in range(0, len(vectors), step):
        checksum.update(vectors[start : start + step].tobytes())
    return checksum.hexdigest()


def _references(lines: bytes) -> Iterator[Reference]:
    for line in lines.splitlines():
        yield Reference.model_validate_json(line)
