"""Learning from people's corrections: no Kafka, no clock, the same input gives the same outcome."""
