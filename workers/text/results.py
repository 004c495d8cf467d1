"""From arrays of probabilities to TextResults, at a few microseconds a post.

Values come from our own arithmetic, so pydantic's checks are passed by: objects are filled directly. Most
results are written as JSON and never looked into, so what is costly to make is made when somebody asks.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from schemas import Candidate, Evidence, TextResult, Why

_new = object.__new__
_set = object.__setattr__
_CANDIDATE_FIELDS = {"label", "probability"}
_ALWAYS = {"id", "label", "candidates", "model", "label_set", "version", "margin"}
"""Sets of set fields are shared between objects: frozen messages never change theirs."""
_TOLD = {
    (labels, evidence): _ALWAYS | ({"labels"} if labels else set()) | ({"evidence"} if evidence else set())
    for labels in (False, True)
    for evidence in (False, True)
}
_SOMETIMES = ("labels", "evidence", "duplicate_of")


def candidate(label: str, probability: float) -> Candidate:
    """A Candidate without checks."""
    made = _new(Candidate)
    _set(made, "__dict__", {"label": label, "probability": probability})
    _set(made, "__pydantic_fields_set__", _CANDIDATE_FIELDS)
    _set(made, "__pydantic_extra__", None)
    _set(made, "__pydantic_private__", None)
    return made


def text_result(
    post_id: str,
    label: str | None,
    candidates: tuple[Candidate, ...],
    *,
    model: str,
    label_set: str,
    version: str,
    margin: float | None,
    labels: tuple[str, ...] | None = None,
    evidence: Evidence | None = None,
    duplicate_of: str | None = None,
) -> TextResult:
    """A TextResult without checks."""
    fields = {
        "id": post_id,
        "label": label,
        "candidates": candidates,
        "model": model,
        "label_set": label_set,
        "version": version,
        "margin": margin,
        "labels": labels,
        "evidence": evidence,
        "duplicate_of": duplicate_of,
        "result_id": None,
        "source": None,
    }
    given = _ALWAYS
    if labels is not None or evidence is not None or duplicate_of is not None:
        given = _ALWAYS | {name for name in _SOMETIMES if fields[name] is not None}
    made = _new(TextResult)
    _set(made, "__dict__", fields)
    _set(made, "__pydantic_fields_set__", given)
    _set(made, "__pydantic_extra__", None)
    _set(made, "__pydantic_private__", None)
    return made


def result_json(result: TextResult) -> bytes:
    """What `TextResult.to_json` gives; in half its time for results of `text_result` with no more to say.

    Numbers must be finite.
    """
    if isinstance(result, LabelledPost) or result.__pydantic_fields_set__ is not _ALWAYS:
        return result.to_json()
    fields = result.__dict__
    return orjson.dumps(
        {
            "id": fields["id"],
            "label": fields["label"],
            "candidates": [one.__dict__ for one in fields["candidates"]],
            "model": fields["model"],
            "label_set": fields["label_set"],
            "version": fields["version"],
            "margin": fields["margin"],
        }
    )


class Answer:
    """What one label set says of one text: all of a result but whose it is. Posts that say the same share it.

    Args:
        base: the fields that all results of a label set's version share.
        label: the label given; None where there is none.
        names: of all labels, best first.
        values: their probabilities, rounded.
        margin: of the best over the next.
        finite: whether every number is.
        labels: of a multi-label set, those that hold.
        evidence: fields of an Evidence; None where there is none.
    """

    __slots__ = ("_body", "confidence", "evidence", "fields", "finite", "names", "told", "values")

    def __init__(
        self,
        base: Mapping[str, object],
        label: str | None,
        names: Sequence[str],
        values: Sequence[float],
        margin: float,
        finite: bool,
        labels: tuple[str, ...] | None = None,
        evidence: dict[str, object] | None = None,
    ) -> None:
        self.names = names
        self.values = values
        self.evidence = evidence
        self.finite = finite
        self.confidence = values[0]
        self.fields = {**base, "label": label, "margin": margin, "labels": labels}
        # Not itself among them: that cycle only the garbage collector frees, which for answers remembered for
        # long comes hours later.
        self.told = _ALWAYS
        if labels is not None or evidence is not None:
            self.told = _TOLD[labels is not None, evidence is not None]
        self._body: bytes | None = None

    @property
    def body(self) -> bytes:
        """The fields of a result as JSON, from `label` on, up to the closing brace."""
        if self._body is None:
            fields = self.fields
            said: dict[str, object] = {
                "label": fields["label"],
                "candidates": [
                    {"label": name, "probability": value}
                    for name, value in zip(self.names, self.values, strict=True)
                ],
                "model": fields["model"],
                "label_set": fields["label_set"],
                "version": fields["version"],
                "margin": fields["margin"],
            }
            if fields["labels"] is not None:
                said["labels"] = fields["labels"]
            if self.evidence is not None:
                said["evidence"] = self.evidence
            self._body = orjson.dumps(said)[1:-1]
        return self._body


class LabelledPost(TextResult):
    """A TextResult whose candidates and evidence are made when somebody asks; equal to the plain one."""

    def __getattr__(self, name: str) -> Any:
        """Make what is left for later."""
        answer = self.__dict__.get("answer")
        if answer is None or name not in ("candidates", "evidence"):
            raise AttributeError(name)
        made: object
        if name == "candidates":
            pairs = zip(answer.names, answer.values, strict=True)
            made = tuple(candidate(label, value) for label, value in pairs)
        else:
            made = None if answer.evidence is None else Evidence.model_construct(**answer.evidence)
        self.__dict__[name] = made
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TextResult) and self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]

    @property
    def confidence(self) -> float:
        """The probability of the best label."""
        value: float = self.__dict__["answer"].confidence
        return value

    @property
    def review(self) -> tuple[Why, ...] | None:
        """Why a person should look at it, where one should; it is no part of the result's JSON."""
        why: tuple[Why, ...] | None = self.__dict__["review"]
        return why

    @property
    def finite(self) -> bool:
        """Whether every number in it is finite."""
        found: bool = self.__dict__["answer"].finite
        return found

    def to_json(self) -> bytes:
        """Give the result as JSON in UTF-8; see Message."""
        fields = self.__dict__
        body = fields["answer"].body
        more = b""
        if fields["duplicate_of"] is not None:
            more += b',"duplicate_of":' + orjson.dumps(fields["duplicate_of"])
        return b"".join((b'{"id":', orjson.dumps(fields["id"]), b",", body, more, b"}"))


