"""The worker: one outcome for each message, in order, against the references in force."""

import hashlib
from pathlib import Path

import pytest
from PIL import Image

from config import ImageSettings
from schemas import ImageMessage, ImageResult, Reference
from tests.unit.image.drawn import SVG, encoded, gradient, png_header_only
from tests.unit.image.fakes import BrightnessMode
from workers.errors import FatalError, MessageError, PipelineError
from workers.image.worker import ImageWorker

GREY, WHITE, BLACK = (encoded(Image.new("RGB", (8, 8), colour)) for colour in ("grey", "white", "black"))


def started(**settings: object) -> ImageWorker:
    worker = ImageWorker(ImageSettings.model_validate(settings), BrightnessMode)
    worker.load()
    return worker


def answers(worker: ImageWorker, *messages: ImageMessage) -> list[ImageResult | PipelineError]:
    return worker.run(worker.prepare(messages))


def reasons(outcomes: list[ImageResult | PipelineError]) -> list[str]:
    return [o.reason if isinstance(o, PipelineError) else o.verdict for o in outcomes]


def test_results_stand_in_the_order_of_the_messages_with_errors_in_their_place(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "g.png").write_bytes(GREY)
    worker = started(allowed_folders=[tmp_path / "in"])
    worker.apply([Reference(id="grey", content=GREY)])
    outcomes = answers(
        worker,
        ImageMessage(id="1", content=GREY),
        ImageMessage(id="2", content=SVG),
        ImageMessage(id="3", content=encoded(gradient(), "JPEG")[:300]),
        ImageMessage(id="4", content=WHITE),
        ImageMessage(id="5", content=png_header_only(30_000, 30_000)),
        ImageMessage(id="6", dataref=f"{tmp_path}/in/g.png"),
        ImageMessage(id="7", dataref=f"{tmp_path}/in/../x.png"),
        ImageMessage(id="8", dataref=f"{tmp_path}/in/g.png", sha256="0" * 64),
        ImageMessage(id="9", dataref="https://example.com/g.png"),
        ImageMessage(id="10"),
        ImageMessage(id="11", content=GREY, sha256=hashlib.sha256(GREY).hexdigest()),
    )
    assert reasons(outcomes) == [
        "match",
        "image_format",
        "image_undecodable",
        "no_match",
        "image_too_large",
        "match",
        "claim_check_refused",
        "claim_check_mismatch",
        "claim_check_refused",
        "schema",
        "match",
    ]
    assert [o.id for o in outcomes if isinstance(o, ImageResult)] == ["1", "4", "6", "11"]


def test_references_of_a_folder_are_enrolled_at_start(tmp_path):
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "g.png").write_bytes(GREY)
    (tmp_path / "good" / "notes.txt").write_text("not an image")
    worker = started(references=tmp_path / "good")
    [result] = answers(worker, ImageMessage(id="a", content=GREY))
    assert isinstance(result, ImageResult)
    assert (result.neighbors[0].id, result.gallery, result.model) == ("good/g.png"[5:], "good", "brightness")


@pytest.mark.parametrize(
    "line", ['{"id": "a", "path": "missing.png"}', "no json", '{"id": "a", "pth": "x"}', ""]
)
def test_wrong_references_stop_the_worker_at_once(tmp_path, line):
    manifest = tmp_path / "references.jsonl"
    manifest.write_text(line)
    with pytest.raises(FatalError):
        started(references=manifest)


