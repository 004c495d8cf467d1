"""Topics are created once, checked, and used by the demonstration, on a real Kafka."""

import uuid

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from typer.testing import CliRunner

from cli.main import create_app
from config import KafkaSettings, TopicSettings
from stream.topics import TopicNames, check_topics, create_topics, delete_topics

pytestmark = pytest.mark.broker


@pytest.fixture
def prefix() -> str:
    return f"t{uuid.uuid4().hex[:8]}."


async def test_creating_is_idempotent_and_checking_finds_what_differs(real_bootstrap, prefix):
    kafka = KafkaSettings(bootstrap=real_bootstrap)
    topics = TopicSettings(prefix=prefix, partitions=3)
    assert {state.problem for state in await check_topics(kafka, topics)} == {"missing"}
    assert set(await create_topics(kafka, topics)) == set(TopicNames(prefix).all())
    assert await create_topics(kafka, topics) == ()
    assert {state.problem for state in await check_topics(kafka, topics)} == {None}
    larger = topics.model_copy(update={"partitions": 6})
    problems = {state.spec.name: state.problem for state in await check_topics(kafka, larger)}
    assert problems[f"{prefix}posts"] == "has 3 partitions instead of 6"
    assert problems[f"{prefix}label-sets"] is None


async def test_control_topics_are_compacted(real_bootstrap, prefix):
    kafka = KafkaSettings(bootstrap=real_bootstrap)
    await create_topics(kafka, TopicSettings(prefix=prefix))
    admin = AIOKafkaAdminClient(bootstrap_servers=real_bootstrap)
    await admin.start()
    wanted = ConfigResource(ConfigResourceType.TOPIC, f"{prefix}label-sets", {"cleanup.policy": ""})
    (answer,) = await admin.describe_configs([wanted])
    await admin.close()
    assert "compact" in str(answer.resources)


async def test_deleting_takes_only_its_own_prefix(real_bootstrap, prefix):
    kafka = KafkaSettings(bootstrap=real_bootstrap)
    mine, other = TopicSettings(prefix=prefix), TopicSettings(prefix=f"{prefix}other.")
    await create_topics(kafka, mine)
    await create_topics(kafka, other)
    await delete_topics(kafka, mine)
    assert {state.problem for state in await check_topics(kafka, other)} == {None}


def test_the_command_says_what_is_missing_and_exits_with_1(real_bootstrap, prefix, monkeypatch):
    monkeypatch.setenv("FEEDSIGHT_TOPICS__PREFIX", prefix)

    def run(command: str):
        return CliRunner().invoke(create_app(), ["topics", command, "--kafka", real_bootstrap])

    missing = run("check")
    assert missing.exit_code == 1
    assert f"✗ {prefix}posts" in missing.stdout
    assert run("create").exit_code == 0
    assert run("check").exit_code == 0


@pytest.mark.slow
def test_the_demonstration_cleans_up_after_itself(real_bootstrap):
    result = CliRunner().invoke(
        create_app(), ["demo", "--kafka", real_bootstrap, "--seconds", "2", "--burst", "20"]
    )
    assert result.exit_code == 0, result.output[-2_000:]
    assert "0 lost, 0 double" in result.output
