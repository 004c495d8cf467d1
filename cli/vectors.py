"""`feedsight vectors`: word vectors trained on one's own texts or distilled from the sentence model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import fail

if TYPE_CHECKING:
    from collections.abc import Iterator

OutOption = Annotated[
    Path, typer.Option("--out", metavar="FILE.kv", help="Where the vectors go, as gensim KeyedVectors.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    vectors = typer.Typer(help="Train, distil and look at word vectors.", no_args_is_help=True)

    @vectors.command()
    def train(
        texts: Annotated[
            Path, typer.Argument(metavar="TEXTS.jsonl|TEXTS.txt", help="JSON lines, or a text a line.")
        ],
        out: OutOption,
        dimensions: Annotated[int, typer.Option(min=2, max=2_000, help="Of a vector.")] = 100,
        min_count: Annotated[int, typer.Option(min=1, help="Rarer words are left out.")] = 3,
        epochs: Annotated[int, typer.Option(min=1, help="Passes over the texts.")] = 10,
    ) -> None:
        """Train word2vec (skip-gram) on texts of your own; the same texts give the same vectors.

        Example: feedsight vectors train posts.jsonl --out mine.kv
        """
        _train(texts, out, dimensions=dimensions, min_count=min_count, epochs=epochs)

    @vectors.command()
    def distil(
        out: OutOption,
        model: Annotated[
            str, typer.Option(help="`sentence`, or a sentence-transformers name or folder.")
        ] = "sentence",
    ) -> None:
        """Encode the sentence model's own words one by one: the vectors of the static lane.

        Example: feedsight vectors distil --out static.kv
        """
        _distil(out, model)

    @vectors.command()
    def show(
        file: Annotated[Path, typer.Argument(metavar="FILE.kv|FILE.npz", help="Word vectors.")],
        word: Annotated[str | None, typer.Argument(help="A word; its nearest are listed.")] = None,
        top: Annotated[int, typer.Option(min=1, max=1_000, help="How many.")] = 10,
    ) -> None:
        """Say what is in a file of word vectors, or which words are nearest to one.

        gensim's own files are pickles: of one, only words and numbers are read, and no code is run.

        Example: feedsight vectors show mine.kv storm
        """
        _show(file, word, top)

    app.add_typer(vectors, name="vectors")


def _train(path: Path, out: Path, *, dimensions: int, min_count: int, epochs: int) -> None:
    from gensim.models import Word2Vec

    from workers.errors import FatalError
    from workers.text.samples import read_unlabelled

    try:
        texts, skipped = read_unlabelled(path, limit=1_000_000)
    except FatalError as error:
        raise fail(str(error), 2) from error
    if skipped:
        typer.echo(f"feedsight: {path}: {skipped} lines passed over", err=True)
    sentences = [list(_words(text)) for text in texts]
    try:
        model = Word2Vec(
            sentences,
            vector_size=dimensions,
            min_count=min_count,
            epochs=epochs,
            sg=1,
            window=5,
            seed=1,
            workers=1,  # more make the result depend on chance
        )
    except RuntimeError as error:  # gensim has no other word for an empty vocabulary
        raise fail(f"{path}: no word stands in it {min_count} times", 2) from error
    _save(model.wv, out)


def _distil(out: Path, source: str) -> None:
    from workers.errors import FatalError
    from workers.text.models import SentenceEncoder, load_word_vectors, to_keyed_vectors

    try:
        encoder = SentenceEncoder(source)
        encoder.load()
        held = load_word_vectors(encoder)
    except FatalError as error:
        raise fail(str(error), 2) from error
    _save(to_keyed_vectors(held), out)


def _show(file: Path, word: str | None, top: int) -> None:
    keyed = _read(file)
    if word is None:
        first = ", ".join(keyed.index_to_key[:top])
        typer.echo(f"{len(keyed)} words of {keyed.vector_size} dimensions; the first: {first}")
        return
    found = next((form for form in (word, word.lower()) if form in keyed), None)
    if found is None:
        raise fail(f"{word!r} is not among the {len(keyed)} words", 1)
    for other, similarity in keyed.most_similar(found, topn=top):
        typer.echo(f"{similarity:.3f}  {other}")


def _words(text: str) -> "Iterator[str]":
    import re

    return (match.group().lower() for match in re.finditer(r"\w+(?:['’]\w+)*", text))


def _save(keyed: Any, out: Path) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        keyed.save(str(out))
    except OSError as error:
        raise fail(f"{out} can't be written: {error.strerror}", 2) from error
    typer.echo(f"{out}: {len(keyed)} words of {keyed.vector_size} dimensions", err=True)


def read_vectors(file: Path) -> tuple[list[str], Any]:
    """Read word vectors as `feedsight vectors show` does: the words, and rows, float32, shape (w, e)."""
    keyed = _read(file)
    return list(keyed.index_to_key), keyed.vectors


def _read(file: Path) -> Any:
    """KeyedVectors from gensim's own file, word2vec's text or binary, or arrays `words` and `vectors`."""
    import numpy as np
    from gensim.models import KeyedVectors

    from workers.text.models.gensim_file import read_gensim

    if not file.is_file():
        raise fail(f"{file} does not exist", 2)
    try:
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as held:
                keyed = KeyedVectors(vector_size=held["vectors"].shape[1])
                keyed.add_vectors(held["words"].tolist(), held["vectors"].astype(np.float32))
            return keyed
        if file.suffix in (".bin", ".txt", ".vec"):
            return KeyedVectors.load_word2vec_format(str(file), binary=file.suffix == ".bin")
        words, vectors = read_gensim(file)
        keyed = KeyedVectors(vector_size=vectors.shape[1])
        keyed.add_vectors(words, vectors)
        return keyed
    except (OSError, ValueError, KeyError, IndexError, EOFError, AttributeError) as error:
        raise fail(f"{file} holds no word vectors: {' '.join(str(error).split())[:200]}", 2) from error
