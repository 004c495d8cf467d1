"""How many inputs of a partition lie on the broker and were not read yet."""

from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition


def unread(consumer: AIOKafkaConsumer, partition: TopicPartition, next_offset: int) -> int:
    """Offsets between what was taken in and what may be read.

    Markers and aborted records of transactional senders fill offsets that hold no input: the consumer's
    position has passed them, `next_offset` never does. An open transaction's records can't be read yet.
    """
    state = _state(consumer, partition)
    if state is None:
        return 0
    end = state.highwater or 0
    if state.lso is not None and state.lso >= 0:
        end = min(end, state.lso)
    read_to = state.position if state.has_valid_position else 0
    return max(0, end - max(next_offset, read_to))


def has_heard(consumer: AIOKafkaConsumer, partition: TopicPartition) -> bool:
    """Whether a partition has a place to read from, and the broker has said where it ends."""
    state = _state(consumer, partition)
    return state is not None and bool(state.has_valid_position) and state.highwater is not None


def _state(consumer: AIOKafkaConsumer, partition: TopicPartition) -> Any:
    """What aiokafka knows of a partition; None where it is not the consumer's."""
    subscription = consumer._subscription
    if not subscription.is_assigned(partition):
        return None
    return subscription.subscription.assignment.state_value(partition)
