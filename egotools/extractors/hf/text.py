"""The text tower of a model in the format of Transformers: sentences to rows in the space of its frames or sound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from egotools.errors import ExtractorError, first_line
from egotools.extractors.hf.checkpoints import Checkpoint, library_config
from egotools.extractors.hf.models import DAMAGES, loaded, quietly
from egotools.types import FloatArray

# Without any of these the library makes a tokenizer that knows no word, and all texts become the same row.
TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model")
FULL_LENGTH = ("siglip",)  # families that were trained with every text filled up to the longest


def text_rows(found: Checkpoint, weights: str, texts: Sequence[str]) -> FloatArray:
    """Sentences as float32 [N, D], in the joint space of a model.

    Raises:
        ExtractorError: the model's folder has no tokenizer, or a text is longer than the model reads.
        WeightsError: the weights are missing or damaged.
    """
    tokenizer, most = _tokenizer(found), _most(found)
    model = loaded(found, weights)
    with quietly():  # of a text that is too long
        counts = [len(ids) for ids in tokenizer(list(texts))["input_ids"]]
    for text, count in zip(texts, counts, strict=True):
        if count > most:
            raise ExtractorError(f"{text[:40]!r}... has {count} tokens; {found.recorded_name} reads {most}; shorten it")
    is_full = found.config["model_type"] in FULL_LENGTH
    filled = {"padding": "max_length", "max_length": most} if is_full else {"padding": True}
    inputs = tokenizer(list(texts), return_tensors="pt", **filled)
    with torch.inference_mode():
        rows = model.get_text_features(**inputs)
    values = rows if isinstance(rows, torch.Tensor) else rows.pooler_output
    return np.asarray(values.float().numpy())


def _tokenizer(found: Checkpoint) -> Any:  # Any: the library's own class
    from transformers import AutoTokenizer

    if not any(any(found.folder.glob(file)) for file in TOKENIZERS):
        raise ExtractorError(
            f"{found.folder}: has no tokenizer (tokenizer.json, vocab.json, vocab.txt or a .model file), so texts "
            "cannot be read; copy it from where the model comes from"
        )
    try:
        with quietly():
            return AutoTokenizer.from_pretrained(found.folder, local_files_only=True, trust_remote_code=False)
    except (*DAMAGES, ImportError) as error:
        raise ExtractorError(
            f"{found.folder}: its tokenizer cannot be read ({first_line(error)}); copy it again from where "
            "the model comes from"
        ) from error


def _most(found: Checkpoint) -> int:
    """The longest text, in tokens, with those that begin and end it."""
    text = library_config(found.folder).text_config
    # Positions of RoBERTa, which CLAP reads with, begin after that of padding.
    offset = text.pad_token_id + 1 if text.model_type in ("clap_text_model", "roberta", "xlm-roberta") else 0
    return int(text.max_position_embeddings - offset)
