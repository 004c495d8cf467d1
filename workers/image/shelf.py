"""Snapshots of galleries on disk, so that a restart embeds nothing again.

A snapshot is never needed: one that is missing, damaged, of another model or can't be written is said so in
the log, and what it would have held is made anew.
"""

import fcntl
import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas import Reference
from schemas.base import Json
from workers.errors import FatalError
from workers.image.context import Context
from workers.image.live_gallery import Generation
from workers.image.models import LargeIndex, load_index
from workers.image.modes.vectors import VectorMode
from workers.image.snapshot import Snapshot, Vectors, read_facts, read_snapshot, write_snapshot, write_whole
from workers.image.stock import Stock

logger = logging.getLogger(__name__)

NAME_CHARS: Final = 64
"""Characters of a gallery's name that stand in its file's."""


class Kept:
    """What an earlier run left of a gallery.

    Args:
        snapshot: as it was read.
        stock: the indexed part of it, where there is one.
    """

    def __init__(self, snapshot: Snapshot, stock: Stock | None) -> None:
        self.stock = stock
        self._snapshot = snapshot
        self._rows = {
            r.sha256: row for row, r in enumerate(snapshot.references) if r is not None and r.sha256
        }

    def known(self, content_hash: str) -> NDArray[np.float32] | None:
        """The vector of content by its hash, float32, shape (d,)."""
        row = self._rows.get(content_hash)
        return None if row is None else np.asarray(self._snapshot.vectors[row], np.float32)

    def recall(self, generation: Generation) -> None:
        """Take the threshold over where it was calibrated on the very same members."""
        facts, mode = self._snapshot.facts, generation.mode
        if isinstance(mode, VectorMode) and facts.get("version") == generation.version:
            threshold = facts.get("threshold")
            mode.recall(float(threshold) if isinstance(threshold, (int, float)) else None)


class Shelf:
    """A folder of snapshots. Only galleries of vectors have any.

    Args:
        folder: made where it is not there.
        mode: any mode of the worker; the model is that of all.
        name: of the mode.
    """

    def __init__(self, folder: Path, mode: VectorMode, name: str) -> None:
        self._folder = folder
        self._fingerprint = mode.fingerprint
        self._mode = name
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            with self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB):  # where nobody writes now
                for left in [*folder.glob(".*.gallery.*"), *folder.glob(".*.index.*")]:
                    left.unlink(missing_ok=True)  # of a process that ended while it wrote

    def take(self, gallery: str) -> Kept | None:
        """Read a gallery's snapshot; None where there is none that can be used."""
        path = self._path(gallery)
        if not path.exists():
            return None
        try:
            snapshot = read_snapshot(path, self._fingerprint)
            return Kept(snapshot, self._stock(path, snapshot))
        except FatalError as error:
            logger.warning("%s; its references are embedded again", error.detail)
            return None

    def put(self, gallery: str, generation: Generation) -> bool:
        """Write a gallery's snapshot, unless it stands there already; whether it stands there now."""
        mode, path = generation.mode, self._path(gallery)
        if not isinstance(mode, VectorMode):
            return False
        try:
            with self._lock(fcntl.LOCK_EX):
                if read_facts(path, self._fingerprint).get("version") != generation.version:
                    self._write(path, mode, generation.version)
        except (OSError, FatalError) as error:
            logger.warning("no snapshot of gallery %s: %s", gallery, error)
            return False
        return True

    def _path(self, gallery: str) -> Path:
        safe = re.sub(r"[^A-Za-z0-9_-]", "_", gallery)[:NAME_CHARS]
        short = hashlib.sha256(gallery.encode()).hexdigest()[:8]
        return self._folder / f"{self._mode}-{safe}-{short}.gallery"

    @contextmanager
    def _lock(self, how: int) -> Iterator[None]:
        with (self._folder / ".lock").open("a") as lock:
            fcntl.flock(lock, how)
            yield

    def _write(self, path: Path, mode: VectorMode, version: str) -> None:
        """Write the index first, so that a gallery never names one that is not there."""
        content = mode.gallery.content
        recent, vectors = content.recent
        facts: dict[str, Json] = {"version": version, "threshold": mode.threshold}
        references: list[Reference | None] = list(recent)
        parts: list[Vectors] = [vectors]
        index_path = None
        if content.stock is not None:
            stock = content.stock
            held = [None if slot in content.gone else r for slot, r in enumerate(stock.references)]
            references, parts = [*held, *recent], [stock.vectors]
            if len(vectors):
                half = stock.vectors.dtype == np.float16
                parts.append(vectors.astype(np.float16) if half else vectors)
            if isinstance(stock.index, LargeIndex):
                dumped = stock.index.dumped()
                digest = hashlib.sha256(dumped.data).hexdigest()
                index_path = path.with_suffix(f".{digest[:16]}.index")
                write_whole(index_path, [dumped.data])
                facts |= {"index": stock.kind, "index_sha256": digest, "trained_on": stock.trained_on}
                facts |= {"depth": stock.index.depth, "recall": stock.index.recall}
                facts |= {"indexed": len(stock), "mean": stock.context.mean.astype("<f4").tobytes().hex()}
        write_snapshot(path, references, parts, mode.fingerprint, facts)
        for other in path.parent.glob(f"{path.stem}.*.index"):
            if other != index_path:
                other.unlink(missing_ok=True)

    def _stock(self, path: Path, snapshot: Snapshot) -> Stock | None:
        """The indexed part of a snapshot; None where it has none, or its index is damaged."""
        facts = snapshot.facts
        if "index" not in facts:
            return None
        index = path.with_suffix(f".{str(facts['index_sha256'])[:16]}.index")
        try:
            content = np.fromfile(index, np.uint8)
            if hashlib.sha256(content.data).hexdigest() != facts["index_sha256"]:
                raise FatalError("the checksum differs")
            count, mean = int(str(facts["indexed"])), bytes.fromhex(str(facts["mean"]))
            depth, recall = int(str(facts.get("depth", 0))), float(str(facts.get("recall", 0.0)))
            loaded = load_index(content, str(facts["index"]), depth, recall)
            # it may still hold members that went after it was made
            gone = [slot for slot, r in enumerate(snapshot.references[:count]) if r is None]
            loaded.remove(np.array(gone, np.int64))
            return Stock(
                snapshot.references[:count],
                snapshot.vectors[:count],
                Context.around(np.frombuffer(mean, "<f4").astype(np.float32), count),
                loaded,
                int(str(facts["trained_on"])),
            )
        except (OSError, ValueError, KeyError, FatalError) as error:
            logger.warning("index %s can't be used and is made anew: %s", index, error)
            return None
