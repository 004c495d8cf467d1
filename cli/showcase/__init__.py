"""The demonstration: a story played into Kafka, real workers, and a screen that shows what comes out."""
