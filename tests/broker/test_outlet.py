"""Writing to topics that are not all there yet."""

from stream import clients
from stream.outlet import send_all
from stream.records import OutputRecord
from tests.support.lanes import everything, fresh_settings


async def test_a_topic_known_from_a_look_at_the_whole_cluster_is_not_forgotten_over_a_new_one(
    bootstrap: str,
) -> None:
    """aiokafka asks again only for topics that it had to wait for: the others' leaders were lost.

    It looks at the whole cluster when a coordinator is not there yet, as after a broker's start.
    """
    settings = fresh_settings(bootstrap, check_crcs=False)
    settings = settings.model_copy(
        update={"kafka": settings.kafka.model_copy(update={"request_timeout_ms": 5_000})}
    )
    old, new = settings.topics.prefix + "labels", settings.topics.prefix + "dead-letters"
    first = clients.idempotent_producer(settings.kafka)
    await first.start()
    await first.send_and_wait(old, b"first")
    await first.stop()

    producer = clients.transactional_producer(settings.kafka, settings.kafka.group, 60_000)
    await producer.start()
    try:
        await producer.client.force_metadata_update()
        assert producer.client.cluster.partitions_for_topic(old)
        assert not producer.client.cluster.partitions_for_topic(new)
        records = [OutputRecord(old, None, b"a", []), OutputRecord(new, None, b"b", [])]
        async with producer.transaction():
            await send_all(producer, records, partition=0)
    finally:
        await producer.stop()
    assert [record.value for record in await everything(settings, "labels")].count(b"a") == 1
    assert [record.value for record in await everything(settings, "dead-letters")] == [b"b"]