def test_a_broken_reference_is_named(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(FatalError, match=r"bad\.png.*image_format"):
        started(references=tmp_path)


def test_references_change_between_batches():
    worker = started()
    versions = [worker.version]
    assert reasons(answers(worker, ImageMessage(id="a", content=GREY))) == ["empty_gallery"]
    for change, expected in (
        (Reference(id="r", content=GREY), "match"),
        (Reference(id="r", content=WHITE), "no_match"),
        (Reference(id="r", removed=True), "empty_gallery"),
    ):
        assert worker.apply([change]) == [None]
        versions.append(worker.version)
        assert reasons(answers(worker, ImageMessage(id="a", content=GREY))) == [expected]
    assert versions[3] == versions[0]
    assert len(set(versions)) == 3


def test_changes_in_one_call_hold_in_their_order():
    worker = started()
    worker.apply(
        [Reference(id="r", content=GREY), Reference(id="r", removed=True), Reference(id="s", content=WHITE)]
    )
    assert not worker.knows("r")
    assert worker.knows("s")


def test_a_wrong_reference_leaves_the_others_and_its_former_self():
    worker = started()
    worker.apply([Reference(id="r", content=GREY)])
    version = worker.version
    errors = worker.apply([
        Reference(id="r", content=b"broken"),
        Reference(id="s", content=WHITE),
        Reference(id="t", content=GREY, label="refused"),
        Reference(id="u", content=GREY),
    ])  # fmt: skip
    assert [error.reason if error else None for error in errors] == ["image_format", None, "schema", None]
    assert [name for name in "rstu" if worker.knows(name)] == ["r", "s", "u"]
    assert worker.version != version


def test_the_version_does_not_depend_on_the_order_of_enrolment():
    first, second = started(), started()
    first.apply([Reference(id="r", content=GREY), Reference(id="s", content=WHITE)])
    second.apply([Reference(id="s", content=WHITE)])
    second.apply([Reference(id="r", content=GREY)])
    assert first.version == second.version
    assert first.version != started(threshold=0.5).version


def test_compare_takes_a_reference_by_id_name_or_stem():
    worker = started(mode="compare")
    worker.apply([Reference(id="boards/a.png", content=GREY), Reference(id="boards/b.png", content=WHITE)])
    outcomes = answers(
        worker,
        *(
            ImageMessage(id="i", content=GREY, reference=name)
            for name in ("boards/a.png", "a.png", "a", "./boards/b")
        ),
    )
    found = [outcome.compared_with for outcome in outcomes if isinstance(outcome, ImageResult)]
    assert found == ["boards/a.png"] * 3 + ["boards/b.png"]


def test_the_only_reference_is_the_default():
    worker = started(mode="compare")
    worker.apply([Reference(id="a.png", content=GREY)])
    [outcome] = answers(worker, ImageMessage(id="i", content=GREY))
    assert isinstance(outcome, ImageResult)
    assert outcome.compared_with == "a.png"


def test_lent_references_leave_no_trace():
    worker = started()
    worker.apply([Reference(id="w", content=WHITE)])
    version = worker.version
    with worker.lent([Reference(id="g", content=GREY), Reference(id="bad", content=b"")]):
        assert reasons(answers(worker, ImageMessage(id="a", content=GREY))) == ["match"]
        assert worker.version == version
    assert reasons(answers(worker, ImageMessage(id="a", content=GREY))) == ["no_match"]
    assert worker.version == version


def test_cost_is_estimated_without_decoding():
    worker = started(max_pixels=1_000)
    assert worker.cost(ImageMessage(id="a", content=b"x" * 10)) == 80
    assert worker.cost(ImageMessage(id="a", dataref="x", size=10**6)) == 1_000
    assert worker.cost(ImageMessage(id="a", dataref="x")) > 0


def test_nothing_runs_before_loading():
    worker = ImageWorker(ImageSettings(), BrightnessMode)
    with pytest.raises(FatalError):
        worker.run(worker.prepare([ImageMessage(id="a", content=GREY)]))


def test_missing_references_are_a_configuration_error(tmp_path: Path):
    with pytest.raises(FatalError, match="do not exist"):
        started(references=tmp_path / "nowhere")


def test_a_reference_and_an_image_of_the_same_bytes_need_one_source():
    worker = started()
    [error] = worker.apply([Reference(id="a", content=GREY, dataref="x")])
    assert isinstance(error, MessageError)
