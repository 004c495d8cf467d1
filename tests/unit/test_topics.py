"""Topic names and what the topics should be."""

from stream.topics import TopicNames, TopicSpec, TopicState


def test_names_carry_the_prefix():
    names = TopicNames("night.")
    assert (names.posts, names.dead_letters) == ("night.posts", "night.dead-letters")
    assert all(name.startswith("night.") for name in names.all())
    assert len(names.all()) == len(set(names.all())) == 11


def test_only_control_topics_are_compacted():
    names = TopicNames()
    compacted = {spec.name for spec in names.specs() if spec.configs()["cleanup.policy"] == "compact"}
    assert compacted == {names.label_sets, names.references}


def test_partitions_apply_to_the_topics_that_carry_traffic():
    names = TopicNames()
    partitions = {spec.name: spec.partitions for spec in names.specs(12)}
    assert partitions[names.posts] == partitions[names.matches] == 12
    assert partitions[names.label_sets] == 1


def test_state_names_the_problem():
    spec = TopicSpec("t", 4, "delete", 1_000, "for a test")
    assert TopicState(spec, 4).problem is None
    assert TopicState(spec, None).problem == "missing"
    assert TopicState(spec, 8).problem == "has 8 partitions instead of 4"
