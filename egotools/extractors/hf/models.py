"""A model of Transformers as a module: loaded whole or refused, and its output as rows."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pickle import UnpicklingError
from typing import Any, Literal

import torch
from torch import Tensor, nn

from egotools.errors import ExtractorError, WeightsError, first_line
from egotools.extractors.hf.checkpoints import Checkpoint, library_config
from egotools.extractors.hf.families import Family
from egotools.extractors.hf.hub import unconnected
from egotools.training.seeding import seeded
from egotools.weights.tensors import random_seed

Pooling = Literal["cls", "mean", "none"]
Model = Any  # the library's own classes
# From the sizes of a model's states, (rows, columns) or (tokens,), to the positions of tokens [N] int64.
Kept = Callable[[Sequence[int]], Tensor]

# What the library raises for files that are damaged, or are of another model.
DAMAGES = (
    OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, AssertionError,
    ImportError, UnpicklingError,
)  # fmt: skip
# Parameters that no row depends on: a checkpoint may lack them.
UNUSED = ("mask_token", "masked_spec_embed", "logit_scale", "logit_bias", "position_ids", "token_type_ids")


@contextmanager
def quietly() -> Iterator[None]:
    """Without the library's own reports and bars, and offline: what is wrong with a model is said in one line."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with unconnected(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def loaded(found: Checkpoint, weights: str) -> Model:
    """The model with its weights, or with random ones from its config; on the CPU, float32.

    Raises:
        WeightsError: weights that are missing, damaged, or not of this model.
    """
    from safetensors import SafetensorError
    from transformers import AutoModel

    _ = found.settings  # says what is wrong with the config
    seed = random_seed(weights)
    if seed is None and weights != "DEFAULT":
        raise WeightsError(
            f"{found.recorded_name} has no weights {weights!r}; leave them out, or give random:<seed>; another model "
            "is another hf:NAME-OR-FOLDER"
        )
    common = {"local_files_only": True, "trust_remote_code": False}
    try:
        with quietly():
            config = library_config(found.folder)
            options = {"attn_implementation": _attention(config), "dtype": torch.float32}
            if seed is not None:
                with seeded(seed):
                    return AutoModel.from_config(config, trust_remote_code=False, **options).eval()
            is_safe = found.weights()[0].suffix == ".safetensors"
            model, said = AutoModel.from_pretrained(
                found.folder, config=config, use_safetensors=is_safe, weights_only=True, output_loading_info=True,
                **common, **options,
            )  # fmt: skip
    except (*DAMAGES, SafetensorError) as error:
        raise WeightsError(
            f"{found.folder}: not readable as a model ({first_line(error)}); its files are damaged, half "
            "copied, or of another model"
        ) from error
    missing = [name for name in sorted(said["missing_keys"]) if not _may_be_missing(name, found.family)]
    if missing:
        raise WeightsError(
            f"{found.folder}: its weights are of another model, or not whole: {len(missing)} missing such as "
            f"{missing[0]!r}"
        )
    return model.eval()


def _attention(config: Any) -> str:
    """An implementation of attention that comes with torch: a config may name one that would be downloaded."""
    from transformers import MODEL_MAPPING

    return "sdpa" if getattr(MODEL_MAPPING[type(config)], "_supports_sdpa", False) else "eager"


def map_size(found: Checkpoint, size: tuple[int, int], layer: int | None) -> tuple[int, int]:
    """Rows and columns of the maps that a model makes of frames of a size, without computing them.

    Raises:
        IndexError: it has no such layer.
    """
    from transformers import AutoModel

    with quietly(), torch.device("meta"), torch.inference_mode():
        config = library_config(found.folder)
        model = AutoModel.from_config(config, trust_remote_code=False, attn_implementation=_attention(config)).eval()
        output = model(**{found.family.takes: torch.zeros(1, 3, *size)}, output_hidden_states=True)
    states = getattr(output, "reshaped_hidden_states", None) or output.hidden_states
    height, width = states[-1 if layer is None else layer].shape[-2:]
    return int(height), int(width)


