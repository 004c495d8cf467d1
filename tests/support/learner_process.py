"""The learner as a process, with words in place of the sentence model."""

import sys

from config import load_settings
from stream.learner_app import run_learner
from tests.support.words import encode_words


def main(bootstrap: str, group: str, prefix: str, every: str) -> int:
    settings = load_settings(
        None,
        {
            "kafka": {"bootstrap": bootstrap, "group": group, "session_timeout_ms": 6_000},
            "topics": {"prefix": prefix},
            "learn": {"every": int(every), "interval_s": 3_600},
        },
        {},
    )
    return run_learner(settings, encode_words)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:5]))
