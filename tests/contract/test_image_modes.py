"""What every image mode owes its worker, checked on all of them."""

import json
from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from config import ImageSettings
from schemas import ImageMessage, ImageResult, Reference
from tests.unit.image.drawn import encoded, part
from workers.base import Change
from workers.errors import REASONS, PipelineError
from workers.image.modes.registry import MODES
from workers.image.worker import ImageWorker, create_image_worker

VERDICTS = {
    "similarity": {"match", "no_match"},
    "uniqueness": {"match", "no_match"},
    "defect": {"ok", "defect"},
    "compare": {"ok", "defect"},
    "signature": {"genuine", "forged", "unsure"},
}
GOOD = [encoded(part(seed)) for seed in range(6)]
REFERENCES = [Reference(id=f"r{i}", content=content, subject="s") for i, content in enumerate(GOOD)]


def _there(mode: str) -> bool:
    return find_spec(f"workers.image.modes.{MODES[mode][0]}") is not None  # type: ignore[index]


@pytest.fixture(scope="module", params=[pytest.param(mode, id=mode) for mode in MODES])
def mode(request: pytest.FixtureRequest) -> str:
    if not _there(request.param):
        pytest.skip(f"mode {request.param} is not built yet")
    return str(request.param)


@pytest.fixture(scope="module")
def worker(mode: str) -> ImageWorker:
    """One worker of each mode with six references."""
    made = create_image_worker(ImageSettings.model_validate({"mode": mode}))
    made.load()
    assert made.apply(REFERENCES) == [None] * len(REFERENCES)
    return made


def message(number: object, content: bytes) -> ImageMessage:
    return ImageMessage(id=str(number), content=content, subject="s", reference="r0")


def answers(worker: ImageWorker, contents: Sequence[bytes]) -> list[ImageResult | PipelineError]:
    return worker.run(worker.prepare([message(i, content) for i, content in enumerate(contents)]))


SEEN = [encoded(part(seed, flaw=(40, 60, 8) if seed % 2 else None)) for seed in range(40, 45)]


def test_one_outcome_for_each_image_in_order(worker, mode):
    outcomes = answers(worker, SEEN)
    assert [o.id for o in outcomes if isinstance(o, ImageResult)] == [str(i) for i in range(len(SEEN))]
    for outcome in outcomes:
        assert isinstance(outcome, ImageResult)
        assert outcome.mode == mode
        assert outcome.verdict in VERDICTS[mode]
        assert (outcome.width, outcome.height) == (160, 160)
        for region in outcome.regions:
            x1, y1, x2, y2 = region.box
            assert 0 <= x1 < x2 <= 160
            assert 0 <= y1 < y2 <= 160


def test_results_do_not_depend_on_the_batch(worker):
    together = answers(worker, SEEN)
    alone = [worker.run(worker.prepare([message(i, content)]))[0] for i, content in enumerate(SEEN)]
    assert together == alone


def test_nothing_to_judge_gives_nothing(worker):
    assert answers(worker, []) == []


def test_the_score_and_the_threshold_make_the_verdict(worker, mode):
    for outcome in answers(worker, SEEN):
        assert isinstance(outcome, ImageResult)
        if outcome.threshold is None or outcome.verdict == "unsure":
            continue
        reached = outcome.score >= outcome.threshold
        high = {"no_match"} if mode == "uniqueness" else {"match", "defect", "genuine"}
        assert reached == (outcome.verdict in high)


def test_results_are_json_with_the_fields_of_the_contract(worker):
    for outcome in answers(worker, SEEN[:1]):
        assert isinstance(outcome, ImageResult)
        fields = json.loads(outcome.to_json())
        assert {"id", "verdict", "score", "regions", "neighbors", "model", "version"} <= set(fields)
        assert ImageResult.model_validate_json(outcome.to_json()) == outcome


