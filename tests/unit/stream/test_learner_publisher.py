"""What the learner publishes, on the embedded broker."""

from schemas import Label, LabelSet, WorkerEvent
from stream.learner_publisher import LearnerPublisher
from tests.support.lanes import everything, fresh_settings
from workers.text.learning.refit import Refit

BEFORE = LabelSet(name="k", version=1, labels=(Label(name="a"),))
FOUND = Refit(BEFORE, "better", None, {"corrections": 3})


async def test_a_version_is_archived_put_in_force_and_told(embedded_bootstrap: str) -> None:
    settings = fresh_settings(embedded_bootstrap)
    after = BEFORE.model_copy(update={"version": 2})
    assert await LearnerPublisher(settings, "me").publish(BEFORE, after, FOUND)
    records = await everything(settings, "label-sets")
    assert sorted(record.key or b"" for record in records) == [b"k", b"k@2"]
    (event,) = [
        WorkerEvent.model_validate_json(one.value or b"") for one in await everything(settings, "metrics")
    ]
    assert (event.kind, event.version, event.detail) == ("refit", "2", "published: better")
    assert event.facts == {"published": True, "before": "1", "corrections": 3}


async def test_a_label_set_larger_than_a_broker_takes_is_kept_and_told(embedded_bootstrap: str) -> None:
    settings = fresh_settings(embedded_bootstrap)
    labels = (Label(name="a", examples=tuple(f"{number} " + "x" * 4_000 for number in range(300))),)
    after = BEFORE.model_copy(update={"version": 2, "labels": labels})
    assert not await LearnerPublisher(settings, "me").publish(BEFORE, after, FOUND)
    assert await everything(settings, "label-sets") == []
    (record,) = await everything(settings, "metrics")
    event = WorkerEvent.model_validate_json(record.value or b"")
    assert (event.version, str(event.detail)[:5]) == ("1", "kept:")
