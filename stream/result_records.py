"""From answers to the records that are written together: results, items to review, dead letters."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from schemas import Origin, ReviewItem
from stream.codec import encode_result, result_headers
from stream.dead_letter import facts_of, to_record
from stream.records import Item, OutputRecord
from workers.errors import MessageError, PipelineError
from workers.text.results import TEXT_RESULTS, LabelledPost

REVIEW_TYPE: Final = "feedsight.review.v1"

Routes = Callable[[], Mapping[str, str]]
"""Further topics by label set; asked once a chunk."""


class AnswerRecords:
    """Builds the records of answers.

    Args:
        lane: named in dead letters.
        source: CloudEvents source of what is written.
        sink: the results topic.
        review: the topic of items to look at.
        dead_letters: the dead-letter topic.
        event_type: CloudEvents type of results.
        routes: further topics by label set.
    """

    def __init__(
        self,
        lane: str,
        source: str,
        *,
        sink: str,
        review: str,
        dead_letters: str,
        event_type: str,
        routes: Routes,
    ) -> None:
        self._lane = lane
        self._source = source
        self._sink = sink
        self._review = review
        self._dead_letters = dead_letters
        self._event_type = event_type
        self._routes = routes

    def build(self, answers: Sequence[Item], omit_large: bool) -> list[OutputRecord]:
        """Build the records of answers, in their order.

        Args:
            answers: answered items of one partition.
            omit_large: these were too large for the broker: a result becomes a dead letter, and a dead letter
                loses its value.
        """
        common = result_headers(self._event_type, self._source)
        routes = self._routes()
        records: list[OutputRecord] = []
        for answer in answers:
            outcome = answer.outcome
            omit_value = omit_large and isinstance(outcome, PipelineError)
            if omit_large and not omit_value:
                outcome = MessageError("the result is larger than the broker takes", reason="too_large")
                answer.outcome = outcome
            if isinstance(outcome, PipelineError):
                facts = facts_of(answer.record, outcome, stage=self._lane)
                records.append(to_record(answer.record, facts, self._dead_letters, omit_value=omit_value))
                continue
            for result in outcome if isinstance(outcome, tuple) else (outcome,):
                made = encode_result(answer.record, result, self._sink, common)
                records.append(made)
                if isinstance(result, TEXT_RESULTS):
                    if routes and (route := routes.get(result.label_set)):
                        records.append(made._replace(topic=route))
                    if isinstance(result, LabelledPost) and result.review:
                        records.append(self._to_review(answer, result, made))
        return records

    def _to_review(self, answer: Item, result: LabelledPost, made: OutputRecord) -> OutputRecord:
        """What a person needs to judge a result, in one record."""
        record = answer.record
        item = ReviewItem(
            id=result.id,
            lane="text",
            why=result.review or (),
            name=result.label_set,
            version=result.version,
            label=result.label,
            probability=result.confidence,
            margin=result.margin,
            text=getattr(answer.message, "text", None),
            result_id=next(value for name, value in made.headers if name == "ce_id").decode(),
            source=Origin(topic=record.topic, partition=record.partition, offset=record.offset),
        )
        headers = [*result_headers(REVIEW_TYPE, self._source), made.headers[-1]]
        return OutputRecord(self._review, made.key, item.to_json(), headers)
