"""A gallery in a file: its vectors, who they are, the model that made them and a checksum.

Layout: the line `feedsight gallery 2`, a line of JSON (`model`, `dimension`, `count`, `references_bytes`,
`facts`, `numbers`, and `sha256` of all the rest), the references as lines of JSON (`null` for a place that
holds none), zeros up to a multiple of 64 bytes, and the vectors, row by row, as little-endian float32, or
float16 where `numbers` is `<f2`. The vectors are mapped, so that processes share their memory.
"""

import hashlib
import json
import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from schemas import Reference
from schemas.base import Json
from workers.errors import FatalError
from workers.image.references import slim

FIRST_LINE: Final = b"feedsight gallery 2\n"
ALIGNED_BYTES: Final = 64
CHUNK_BYTES: Final = 2**24

NUMBERS: Final = ("<f4", "<f2")
"""What vectors may consist of."""

Vectors = NDArray[np.float32] | NDArray[np.float16]


@dataclass(frozen=True)
class Snapshot:
    """What a file holds.

    Attributes:
        references: n members by place, None where a place holds none.
        vectors: shape (n, d), unit rows, mapped: changes stay in this process.
        facts: what else was known when it was written.
    """

    references: list[Reference | None]
    vectors: Vectors
    facts: dict[str, Json] = field(default_factory=dict)


def write_snapshot(
    path: Path,
    references: Sequence[Reference | None],
    vectors: Vectors | Sequence[Vectors],
    model: str,
    facts: Mapping[str, Json] | None = None,
) -> None:
    """Write a gallery, beside its place first and then moved there whole.

    Args:
        path: of the file.
        references: n members; their bytes are not kept.
        vectors: shape (n, d), unit rows; or several such, of one type, that make n rows together.
        model: `Embedder.fingerprint` of what made them.
        facts: kept with them.

    Raises:
        FatalError: it can't be written.
    """
    lines = b"".join(
        (b"null" if r is None else r.model_dump_json(exclude_none=True).encode()) + b"\n" for r in references
    )
    parts = [vectors] if isinstance(vectors, np.ndarray) else list(vectors)
    numbers = "<f2" if parts[0].dtype == np.float16 else "<f4"
    data: list[Vectors] = [np.ascontiguousarray(part, numbers) for part in parts]
    header: dict[str, Any] = {
        "model": model,
        "dimension": int(data[0].shape[1]),
        "count": len(references),
        "references_bytes": len(lines),
        "facts": dict(facts or {}),
        "numbers": numbers,
    }
    header["sha256"] = _checksum(header, lines, data)
    head = FIRST_LINE + json.dumps(header).encode() + b"\n" + lines
    blocks = (part.data.cast("B") for part in data if part.size)
    write_whole(path, [head + bytes(-len(head) % ALIGNED_BYTES), *blocks])


def write_whole(path: Path, parts: Sequence[bytes | memoryview]) -> None:
    """Write a file beside its place, and move it there once it is safe on the disk.

    Raises:
        FatalError: it can't be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise FatalError(f"gallery {path} can't be written: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)


def read_facts(path: Path, model: str) -> dict[str, Json]:
    """The facts of a gallery, without the rest; none where it can't be read or another model made it."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.readline()) if file.readline(len(FIRST_LINE)) == FIRST_LINE else {}
    except (OSError, ValueError):
        return {}
    return dict(header["facts"]) if header.get("model") == model and "facts" in header else {}


def read_snapshot(path: Path, model: str) -> Snapshot:
    """Read a gallery.

    Args:
        path: of the file.
        model: `Embedder.fingerprint` of what queries will be made with.

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
            vectors = _mapped(path, offset, shape, header.get("numbers", "<f4"))
            if header.pop("sha256") != _checksum(header, lines, [vectors]):
                raise ValueError("checksum")
        return Snapshot(list(_references(lines)), vectors, dict(header["facts"]))
    except OSError as error:
        raise FatalError(f"gallery {path} can't be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise FatalError(f"gallery {path} is damaged: {type(error).__name__}") from error


def _mapped(path: Path, offset: int, shape: tuple[int, int], numbers: str) -> Vectors:
    if numbers not in NUMBERS:
        raise ValueError("numbers")
    if 0 in shape:
        return np.zeros(shape, np.float32)
    mapped: Any = np.memmap(path, numbers, "c", offset, shape)
    if hasattr(mmap, "MADV_WILLNEED"):
        mapped._mmap.madvise(mmap.MADV_WILLNEED)
    return np.asarray(mapped)


def _checksum(header: Mapping[str, Any], lines: bytes, parts: Sequence[Vectors]) -> str:
    checksum = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    checksum.update(lines)
    for part in parts:
        step = max(1, CHUNK_BYTES // max(1, 4 * part.shape[1]))
        for start in range(0, len(part), step):
            checksum.update(np.ascontiguousarray(part[start : start + step]).data)
    return checksum.hexdigest()


def _references(lines: bytes) -> Iterator[Reference | None]:
    for line in lines.splitlines():
        yield None if line == b"null" else slim(Reference.model_validate_json(line))
