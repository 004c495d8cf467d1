"""Benchmarks of the engine on a real broker: ours, raw aiokafka and a Faust agent, in turn in one run."""
