"""The event turns: labels are added while the workers run."""

from typing import Final

from cli.showcase.story import Story
from cli.showcase.tally import LabelsChanged
from config import Settings
from stream.in_force import InForce
from stream.label_sets import publish

TIMEOUT_S: Final = 10.0
"""For the workers' word that the new labels are in force."""


async def add_labels(settings: Settings, story: Story) -> LabelsChanged | None:
    """Publish the story's next label set and wait until it is in force.

    Returns:
        How it went; None where no worker said that it is in force.

    Raises:
        PipelineError: the broker is gone.
    """
    label_set = story.turned()
    async with InForce(settings, "text") as watch:
        published_ms = await publish(settings, label_set, note="the lights go out")
        answers = await watch.until(label_set.name, published_ms, TIMEOUT_S)
    if not answers or any(answer.kind != "in_force" for answer in answers):
        return None
    slowest = max(answer.after_s for answer in answers)
    return LabelsChanged(label_set.labels[-1].name, str(label_set.version), slowest)
