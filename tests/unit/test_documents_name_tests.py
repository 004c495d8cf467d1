"""A page that names a test as its witness names one that exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMED = re.compile(r"`(tests/[\w/.]+?)(?:::(\w+))?`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    for path, name in NAMED.findall(page.read_text()):
        assert (ROOT / path).exists(), path
        if name:
            assert f"def {name}(" in (ROOT / path).read_text(), f"{path}::{name}"


def test_the_threat_model_names_a_test_for_each_measure() -> None:
    rows = [
        line for line in (ROOT / "docs/threat-model.md").read_text().splitlines() if line.startswith("| ")
    ]
    assert len(rows) > 10
    assert all(NAMED.search(row) for row in rows[1:])