def _may_be_missing(name: str, family: Family) -> bool:
    has_pooler = not family.pooled and ("pooler." in name)
    return has_pooler or name.endswith(UNUSED)


class Encoder(nn.Module):
    """What a model makes of its input: rows [B, D], or with `--pool none` [B, N, D], one a token.

    Args:
        model: as `loaded` gives it.
        family: how it is used.
        prefix: tokens before those of the patches.
        joint: rows in the space that is shared with text; else the model's own.
        pool: in its own space.
        layer: the hidden states that are pooled, 0 before the first layer; None: the output.
        resized: frames are of another size than the model's, so that position embeddings are interpolated.
    """

    def __init__(
        self,
        model: Model,
        family: Family,
        *,
        prefix: int,
        joint: bool,
        pool: Pooling,
        layer: int | None,
        resized: bool = False,
    ) -> None:
        super().__init__()
        self.family, self.prefix, self.pool, self.layer = family, prefix, pool, layer
        self.joint = joint
        for unused in ("text_model", "text_projection", "decoder"):  # half of the memory of some
            if isinstance(getattr(model, unused, None), nn.Module):
                setattr(model, unused, None)
        self.model = model if joint or not family.tower else getattr(model, family.tower)
        call = getattr(self.model, family.joint) if joint else self.model.forward
        known = inspect.signature(call).parameters
        self.more: dict[str, Any] = {}
        if resized and "interpolate_pos_encoding" in known:
            self.more["interpolate_pos_encoding"] = True
        if "skip_predictor" in known:  # of V-JEPA, which is for training
            self.more["skip_predictor"] = True
        if layer is not None:
            self.more["output_hidden_states"] = True

    def forward(self, x: Tensor, *, kept: Kept | None = None, **inputs: Tensor) -> Tensor:
        """Pixels [B, (T,) 3, h, w], or what the model takes of sound, to rows.

        Args:
            x: the model's main input.
            kept: the tokens that count for the mean and as rows, and in which order; by default all.
            inputs: further inputs of the model.
        """
        call: Callable[..., Any] = getattr(self.model, self.family.joint) if self.joint else self.model
        found = call(**{self.family.takes: x}, **self.more, **inputs)
        if self.joint:
            return found if isinstance(found, Tensor) else found.pooler_output
        return self._pooled(found, x.shape[1], kept)

    def _pooled(self, found: Any, times: int, kept: Kept | None) -> Tensor:
        if self.layer is None and self.pool == self.family.pooled:
            pooled: Tensor = found.pooler_output  # [B, D], or of convolutions [B, D, 1, 1]
            return pooled.flatten(1)
        states = found.last_hidden_state if self.layer is None else found.hidden_states[self.layer]
        tokens: Tensor = states.flatten(2).transpose(1, 2) if states.ndim == 4 else states  # [B, N, D]
        if self.pool == "cls":
            return tokens[:, 0]
        has_prefix = not (self.family.maps and self.layer is not None)
        patches = tokens[:, self.prefix :] if has_prefix else tokens
        if kept is not None:
            patches = patches[:, kept(states.shape[2:] if states.ndim == 4 else patches.shape[1:2]).to(patches.device)]
        if self.pool == "mean":
            return patches.mean(1)
        if self.family.patches_first:
            count, _, width = patches.shape
            return patches.reshape(count, -1, times, width).transpose(1, 2).flatten(1, 2)
        return patches


@contextmanager
def refusing(model: str, layer: int | None, windows: str, instead: str) -> Iterator[None]:
    """What the library raises for windows that a model does not take, as one line.

    Raises:
        ExtractorError: the model does not accept such windows, or has no such layer.
    """
    try:
        yield
    except IndexError as error:
        raise ExtractorError(f"{model}: has no layer {layer}; --layer counts from 0, before the first") from error
    except DAMAGES as error:
        raise ExtractorError(f"{model}: refuses windows of {windows} ({first_line(error)}); {instead}") from error
