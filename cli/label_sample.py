"""A sample of what `feedsight label` is about to label, for label sets that abstain by coverage."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cli.post_inputs import text_files
from workers.errors import FatalError
from workers.text.label_set import load_label_set
from workers.text.samples import is_text_file, read_unlabelled

MAX_SAMPLE: Final = 2_000
"""Texts: enough to place a quantile within a point."""


def abstains_by_coverage(labels: Path | None) -> bool:
    """Whether a label set's rule can be kept to only with a sample of the posts at hand.

    Raises:
        FatalError: the label set can't be used.
    """
    if labels is None:
        return False
    rule = load_label_set(labels).abstain
    return rule is not None and rule.coverage is not None


def sample_inputs(inputs: Sequence[str], *, lines: bool) -> list[str]:
    """Read texts, evenly spread, of the files that will be labelled; empty where one can be read only once.

    Args:
        inputs: as on the command line.
        lines: whether a text file is one post a line.
    """
    files: list[Path] = []
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            files += text_files(path)
        elif path.is_file():
            files.append(path)
        else:
            return []
    found: list[str] = []
    for path in files[:: 1 + len(files) // MAX_SAMPLE]:
        found += _texts(path, lines=lines)
    return found[:: 1 + (len(found) - 1) // MAX_SAMPLE]


def _texts(path: Path, *, lines: bool) -> list[str]:
    """The texts of a file; what is wrong with it is said when it is labelled."""
    try:
        if is_text_file(path) and not lines:
            text = path.read_text(encoding="utf-8")
            return [] if not text or text.isspace() else [text]
        return read_unlabelled(path, MAX_SAMPLE)[0]
    except (FatalError, OSError, UnicodeDecodeError):
        return []
