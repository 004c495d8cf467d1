"""Label-set files: YAML or JSON, read safely, with the line where something is wrong."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import orjson
import xxhash
import yaml
from pydantic import ValidationError

from schemas import LabelSet
from workers.errors import FatalError

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
"""The largest label-set file taken, in bytes: 1,000 labels with examples fit."""

ARCHIVE_MARK: Final = "@"
"""Stands between name and version in keys of the control topic, and so in no name."""

_MAX_DEPTH: Final = 8
"""Nesting of a label set: file, labels, label, phrasings; twice that is someone's mistake or attack."""

Path_ = tuple[int | str, ...]


class LabelSetError(FatalError):
    """A label set can't be used.

    Args:
        detail: what is wrong, in one line that begins with the file and line where they are known.
        line: the line in the file, from 1.
    """

    def __init__(self, detail: str, *, line: int | None = None) -> None:
        super().__init__(detail, reason="configuration")
        self.line = line


def load_label_set(path: Path, taken: Collection[str] = ()) -> LabelSet:
    """Read a label set from a YAML or JSON file.

    A label may be written as a bare string where it has nothing but its name. Where the file gives no
    version, a hash of the content becomes it, so that the same labels always have the same version.

    Args:
        path: the file.
        taken: topics that results may not be routed to.

    Raises:
        LabelSetError: the file can't be read, is too large, uses aliases or doubles a key, or a value is
            wrong.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise LabelSetError(f"{path}: {size} bytes; at most {MAX_FILE_BYTES} are taken")
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise LabelSetError(f"label set {path} does not exist") from error
    except UnicodeDecodeError as error:
        raise LabelSetError(f"{path}: not UTF-8 at byte {error.start}") from error
    except OSError as error:
        raise LabelSetError(f"label set {path} can't be read: {error.strerror}") from error
    lines: dict[Path_, int] = {}
    values = _read_json(text, str(path)) if path.suffix == ".json" else _read_yaml(text, path, lines)
    return parse_label_set(values, where=str(path), lines=lines, taken=taken)


def parse_label_set(
    values: Any,
    *,
    where: str = "label set",
    lines: dict[Path_, int] | None = None,
    taken: Collection[str] = (),
) -> LabelSet:
    """Check plain values and give the label set; see load_label_set.

    Args:
        values: what YAML or JSON held.
        where: named in errors.
        lines: the line of each path into `values`, where known.
        taken: topics that results may not be routed to.

    Raises:
        LabelSetError: a value is wrong.
    """
    if not isinstance(values, dict):
        raise LabelSetError(f"{where}: a label set is a mapping with name and labels")
    if isinstance(values.get("labels"), list):
        labels = [{"name": label} if isinstance(label, str) else label for label in values["labels"]]
        values = values | {"labels": labels}
    try:
        label_set = LabelSet.model_validate(values)
    except ValidationError as error:
        raise _label_set_error(error, where, lines or {}, _doubled_name(values.get("labels"))) from error
    _check_for_the_stream(label_set, where, lines or {}, taken)
    if label_set.version is None:
        label_set = label_set.model_copy(update={"version": content_version(label_set)})
    return label_set


def _check_for_the_stream(
    label_set: LabelSet, where: str, lines: dict[Path_, int], taken: Collection[str]
) -> None:
    """Refuse a name that can't be a key of the control topic, and a route that leads back in."""
    problems = []
    if ARCHIVE_MARK in label_set.name or not label_set.name.isprintable():
        problems.append(("name", f"{label_set.name!r} holds {ARCHIVE_MARK!r}, which stands before versions"))
    route = label_set.route
    if route is not None and any(route == own or route.startswith(own + ".") for own in taken):
        problems.append(("route", f"{route} is one of Feedsight's own topics; name another"))
    elif route is not None and (route.startswith("__") or not route.strip(".")):
        problems.append(("route", f"{route} is Kafka's own; name another"))  # a broker refuses writes to it
    for field, message in problems:
        line = lines.get((field,))
        place = f"{where}, line {line}" if line else where
        raise LabelSetError(f"{place}: {field}: {message}", line=line)


def content_version(label_set: LabelSet) -> str:
    """The version of a label set that names none: a hash of all it says, 12 hex digits."""
    content = orjson.dumps(label_set.model_dump(exclude={"version"}), option=orjson.OPT_SORT_KEYS)
    return xxhash.xxh3_64_hexdigest(content)[:12]


def label_set_from_json(value: bytes, where: str, taken: Collection[str] = ()) -> LabelSet:
    """Read a label set from JSON, as it travels on its topic; see load_label_set.

    Raises:
        LabelSetError: it can't be used.
    """
    if len(value) > MAX_FILE_BYTES:
        raise LabelSetError(f"{where}: {len(value)} bytes; at most {MAX_FILE_BYTES} are taken")
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LabelSetError(f"{where}: not UTF-8 at byte {error.start}") from error
    return parse_label_set(_read_json(text, where), where=where, taken=taken)


