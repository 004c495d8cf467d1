"""Text and image workers: models behind one batch-first contract, without I/O to Kafka."""
