"""A label set: what posts are labelled with. It is data: it changes while the stream runs."""

from typing import Annotated

from pydantic import Field, model_validator

from schemas.base import Message

Name = Annotated[str, Field(min_length=1, max_length=128)]
Phrase = Annotated[str, Field(min_length=1, max_length=2_000)]
Share = Annotated[float, Field(gt=0, le=1)]


class Label(Message):
    """One label, with whatever is known of it: a description, phrasings, examples."""

    name: Name
    description: Phrase | None = None
    phrasings: tuple[Phrase, ...] = ()
    examples: tuple[Annotated[str, Field(min_length=1, max_length=200_000)], ...] = ()


class Abstain(Message):
    """When to give no label. At most one field is set.

    Attributes:
        precision: abstain where needed for this share of the given labels to be right.
        coverage: label this share of the posts, the surest first.
        threshold: abstain below this calibrated probability.
    """

    precision: Share | None = None
    coverage: Share | None = None
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None

    @model_validator(mode="after")
    def _one_rule(self) -> "Abstain":
        if sum(value is not None for value in (self.precision, self.coverage, self.threshold)) > 1:
            raise ValueError("abstain takes one of precision, coverage and threshold")
        return self


class Filters(Message):
    """Which posts a campaign is for: those for which all that is set here holds; a missing fact fails.

    Words are plain words or phrases, found whole and without regard to case; there are no patterns, so none
    can explode.

    Attributes:
        sources: one of these is the post's `source`.
        languages: one of these is the post's `lang`, or its part before a hyphen (`en` takes `en-GB`).
        words: at least one of these stands in the text.
        without: none of these stands in the text.
    """

    sources: Annotated[tuple[Name, ...], Field(max_length=1_000)] = ()
    languages: Annotated[tuple[Name, ...], Field(max_length=200)] = ()
    words: Annotated[tuple[Name, ...], Field(max_length=1_000)] = ()
    without: Annotated[tuple[Name, ...], Field(max_length=1_000)] = ()


class Review(Message):
    """Which share of the posts goes to `review` for a person to look at; 0 turns a reason off.

    Attributes:
        random: drawn by lot, so that what people find says how good the labels are.
        uncertain: those with the smallest margins.
        novel: those farthest from everything known of the labels.
    """

    random: Annotated[float, Field(ge=0, le=1)] = 0.002
    uncertain: Annotated[float, Field(ge=0, le=1)] = 0.01
    novel: Annotated[float, Field(ge=0, le=1)] = 0.003


class LabelSet(Message):
    """Labels that are decided together: a campaign, when it is on the `label-sets` topic.

    One label alone is a filter (relevant or not). `route` names a further topic for this set's results.
    `sample` holds unlabelled posts of the stream that the set adapts to, `counterexamples` posts that are
    about none of the labels.
    """

    name: Name
    version: str | int | None = None
    labels: Annotated[tuple[Label, ...], Field(min_length=1, max_length=1_000)]
    multi_label: bool = False
    none_of_these: bool = False
    """True lets a post be about none of the labels: its `label` is then null."""
    abstain: Abstain | None = None
    route: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,200}$")] | None = None
    model: str | None = None
    filters: Filters | None = None
    review: Review | None = None
    sample: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=10_000)], ...], Field(max_length=10_000)
    ] = ()

    counterexamples: tuple[Annotated[str, Field(min_length=1, max_length=200_000)], ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> "LabelSet":
        seen: set[str] = set()
        for label in self.labels:
            if label.name in seen:
                raise ValueError(f"label {label.name!r} stands twice")
            seen.add(label.name)
        return self
