"""A coverage-guided fuzzer of what reads bytes from outside. It needs atheris (`pip install atheris`).

    python -m tests.fuzz.decoders all 60            # each target for 60 seconds; what is found, by target
    python -m tests.fuzz.decoders post 600 CORPUS/  # one target; the corpus is kept and grown

libFuzzer mutates inputs and keeps those that reach new branches of our code and of Pillow's readers. Anything
but a result or an error of ours that escapes a target stops it with the input that did it, status 77.
"""

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import atheris

with atheris.instrument_imports(
    include=["stream", "workers", "schemas", "PIL"],
    exclude=["PIL._imaging", "workers.text.models", "workers.image.models"],
):
    import PIL.BmpImagePlugin
    import PIL.GifImagePlugin
    import PIL.JpegImagePlugin
    import PIL.PngImagePlugin
    import PIL.TiffImagePlugin
    import PIL.WebPImagePlugin  # noqa: F401 - readers are instrumented where they are imported here

    from config import ImageSettings
    from stream.codec import image_decoder, post_decoder
    from stream.dead_letter import facts_of, from_headers, original_headers, replay_headers, to_record
    from stream.quarantine import Note
    from workers.errors import MessageError, PipelineError, TransientError
    from workers.image.claim_check import ClaimChecks
    from workers.image.decode import Decoder
    from workers.image.manifest import manifest_entries
    from workers.image.modes.base import DecodedImage
    from workers.text.label_set import label_set_from_json, load_label_set
    from workers.text.parse import salvage_id

from PIL import Image

NAMES: Final = (
    "content-type", "Content-Type", "ce_id", "id", "subject", "reference", "label", "sha256", "created_at",
    "content_type", "traceparent", "dlq_attempt", "dlq_replay_of", "reason", "value_omitted", "x",
)  # fmt: skip

_decode_post = post_decoder()
_decode_lax_post = post_decoder("ignore")
_decode_image_message = image_decoder(200_000)
_decoder = Decoder(max_bytes=200_000, max_pixels=250_000)
_claims = ClaimChecks(ImageSettings(), resolve=lambda host, port: [], is_public=lambda address: False)


_yaml = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)) / "labels.yaml"


class Record:
    """A consumed record, made of fuzzed bytes."""

    topic = "feedsight.posts"
    partition = 1
    offset = 7
    timestamp = 0

    def __init__(self, data: bytes) -> None:
        provider = atheris.FuzzedDataProvider(data)
        self.headers = tuple(
            (NAMES[provider.ConsumeIntInRange(0, len(NAMES) - 1)], provider.ConsumeBytes(20))
            for _ in range(provider.ConsumeIntInRange(0, 3))
        )
        self.key = provider.ConsumeBytes(4) if provider.ConsumeBool() else None
        rest = provider.ConsumeBytes(atheris.ALL_REMAINING)
        self.value: bytes | None = rest if rest != b"null" else None


def post(data: bytes) -> None:
    """Both decoders of posts, and the rescue of an id."""
    for value in (data, None):
        record: Any = Record(data)
        record.value = value and record.value
        for decode in (_decode_post, _decode_lax_post):
            try:
                decode(record)
            except MessageError:
                salvage_id(record.value)


def image_message(data: bytes) -> None:
    """The decoder of the images topic."""
    record: Any = Record(data)
    try:
        _decode_image_message(record)
    except MessageError:
        salvage_id(record.value)


def image_bytes(data: bytes) -> None:
    """The decoder of images, which Pillow's readers stand behind."""
    try:
        found = _decoder.decode(data)
    except MessageError:
        return
    assert isinstance(found, DecodedImage)


