"""What makes one lane differ from another."""

from dataclasses import dataclass

from stream.codec import Decoder


@dataclass(frozen=True)
class LaneSpec:
    """What makes one lane differ from another.

    Attributes:
        name: `text` or `image`; part of the consumer group and of metrics.
        source: the input topic.
        sink: the results topic.
        review: the topic of items to look at.
        dead_letters: the dead-letter topic.
        event_type: CloudEvents type of results.
        decode: reads one record.
        max_batch_items: a batch closes at this many messages.
        max_batch_cost: a batch closes at this cost, in tokens or pixels.
        batch_deadline_s: a batch closes this long after its first message.
        target_latency_s: batches adapt to hold it; None: they close by their limits alone.
    """

    name: str
    source: str
    sink: str
    review: str
    dead_letters: str
    event_type: str
    decode: Decoder
    max_batch_items: int
    max_batch_cost: int
    batch_deadline_s: float
    target_latency_s: float | None = None