def _read_json(text: str, where: str) -> Any:
    def no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise LabelSetError(f"{where}: {twice[:64]!r} stands twice in one object")
        return found

    try:
        return json.loads(text, object_pairs_hook=no_repeats)
    except json.JSONDecodeError as error:
        message = f"{where}, line {error.lineno}: not JSON: {error.msg}"
        raise LabelSetError(message, line=error.lineno) from error
    except (RecursionError, ValueError) as error:
        raise LabelSetError(f"{where}: nested too deep, or a number too long") from error


def _read_yaml(text: str, path: Path, lines: dict[Path_, int]) -> Any:
    """Plain values from YAML: scalars of the core types, no aliases, no doubled keys."""
    loader = yaml.CSafeLoader(text) if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader(text)
    try:
        _refuse_aliases(text, path)
        node = loader.get_single_node()
        return None if node is None else _plain(node, (), lines, loader, path)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        place = f", line {line}" if line else ""
        problem = error.problem or error.context
        raise LabelSetError(f"{path}{place}: not YAML: {problem}", line=line) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise LabelSetError(f"{path}: not YAML: {' '.join(str(error).split())[:200]}") from error
    finally:
        loader.dispose()


def _refuse_aliases(text: str, path: Path) -> None:
    """Read events only, so that a bomb of aliases or brackets is met before anything is built."""
    depth = 0
    parser = yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader
    for event in yaml.parse(text, Loader=parser):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            raise LabelSetError(f"{path}, line {line}: aliases (*{event.anchor}) are not taken", line=line)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                raise LabelSetError(f"{path}, line {line}: nested too deep for a label set", line=line)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _plain(node: yaml.Node, at: Path_, lines: dict[Path_, int], loader: Any, path: Path) -> Any:
    lines[at] = line = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        return [_plain(child, (*at, i), lines, loader, path) for i, child in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            key_line = key_node.start_mark.line + 1
            if key in found:
                raise LabelSetError(
                    f"{path}, line {key_line}: {key[:64]!r} stands twice in one mapping", line=key_line
                )
            found[key] = _plain(value_node, (*at, key), lines, loader, path)
        return found
    if at == ("version",) and node.tag == "tag:yaml.org,2002:float":
        return str(node.value)  # 1.10 is a version, and not 1.1
    if _is_text(at):
        # a label called `no`, `on` or `2024` is a word, whatever YAML thinks
        if node.tag == "tag:yaml.org,2002:null" and not isinstance(at[-1], int) and at[-1] != "name":
            return None
        return str(node.value)
    if node.tag not in _TAGS:
        raise LabelSetError(f"{path}, line {line}: the tag {node.tag!r} is not taken", line=line)
    return str(node.value) if node.tag == _TIME else loader.construct_object(node)


_TIME: Final = "tag:yaml.org,2002:timestamp"
_TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{t}" for t in ("str", "int", "float", "bool", "null", "timestamp")
)


def _is_text(at: Path_) -> bool:
    """Whether a scalar at this path is a text: names, descriptions, members of lists."""
    return bool(at) and (isinstance(at[-1], int) or at[-1] in ("name", "description", "route", "model"))


def _doubled_name(labels: Any) -> Path_:
    """The path of the second label of a name, or an empty one."""
    seen = set()
    for index, label in enumerate(labels if isinstance(labels, list) else []):
        name = label.get("name") if isinstance(label, dict) else None
        if isinstance(name, str) and name in seen:
            return ("labels", index, "name")
        seen.add(name if isinstance(name, str) else None)
    return ()


_PLAINLY: Final = {
    "extra_forbidden": "no such field",
    "missing": "is required",
    "string_too_short": "is empty",
    "string_type": "is not a text",
    "too_short": "at least one is needed",
}
"""What pydantic says in the words of those who write programs."""


def _label_set_error(
    error: ValidationError, where: str, lines: dict[Path_, int], twice: Path_
) -> LabelSetError:
    """The first problem, with its path and the nearest line known."""
    first = error.errors(include_url=False, include_input=False)[0]
    location: Path_ = tuple(first["loc"])
    if not location and twice:
        location = twice
    line = next((lines[location[:n]] for n in range(len(location), -1, -1) if location[:n] in lines), None)
    spot = ".".join(str(part) for part in location) or "the label set"
    message = first["msg"].removeprefix("Value error, ")
    message = _PLAINLY.get(first["type"], message)
    place = f"{where}, line {line}" if line else where
    return LabelSetError(f"{place}: {spot}: {message}", line=line)