ODD = {
    "1 x 1": Image.new("RGB", (1, 1)),
    "1 x 400": Image.new("RGB", (1, 400), "white"),
    "400 x 1": Image.new("L", (400, 1), 99),
    "black": Image.new("RGB", (160, 160)),
    "white": Image.new("L", (160, 160), 255),
    "16 bits": Image.fromarray(np.full((160, 160), 30_000, np.uint16)),
    "palette": part(1).quantize(16),
    "transparent": Image.new("RGBA", (160, 160)),
    "large": Image.new("L", (3_000, 2_000), 128),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_images_get_a_result_or_a_reason(worker, name):
    [outcome, neighbour] = answers(worker, [encoded(ODD[name]), GOOD[1]])
    if isinstance(outcome, PipelineError):
        assert outcome.reason in REASONS - {"unexpected", "model_failed"}
    assert isinstance(neighbour, ImageResult)


@pytest.mark.parametrize("name", ["1 x 1", "1 x 400", "black", "large"])
def test_odd_references_are_taken_or_refused(mode, name):
    worker = create_image_worker(ImageSettings.model_validate({"mode": mode}))
    worker.load()
    [error] = worker.apply([Reference(id="r0", content=encoded(ODD[name]), subject="s")])
    assert error is None or error.reason in REASONS - {"unexpected"}
    [outcome] = answers(worker, [GOOD[0]])
    if isinstance(outcome, PipelineError):
        assert outcome.reason in REASONS - {"unexpected", "model_failed"}


def test_an_empty_gallery_is_an_error_of_the_message(mode):
    worker = create_image_worker(ImageSettings.model_validate({"mode": mode}))
    worker.load()
    for outcome in answers(worker, GOOD[:2]):
        assert isinstance(outcome, PipelineError)
        assert outcome.reason in {"empty_gallery", "unknown_reference", "unknown_subject"}


@pytest.mark.parametrize("count", [1, 2])
def test_few_and_identical_references_give_results(mode, count):
    worker = create_image_worker(ImageSettings.model_validate({"mode": mode}))
    worker.load()
    worker.apply([Reference(id=f"r{i}", content=GOOD[0], subject="s") for i in range(count)])
    for outcome in answers(worker, [GOOD[0], SEEN[1]]):
        assert isinstance(outcome, ImageResult)
        assert np.isfinite(outcome.score)


def test_removal_is_real(mode):
    worker = create_image_worker(ImageSettings.model_validate({"mode": mode}))
    worker.load()
    worker.apply(REFERENCES[:3])
    before = answers(worker, SEEN[:2])
    worker.apply([Reference(id="late", content=GOOD[5], subject="s")])
    answers(worker, SEEN[:2])
    worker.apply([Reference(id="late", removed=True)])
    after = answers(worker, SEEN[:2])
    assert after == before
    assert "late" not in {n.id for o in after if isinstance(o, ImageResult) for n in o.neighbors}


def changes(names: Sequence[int], gallery: str = "default") -> list[Change]:
    facts = (("subject", b"s"), ("label", b"l"))
    return [Change(f"{gallery}/r{i}", GOOD[i], facts) for i in names]


def test_changes_while_it_runs_lead_to_the_same_as_a_start_with_their_outcome(mode):
    """Whatever the way there, a gallery of these members judges so, and says that it is this one."""
    live = create_image_worker(ImageSettings.model_validate({"mode": mode}))
    live.load()
    for step in (changes([0, 5, 1]), [*changes([3, 2]), Change("default/r5", None)]):
        live.apply_changes(step)
        answers(live, SEEN[:1])
    fresh = create_image_worker(ImageSettings.model_validate({"mode": mode}))
    fresh.load()
    fresh.apply_changes(changes([3, 1, 0, 2]))
    for worker in (live, fresh):
        worker._loaded().keeper.learn()
    assert answers(live, SEEN[:2]) == answers(fresh, SEEN[:2])
    assert live.in_force == fresh.in_force


def test_a_mode_that_matches_is_not_touched_by_a_fork_that_changes(mode):
    made = create_image_worker(ImageSettings.model_validate({"mode": mode}))
    made.load()
    made.apply_changes(changes([0, 1, 2]))
    held = made._loaded().by_name["default"].current.mode
    prepared = made.prepare([message(i, seen) for i, seen in enumerate(SEEN[:2])])
    pairs = [(one.message, one.image) for one in prepared if not isinstance(one, PipelineError)]
    before = held.match(pairs)
    made.apply_changes([*changes([3]), Change("default/r1", None)])
    assert held.match(pairs) == before


def test_galleries_know_nothing_of_each_other(mode):
    made = create_image_worker(ImageSettings.model_validate({"mode": mode}))
    made.load()
    made.apply_changes([*changes([1, 2], "one"), *changes([0, 3], "two")])
    alone = create_image_worker(ImageSettings.model_validate({"mode": mode}))
    alone.load()
    alone.apply_changes(changes([0, 3], "two"))
    named = [message(i, seen).model_copy(update={"gallery": "two"}) for i, seen in enumerate(SEEN[:2])]
    assert made.run(made.prepare(named)) == alone.run(alone.prepare(named))
