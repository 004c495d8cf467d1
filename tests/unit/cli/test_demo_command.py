"""`feedsight demo` runs from start to end on the embedded broker, with real workers."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_every_input_has_exactly_one_answer():
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FEEDSIGHT_KAFKA__")}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from cli.main import main; main()",
            "demo",
            "--seconds",
            "3",
            "--burst",
            "40",
        ],
        cwd=ROOT,
        env={**environ, "FEEDSIGHT_KAFKA__SECURITY_PROTOCOL": "SSL"},  # a stray setting must not matter
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
    counts = re.search(r"(\d+) inputs: (\d+) results, (\d+) dead letters, 0 lost, 0 double", done.stdout)
    assert counts is not None
    inputs, results, dead = map(int, counts.groups())
    assert inputs == results + dead
    assert dead >= 2
    assert "defect" in done.stdout
