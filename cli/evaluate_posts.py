"""What `feedsight eval` judges on: labelled posts and what is said of their labels, embedded."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from schemas import LabelSet
    from workers.text.heads.base import LabelSpace
    from workers.text.heads.trials import Collection
    from workers.text.models import SentenceEncoder


def read_posts(
    posts: Path,
    label_set: "LabelSet",
    encoder: "SentenceEncoder",
    *,
    field: str,
    across: str | None,
    limit: int | None,
) -> tuple["LabelSpace", "Collection"]:
    """Read and embed all there is. The label set's own examples are known in every draw, and not judged.

    Args:
        posts: JSON lines with text and a true label.
        label_set: the labels.
        encoder: loaded.
        field: holds the true label.
        across: holds the group (event) of a post; none where left out.
        limit: posts to use at most, evenly spread.

    Raises:
        FatalError: the file can't be read, or too few posts have a label of the set.
    """
    import numpy as np

    from workers.errors import FatalError
    from workers.text.duplicates import fingerprints
    from workers.text.heads.trials import Collection
    from workers.text.lane import label_space, read_knowledge

    _say_what_plays_no_part(label_set)
    knowledge = read_knowledge(label_set, (), ())
    indices = {name: index for index, name in enumerate(knowledge.names)}
    if len(indices) < 2:
        raise FatalError(
            f"the label set {label_set.name!r} has one label: name another for posts that aren't about it"
        )
    lines = _lines(posts)
    rows = [row for row in lines if _label_of(row, field) in indices and _has_text(row)]
    if len(rows) < len(lines):
        typer.echo(f"feedsight: {len(lines) - len(rows)} posts left out: no {field} of the set", err=True)
    known = set(fingerprints(knowledge.examples))
    copies = known and {
        i for i, key in enumerate(fingerprints([row["text"] for row in rows])) if key in known
    }
    if copies:
        typer.echo(f"feedsight: {len(copies)} posts left out: examples of the label set", err=True)
        rows = [row for i, row in enumerate(rows) if i not in copies]
    if limit is not None and len(rows) > limit:
        rows = [rows[i * len(rows) // limit] for i in range(limit)]
    if len(rows) < 4:
        found = sorted({_label_of(row, field) or "none" for row in lines})[:10]
        raise FatalError(
            f"{posts}: {len(rows)} posts have a {field} that is in the label set; 4 are needed "
            f"({field} there: {', '.join(found)[:200]})"
        )
    absent = [name for name in indices if all(_label_of(row, field) != name for row in rows)]
    if absent:
        typer.echo(f"feedsight: no post has the label {', '.join(map(repr, absent))[:200]}", err=True)
    groups = None if across is None else [str(row.get(across)) for row in rows]
    if groups is not None and len(set(groups)) < 2:
        raise FatalError(f"{posts}: --across {across} needs posts with two values of {across} or more")
    texts = [row["text"] for row in rows]
    labels = [indices[str(row[field])] for row in rows]
    given = [
        (text, index)
        for text, index in zip(knowledge.examples, knowledge.example_labels, strict=True)
        if index >= 0
    ]
    texts += [text for text, _ in given]
    labels += [index for _, index in given]
    collection = Collection(
        texts, embed_whole(encoder, texts), np.array(labels, np.int64), groups, given=len(given)
    )
    return label_space(knowledge, encoder.encode), collection


def _say_what_plays_no_part(label_set: "LabelSet") -> None:
    """Tell what of a label set is not judged here."""
    parts = {
        "counterexamples": bool(label_set.counterexamples),
        "multi_label (each post is judged by one label)": label_set.multi_label,
        "none_of_these": label_set.none_of_these,
        "abstain": label_set.abstain is not None,
    }
    unused = [what for what, there in parts.items() if there]
    if unused:
        typer.echo(f"feedsight: of the label set, {', '.join(unused)} play no part here", err=True)


def _label_of(row: Mapping[str, Any], field: str) -> str | None:
    """The true label; a number is a name too."""
    value = row.get(field)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def _has_text(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("text"), str) and bool(row["text"].strip())


def embed_whole(encoder: "SentenceEncoder", texts: Sequence[str]) -> "NDArray[np.float32]":
    """Embed texts, long ones by the mean of their windows; float32, shape (n, width), wide rows."""
    tokens = encoder.tokenise(texts)
    rows = encoder.encode_tokens_wide(tokens)
    for index, ids in enumerate(tokens):
        if len(ids) >= encoder.max_tokens:
            windows = [window.ids for window in encoder.windows(texts[index])]
            rows[index] = encoder.pool(encoder.encode_tokens_wide(windows), [len(ids) for ids in windows])
    return rows


def _lines(path: Path) -> list[Mapping[str, Any]]:
    from workers.errors import FatalError

    found: list[Mapping[str, Any]] = []
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    found.append(json.loads(line))
                    if not isinstance(found[-1], dict):
                        raise FatalError(f"{path}, line {number}: not a JSON object")
    except (OSError, UnicodeDecodeError) as error:
        raise FatalError(f"{path} can't be read: {error}") from error
    except json.JSONDecodeError as error:
        raise FatalError(f"{path}, line {number}: not JSON") from error
    return found