def dead_letter(data: bytes) -> None:
    """Facts and headers: of any record, and back again from a letter made of it."""
    record: Any = Record(data)
    for read in (from_headers, original_headers):
        with suppress(ValueError):
            read(record.headers)
    facts = facts_of(record, MessageError("no"), stage="text")
    letter = to_record(record, facts, "dead", omit_value=record.key is None)
    assert from_headers(letter.headers) == facts
    assert tuple(original_headers(letter.headers)) == record.headers
    again = replay_headers(letter.headers, facts.attempt + 1, "1@2")
    record.headers = tuple(again)
    assert facts_of(record, MessageError("no"), stage="text").attempt == facts.attempt + 1


def note(data: bytes) -> None:
    """What stands beside a committed offset."""
    text = data.decode("latin-1")
    found = Note.read(text)
    assert found is None or Note.read(found.text()) == found


def label_set(data: bytes) -> None:
    """A label set, as YAML or JSON."""
    with suppress(PipelineError):
        label_set_from_json(data, "fuzz")
    _yaml.write_bytes(data)
    with suppress(PipelineError):
        load_label_set(_yaml)


def manifest(data: bytes) -> None:
    """A manifest of images; a line that is wrong is no reason to stop."""
    list(manifest_entries(io.BytesIO(data), Path("/nowhere")))


def claim_check(data: bytes) -> None:
    """An address from outside, where nothing is allowed."""
    try:
        _claims.fetch(data.decode("utf-8", "replace"))
    except (MessageError, TransientError):
        return
    raise AssertionError("nothing was allowed, and something was fetched")


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    function.__name__: function
    for function in (post, image_message, image_bytes, dead_letter, note, label_set, manifest, claim_check)
}


def seeds(folder: Path) -> None:
    """Write what the fuzzer starts from."""
    picture = Image.radial_gradient("L").resize((24, 16)).convert("RGB")
    for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"):
        picture.save(folder / kind, kind)
    examples = {
        "post": b'\0\0{"id": "p", "text": "Goal!", "author": "a", "metadata": {"n": [1.5, null]}}',
        "event": b'\0\0{"specversion": "1.0", "id": "e", "data": {"text": "Goal!"}}',
        "claim": b'\0\0{"id": "i", "dataref": "/x.jpg", "sha256": "%s", "size": 3}' % (b"0" * 64),
        "labels": b"name: n\nlabels:\n- {name: a, description: d}\n- {name: b, examples: [x, y]}\n",
        "line": b'{"id": "i", "path": "a.png", "subject": "s"}\n',
        "address": b"https://user@host:443/a/../b?c#d",
        "note": b"feedsight-1 0123456789abcdef trying 2 4711",
    }
    for name, value in examples.items():
        (folder / name).write_bytes(value)


def all_targets(seconds: int) -> int:
    """Fuzz each in a process of its own; tell what was reached and found."""
    worst = 0
    for name in TARGETS:
        with tempfile.TemporaryDirectory() as folder:
            seeds(Path(folder))
            command = [sys.executable, "-m", "tests.fuzz.decoders", name, str(seconds), folder]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = [
            line for line in done.stderr.splitlines() if "DONE" in line or "pulse" in line or "NEW" in line
        ]
        print(f"{name:<14} status {done.returncode:>3}  {lines[-1] if lines else ''}", flush=True)
        if done.returncode:
            said = [line for line in (done.stdout + done.stderr).splitlines() if "INFO" not in line]
            print("\n".join(said[-30:]), flush=True)
        worst = max(worst, abs(done.returncode))
    return worst


def main() -> int:
    """Run one target, or all."""
    name, seconds = sys.argv[1], int(sys.argv[2])
    if name == "all":
        return all_targets(seconds)
    corpus = sys.argv[3:]
    if not corpus:
        corpus = [tempfile.mkdtemp(prefix="corpus-")]
        seeds(Path(corpus[0]))
    options = [
        sys.argv[0], f"-max_total_time={seconds}", "-max_len=8192", "-timeout=20", "-rss_limit_mb=2048",
        "-print_final_stats=1", f"-artifact_prefix={os.environ.get('FUZZ_ARTIFACTS', '/tmp/')}",
        *corpus,
    ]  # fmt: skip
    atheris.Setup(options, TARGETS[name])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
