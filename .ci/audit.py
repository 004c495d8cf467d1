"""Asks a public database which of the pinned packages have known weaknesses: `make audit`.

Exit status: 0 none, or no network (it says so); 1 some. What was looked at and does not concern Feedsight
stands in audit-accepted.txt, an id and the reason a line.
"""

import json
import re
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

DATABASE: Final = "https://api.osv.dev/v1/querybatch"
TIMEOUT_S: Final = 15.0
ROOT: Final = Path(__file__).resolve().parents[1]
PIN: Final = re.compile(r"([A-Za-z0-9._-]+)==([^\s;#]+)")

Ask = Callable[[bytes], bytes]


def pins(text: str) -> list[tuple[str, str]]:
    """Names and versions of a constraints file."""
    found = (PIN.match(line.strip()) for line in text.splitlines())
    return [(match[1], match[2]) for match in found if match]


def accepted(text: str) -> set[str]:
    """Ids that were looked at; a line without a reason does not count."""
    parts = (line.split(maxsplit=1) for line in text.splitlines() if not line.startswith("#"))
    return {part[0] for part in parts if len(part) == 2}


def weaknesses(packages: list[tuple[str, str]], ask: Ask) -> list[tuple[str, str, str]]:
    """Known weaknesses as (name, version, id).

    Raises:
        OSError: the database can't be reached.
        ValueError: it answers something else.
    """
    queries = [
        {"package": {"name": name, "ecosystem": "PyPI"}, "version": version.partition("+")[0]}
        for name, version in packages
    ]
    answer: Any = json.loads(ask(json.dumps({"queries": queries}).encode()))
    results = answer["results"] if isinstance(answer, dict) and "results" in answer else None
    if not isinstance(results, list) or len(results) != len(packages):
        raise ValueError("the database answered something else")
    return [
        (name, version, str(found["id"]))
        for (name, version), result in zip(packages, results, strict=True)
        for found in result.get("vulns", ())
    ]


def _ask(body: bytes) -> bytes:
    request = urllib.request.Request(DATABASE, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - https, above
        content: bytes = answer.read()
    return content


def main(ask: Ask = _ask, root: Path = ROOT) -> int:
    """Run the audit; gives the exit status."""
    packages = pins((root / "constraints.txt").read_text())
    try:
        found = weaknesses(packages, ask)
    except (OSError, ValueError) as error:
        sys.stdout.write(f"audit: SKIPPED, {DATABASE} can't be asked: {' '.join(str(error).split())}\n")
        return 0
    known = root / ".ci" / "audit-accepted.txt"
    passed = accepted(known.read_text()) if known.exists() else set()
    new = [each for each in found if each[2] not in passed]
    for name, version, weakness in new:
        sys.stdout.write(f"audit: {name} {version}: {weakness}\n")
    sys.stdout.write(f"audit: {len(packages)} packages, {len(new)} known weaknesses\n")
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main())
