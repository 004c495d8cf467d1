"""The audit of the pinned packages: it names what is known, passes what was accepted, says no network."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".ci").mkdir()
    (tmp_path / "constraints.txt").write_text("# pins\ngood==1.0\nbad==2.0+cpu  # why\n\n-e .\n")
    return tmp_path


def answer(body: bytes) -> bytes:
    """A database that knows of one weakness."""
    queries = json.loads(body)["queries"]
    assert [(query["package"]["name"], query["version"]) for query in queries] == [
        ("good", "1.0"),
        ("bad", "2.0"),
    ]
    return json.dumps({"results": [{}, {"vulns": [{"id": "GHSA-1"}]}]}).encode()


def test_a_known_weakness_is_named_and_fails(
    audit: ModuleType, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.main(answer, project) == 1
    assert "bad 2.0+cpu: GHSA-1" in capsys.readouterr().out


def test_what_was_accepted_with_a_reason_passes(audit: ModuleType, project: Path) -> None:
    (project / ".ci" / "audit-accepted.txt").write_text(
        "GHSA-1 only where it serves HTTP, which we never do\n"
    )
    assert audit.main(answer, project) == 0
    (project / ".ci" / "audit-accepted.txt").write_text("GHSA-1\n")
    assert audit.main(answer, project) == 1


@pytest.mark.parametrize("said", [b"<html>", b"[]", b'{"results": []}'])
def test_without_a_network_it_is_skipped_and_says_so(
    audit: ModuleType, project: Path, capsys: pytest.CaptureFixture[str], said: bytes
) -> None:
    def nobody(body: bytes) -> bytes:
        raise OSError("no route to host")

    for ask in (nobody, lambda body: said):
        assert audit.main(ask, project) == 0
        assert "audit: SKIPPED" in capsys.readouterr().out


def test_every_dependency_is_pinned(audit: ModuleType) -> None:
    names = {name.lower() for name, _ in audit.pins((ROOT / "constraints.txt").read_text())}
    assert {"aiokafka", "pydantic", "pillow", "onnxruntime", "torch"} <= names
