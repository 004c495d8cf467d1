"""Models with random weights, of the kinds that users bring: a second to make, and no download."""

from pathlib import Path
from typing import Any

TEXTS = (
    "the team won the match in the last minute",
    "shares of the bank fell after a loss",
    "el equipo ganó el partido",
    "наводнение в городе",
    "洪水が街を襲った",
    "فيضان في المدينة",
    "this text is about sports, games and markets.",
)


def make_tokenizer() -> Any:
    """A sentencepiece-like tokenizer of every script, as XLM-RoBERTa has: pieces that begin with ▁."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = [f"▁{word}" for text in TEXTS for word in text.split()]
    letters = ["▁", *sorted(set("".join(TEXTS)))]
    more = [f"▁{a}{b}{c}{d}" for a in "bcdfghklmnprst" for b in "aeiou" for c in "nrst" for d in "aeiou"]
    pieces = dict.fromkeys([*words, *letters, *more])
    special = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    scored = [(piece, 0.0) for piece in special] + [(piece, -float(len(pieces))) for piece in pieces]
    made = Tokenizer(models.Unigram(scored, unk_id=3, byte_fallback=False))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=64,
    )


def make_config(tokenizer: Any, **more: Any) -> Any:
    """A small XLM-RoBERTa."""
    from transformers import XLMRobertaConfig

    return XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=80,
        pad_token_id=1,
        type_vocab_size=1,
        **more,
    )


def make_sentence_model(folder: Path) -> Path:
    """Write a sentence-transformers folder: XLM-RoBERTa and mean pooling."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    from transformers import XLMRobertaModel

    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    XLMRobertaModel(make_config(tokenizer)).save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    body = Transformer(str(folder / "base"), max_seq_length=48)
    SentenceTransformer(modules=[body, Pooling(32)], device="cpu").save(str(folder / "model"))
    return folder / "model"


def make_nli_model(
    folder: Path, labels: tuple[str, ...] = ("contradiction", "neutral", "entailment")
) -> Path:
    """Write a folder with a model that classifies pairs of texts."""
    import torch
    from transformers import XLMRobertaForSequenceClassification

    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    names = dict(enumerate(labels))
    config = make_config(tokenizer, id2label=names, label2id={name: i for i, name in names.items()})
    XLMRobertaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
