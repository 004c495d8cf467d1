"""Writes dead letters to files that `feedsight send` can read again."""

import re
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self

import orjson

from cli.dlq_output import as_json_line, whole

if TYPE_CHECKING:
    from stream.letters import Letter

SUFFIXES: Final = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"GIF8": ".gif", b"BM": ".bmp",
                   b"II*\x00": ".tif", b"MM\x00*": ".tif"}  # fmt: skip
"""By the first bytes; what has others is called .bin, and a worker still says what it is."""

FACTS: Final = ("subject", "reference", "label")
"""Of an image, in headers on the topic and in the manifest's line."""


class ExportError(Exception):
    """It can't be written where it was asked to be."""


class PostLines:
    """One post a line, as it was; posts that need more than a line are counted and left out.

    Args:
        target: the file; it must not exist.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._written = 0
        self._left_out = 0

    def __enter__(self) -> Self:
        self._file = _new_file(self._target)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, letter: "Letter", value: bytes | None) -> None:
        """Write one."""
        line = None if _is_image(letter) else post_line(value)
        if line is None:
            self._left_out += 1
            return
        self._file.write(line + b"\n")
        self._written += 1

    def said(self) -> str:
        """What was written."""
        left = f"; {self._left_out} are no line of text: export to a folder" if self._left_out else ""
        return f"{self._written} posts in {self._target}{left}"


class Folder:
    """Everything: the letters whole, the posts as lines, the images as files with a manifest.

    Args:
        target: the folder; it must be empty, or not there.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._letters = 0
        self._posts = 0
        self._images = 0

    def __enter__(self) -> Self:
        if self._target.exists() and (not self._target.is_dir() or any(self._target.iterdir())):
            raise ExportError(f"{self._target} is there already and not an empty folder")
        self._target.mkdir(parents=True, exist_ok=True)
        self._whole = _new_file(self._target / "letters.jsonl")
        self._files: dict[str, BinaryIO] = {}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for file in (self._whole, *self._files.values()):
            file.close()

    def add(self, letter: "Letter", value: bytes | None) -> None:
        """Write one."""
        self._letters += 1
        self._line("letters.jsonl", as_json_line(whole(letter, value)).encode())
        if _is_image(letter):
            line = self._image(letter, value)
            if line is not None:
                self._line("images.jsonl", orjson.dumps(line))
                self._images += 1
        elif (post := post_line(value)) is not None:
            self._line("posts.jsonl", post)
            self._posts += 1

    def said(self) -> str:
        """What was written."""
        return f"{self._letters} letters, {self._posts} posts and {self._images} images in {self._target}"

    def _line(self, name: str, line: bytes) -> None:
        if name == "letters.jsonl":
            file = self._whole
        else:
            file = self._files.setdefault(name, self._files.get(name) or _new_file(self._target / name))
        file.write(line + b"\n")

    def _image(self, letter: "Letter", value: bytes | None) -> dict[str, Any] | None:
        """A manifest line; the image's bytes go into a file beside it."""
        if value is None:
            return None
        claim = _claim_check(value)
        if claim is not None:
            path = str(claim.get("dataref") or "")
            if path.startswith("https:") or not path:
                return None  # a manifest names files; the letter is in letters.jsonl
            line: dict[str, Any] = {"id": claim.get("id"), "path": path.removeprefix("file://")}
            line.update((name, claim[name]) for name in FACTS if isinstance(claim.get(name), str))
            return line
        folder = self._target / "images"
        folder.mkdir(exist_ok=True)
        identity = letter.message_id or (letter.record.key or letter.id.encode()).decode("utf-8", "replace")
        suffix = next((suffix for head, suffix in SUFFIXES.items() if value.startswith(head)), ".bin")
        if value[8:12] == b"WEBP":
            suffix = ".webp"
        safe = re.sub(r"[^A-Za-z0-9._-]+", "_", identity).strip("._")[:100] or "image"
        path = f"images/{letter.id.replace('@', '-')}-{safe}{suffix}"
        (self._target / path).write_bytes(value)
        headers = {
            name.lower().removeprefix("ce_"): text for name, text in letter.headers if text is not None
        }
        facts: dict[str, Any] = {
            name: headers[name].decode("utf-8", "replace") for name in FACTS if name in headers
        }
        return {"id": identity[:256] or letter.id, "path": path, **facts}


def post_line(value: bytes | None) -> bytes | None:
    """The value as one line; JSON over several lines is put on one, other text over several has none."""
    if not value or not value.strip():
        return None
    if b"\n" not in value and b"\r" not in value:
        return value
    try:
        return orjson.dumps(orjson.loads(value))
    except orjson.JSONDecodeError:
        return None


def _is_image(letter: "Letter") -> bool:
    return letter.facts is not None and letter.facts.stage == "image"


def _claim_check(value: bytes) -> dict[str, Any] | None:
    if value.lstrip()[:1] != b"{":
        return None
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    if isinstance(found, dict) and "specversion" in found:
        found = found.get("data")
    return found if isinstance(found, dict) else None


def _new_file(path: Path) -> BinaryIO:
    try:
        return path.open("xb")
    except FileExistsError:
        raise ExportError(f"{path} is there already") from None
