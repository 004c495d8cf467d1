"""A short cut of the chaos run, with a fixed seed; `make chaos` is the long one."""

from pathlib import Path

import pytest

from stream.local_kafka import find_kafka_home
from tests.chaos.faults import FAULTS, draw
from tests.chaos.report import text
from tests.chaos.run import chaos, parse

pytestmark = [pytest.mark.broker, pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(600)]

EXACTLY_ONCE = (
    "SIGKILL",
    "SIGTERM under load",
    "connections cut",
    "output too large",
    "broker crash",
    "poison",
    "SIGSTOP past the session",
    "SIGTERM with hung inference",
    "dead-letter topic gone",
    "burst",
    "SIGKILL step 4: after the fence",
)
AT_LEAST_ONCE = ("SIGKILL", "connections cut", "broker crash")


@pytest.mark.parametrize(
    ("delivery", "faults"),
    [("exactly_once", EXACTLY_ONCE), ("at_least_once", AT_LEAST_ONCE)],
    ids=["exactly_once", "at_least_once"],
)
def test_no_invariant_breaks_under_faults(tmp_path: Path, delivery: str, faults: tuple[str, ...]) -> None:
    if find_kafka_home() is None:
        pytest.skip("no real Kafka: set FEEDSIGHT_KAFKA_HOME to a distribution's folder, and install Java 17")
    options = ["--seed", "3", "--rate", "600", "--workers", "2", "--minutes", "3", "--delivery", delivery]
    report = chaos(parse([*options, "--until-faults", "--only", ",".join(faults)]), tmp_path)
    assert report.good, text(report)
    assert report.fault_count == len(faults)
    assert report.verdict.inputs >= report.acknowledged > 1_000


def test_a_schedule_holds_every_kind_and_comes_again_with_its_seed() -> None:
    drawn = draw(7, 100)
    assert len(drawn) == 100
    assert set(drawn) == set(FAULTS)
    assert drawn == draw(7, 100)
    assert drawn != draw(8, 100)
