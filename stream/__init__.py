"""The stream: Kafka in, workers, Kafka out, exactly once."""