TEXT_RESULTS: Final = (LabelledPost, TextResult)
"""For `isinstance`: the class that nearly all have comes first, for only an object's very own class is found
without pydantic's metaclass, whose look at a subclass takes as long as writing a result's JSON."""


def result_of(answer: Answer, post_id: str, first: str) -> LabelledPost:
    """The result of one post.

    Args:
        answer: to what it says.
        post_id: its id.
        first: the id of the post that said so first, which may be this one.
    """
    fields = answer.fields.copy()
    fields["id"] = post_id
    fields["answer"] = answer
    told = answer.told
    if first != post_id:
        fields["duplicate_of"] = first
        told = told | {"duplicate_of"}
    made = _new(LabelledPost)
    _set(made, "__dict__", fields)
    _set(made, "__pydantic_fields_set__", told)
    _set(made, "__pydantic_extra__", None)
    _set(made, "__pydantic_private__", None)
    return made


def shared_fields(model: str, label_set: str, version: str) -> dict[str, object]:
    """The fields that all results of a label set's version share."""
    return {
        "model": model,
        "label_set": label_set,
        "version": version,
        "duplicate_of": None,
        "result_id": None,
        "source": None,
        "review": None,
    }


def rank(probabilities: NDArray[np.float32]) -> tuple[list[list[int]], list[list[float]], list[float]]:
    """Sort the labels of each row, best first, and give the margin of the best over the next.

    Args:
        probabilities: shape (m, L).

    Returns:
        m lists of L labels, ties in their order; m lists of their probabilities, rounded to 6 digits; and m
        margins in [0, 1].
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    values = np.round(np.take_along_axis(probabilities, order, axis=1).astype(np.float64), 6)
    second = values[:, 1] if values.shape[1] > 1 else 1 - values[:, 0]
    margins: list[float] = np.round(np.abs(values[:, 0] - second), 6).tolist()
    return order.tolist(), values.tolist(), margins
