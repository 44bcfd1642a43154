"""open_clip's image encoders as extractors, and the text encoders beside them, whose rows are in the same space."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from http.client import HTTPException
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from egotools.config import option
from egotools.errors import ExtractorError, MissingExtra, WeightsError, first_line
from egotools.extractors.downloading import check_reachable
from egotools.extractors.image import ImageModel
from egotools.extractors.published import Published, downloaded, from_hub
from egotools.pixels.preprocessing import Preprocessing
from egotools.texts import similar_names
from egotools.training.seeding import seeded
from egotools.types import FloatArray
from egotools.weights.tensors import is_file, load_into, random_seed, read_tensors, weights_file

PREFIX = "open_clip:"
BATCH = 256  # texts at a time


@dataclass(frozen=True)
class OpenClipModel(ImageModel):
    """Features of an image encoder of open_clip: one row per frame, by default in the space of images and texts.

    \b
    egotools extract --manifest m.csv --out caches/a open_clip:ViT-B-32 --fps 2
    egotools extract --manifest m.csv --out caches/a open_clip:ViT-L-14 --weights laion2b_s32b_b82k --frames 4
    """

    weights: str = option(
        "DEFAULT",
        "open_clip's tag, such as openai (DEFAULT: the first that it lists for the network), file, run:<dir>,"
        " or random:<seed>.",
    )
    space: Literal["joint", "own"] = option(
        "joint", "joint: projected into the space of images and texts; own: as it is before that."
    )
    tag: str | None = option(None, "Of which tag a file of weights is: its preprocessing and activation are taken.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tag is not None and not is_file(self.weights):
            raise ValueError("--tag says which weights a file has; give --weights FILE, too, or --weights TAG instead")

    @property
    def published(self) -> Published:
        """The network that the name refers to."""
        return published_encoder(self.model.removeprefix(PREFIX), self.tag, self.space)

    def text_rows(self, texts: Sequence[str]) -> FloatArray:
        """Texts as float32 [N, D] in the joint space, by the text encoder beside the image encoder; not normalized.

        Raises:
            ExtractorError: rows are of another space, the text encoder is not there, or a text is too long for it.
        """
        if self.space != "joint":
            raise ExtractorError(f"rows of {self.model} --space own are not comparable with text; extract joint ones")
        try:
            network = _whole(self)
        except (WeightsError, OSError) as error:
            raise ExtractorError(f"{self.model}: its text encoder cannot be had: {first_line(error)}") from error
        tokens = _tokens(self, texts)
        with torch.inference_mode():
            parts = [tokens[first : first + BATCH] for first in range(0, len(tokens), BATCH)]
            rows = torch.cat([network.encode_text(part) for part in parts])  # type: ignore[operator]
        return rows.float().numpy()


def names() -> list[str]:
    """The names of all networks; none if open_clip is not installed."""
    try:
        found: list[str] = _library().list_models()
    except MissingExtra:
        return []
    return found


def check_known(model: str) -> None:
    """Checks that open_clip has the network `open_clip:NAME`.

    Raises:
        ExtractorError: it has not; similar names are suggested.
        MissingExtra: open_clip is not installed.
    """
    name, known = model.removeprefix(PREFIX), _library().list_models()
    if name not in known:
        near = similar_names(name, known)
        hint = f"; similar: {', '.join(near)}" if near else ""
        raise ExtractorError(f"open_clip has no network {name!r}{hint}")


@lru_cache
def published_encoder(name: str, tag: str | None, space: str) -> Published:
    """The image encoder of a network; nothing is built or downloaded yet."""
    return Published(
        name=name,
        kind="image",
        preprocessing=lambda weights: _preprocessing(name, weights, tag),
        build=partial(_build, name, tag),
        fetch=partial(_fetch, name),
        rename=_of_images,
        without_head=partial(_in_space, name, space),
    )


def _library() -> Any:  # Any: open_clip's module, which has no types
    try:
        import open_clip
    except ImportError as error:
        raise MissingExtra("open_clip", "open-clip") from error
    return open_clip


def _trained(name: str, weights: str, tag: str | None) -> dict[str, Any]:  # Any: values of open_clip's own kinds
    """How weights were trained: `mean`, `std`, `interpolation`, `resize_mode`, `quick_gelu`.

    open_clip knows it by tag. Its network of the same name may have another activation, which it only warns about.

    Raises:
        ExtractorError: of a file it cannot be known without its tag.
        WeightsError: the tag does not exist.
    """
    library, tags = _library(), _tags(name)
    usual = {
        "mean": library.OPENAI_DATASET_MEAN,
        "std": library.OPENAI_DATASET_STD,
        "interpolation": "bicubic",
        "resize_mode": "shortest",
        "quick_gelu": library.get_model_config(name).get("quick_gelu", False),
    }
    every = {
        each: {**usual, **{key: value for key, value in library.get_pretrained_cfg(name, each).items() if key in usual}}
        for each in tags
    }
    if not tags:
        return usual
    if random_seed(weights) is not None:
        return every[tags[0]]
    if not is_file(weights) or tag is not None:
        return every[_checked_tag(name, tag or weights)]
    if any(each != every[tags[0]] for each in every.values()):
        raise ExtractorError(
            f"{PREFIX}{name}: its weights differ in preprocessing or activation; give --tag, too, of which tag "
            f"{weights} is, or began as: {', '.join(tags)}"
        )
    return every[tags[0]]


def _tags(name: str) -> list[str]:
    found: list[str] = _library().list_pretrained_tags_by_model(name)
    return found


def _checked_tag(name: str, tag: str) -> str:
    tags = _tags(name)
    if not tags:
        raise WeightsError(f"{PREFIX}{name}: open_clip publishes no weights for it; give a file or random:<seed>")
    if tag not in ("DEFAULT", *tags):
        known = ", ".join(("DEFAULT", *tags))
        raise WeightsError(f"{PREFIX}{name} has no weights {tag!r}; choose from {known}, a file, or random:<seed>")
    return tags[0] if tag == "DEFAULT" else tag


def _fetch(name: str, weights: str) -> Path:
    library, tag = _library(), _checked_tag(name, weights)
    config = library.get_pretrained_cfg(name, tag)
    repository, _, file = config.get("hf_hub", "").rpartition("/")
    if not repository:
        return downloaded(f"{PREFIX}{name}", config["url"], config["url"].rpartition("/")[2])
    constants = library.constants
    files = [file] if file else [constants.HF_SAFE_WEIGHTS_NAME, constants.HF_WEIGHTS_NAME]
    return from_hub(f"{PREFIX}{name}", repository, files, given=f"--weights FILE --tag {tag}")


def _preprocessing(name: str, weights: str, tag: str | None) -> Preprocessing:
    trained = _trained(name, weights, tag)
    size = _library().get_model_config(name)["vision_cfg"].get("image_size", 224)
    height, width = (size, size) if isinstance(size, int) else size
    mode = trained["resize_mode"]
    if mode not in ("shortest", "squash") or height != width:
        raise ExtractorError(f"{PREFIX}{name}: frames of {height}x{width} resized by {mode!r} are not supported")
    return Preprocessing(
        resize=(height, width) if mode == "squash" else (height,),
        crop=(height, width),
        mean=tuple(trained["mean"]),
        std=tuple(trained["std"]),
        interpolation="bilinear" if trained["interpolation"] == "bilinear" else "bicubic",
    )


def _build(name: str, tag: str | None, weights: str, size: tuple[int, int] | None = None) -> nn.Module:
    """The image encoder, from the same random numbers as in open_clip's whole network, where it comes first."""
    library = _library()
    config = library.get_model_config(name)
    vision = {**config["vision_cfg"], "output_tokens": False, "timm_model_pretrained": False}
    if size is not None:
        vision["image_size"] = size[0] if size[0] == size[1] else size
    try:
        # Not public, but the whole network would need the memory of its text encoder, which may be the larger one.
        network: nn.Module = library.model._build_vision_tower(
            config["embed_dim"], vision, quick_gelu=_trained(name, weights, tag)["quick_gelu"]
        )
    except TypeError as error:  # a ResNet, whose size must be one number
        raise ValueError(first_line(error)) from error
    return network


def _of_images(tensors: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """The tensors of the image encoder among those of the whole network, positions resampled as open_clip does."""
    visual = {name: value for name, value in tensors.items() if name.startswith("visual.")}
    if not visual:
        return tensors
    _library().model.resize_pos_embed(visual, SimpleNamespace(visual=network))
    return {name.removeprefix("visual."): value for name, value in visual.items()}


def _in_space(name: str, space: str, network: nn.Module) -> nn.Module:
    """The encoder in the joint space, or without its projection."""
    trunk, head = getattr(network, "trunk", None), getattr(network, "head", None)
    if trunk is not None and hasattr(network, "set_input_size"):
        network.set_input_size(network.image_size)  # type: ignore[operator]  # for frames of another size
    if space == "joint":
        return network
    if getattr(network, "proj", None) is not None:
        network.proj = None  # type: ignore[assignment]  # as open_clip itself does
    elif hasattr(network, "attnpool"):  # of CLIP's ResNets, where it also projects
        network.attnpool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    elif isinstance(head, nn.Sequential) and {"proj", "mlp"} & set(head._modules) and "pool" not in head._modules:
        network.head = nn.Identity()
    elif trunk is not None and not len(head or ()) and trunk.num_classes:
        trunk.reset_classifier(0)
    else:
        raise ExtractorError(f"{PREFIX}{name}: has no projection of its own to leave out; use --space joint")
    return network


def _whole(extractor: OpenClipModel) -> nn.Module:
    """Both encoders of a network, the text encoder with its weights."""
    library, name, weights = _library(), extractor.model.removeprefix(PREFIX), extractor.weights
    config = library.get_model_config(name)
    _check_hub(config["text_cfg"].get("hf_model_name"))
    config["quick_gelu"] = _trained(name, weights, extractor.tag)["quick_gelu"]
    config["vision_cfg"] = {**config["vision_cfg"], "timm_model_pretrained": False}
    config["text_cfg"] = {**config["text_cfg"], "hf_model_pretrained": False}
    is_custom = config.pop("custom_text", False) or "hf_model_name" in config["text_cfg"]
    kind = library.CLIP if not is_custom else library.CoCa if "multimodal_cfg" in config else library.CustomTextCLIP
    seed = random_seed(weights)
    with seeded(seed or 0):
        network: nn.Module = kind(**config)
    if seed is None:
        path = weights_file(weights, partial(_fetch, name))
        tensors = read_tensors(path)
        if not hasattr(network, "positional_embedding"):
            tensors = library.model.convert_to_custom_text_state_dict(tensors)
        tensors.pop("text.transformer.embeddings.position_ids", None)  # of older versions of transformers
        load_into(network, tensors, heads=("visual.", "logit_", "text_decoder."), source=str(path))
    return network.eval()


def _tokenizer(extractor: OpenClipModel) -> Any:  # Any: one of open_clip's, which share a call
    name = extractor.model.removeprefix(PREFIX)
    try:
        _check_hub(_library().get_model_config(name)["text_cfg"].get("hf_tokenizer_name"))
        return _library().get_tokenizer(name)
    except (OSError, ImportError, ValueError) as error:
        raise ExtractorError(f"{extractor.model}: its tokenizer cannot be had: {first_line(error)}") from error


def _tokens(extractor: OpenClipModel, texts: Sequence[str]) -> Tensor:
    """Texts as the encoder reads them, int64 [N, most]; it would cut longer ones without a word."""
    tokenizer = _tokenizer(extractor)
    most = tokenizer.context_length
    filler = getattr(getattr(tokenizer, "tokenizer", None), "pad_token_id", 0)
    beyond = tokenizer(list(texts), context_length=most + 1)[:, most] != filler
    for text, is_longer in zip(texts, beyond.tolist(), strict=True):
        if is_longer:
            raise ExtractorError(f"{text[:40]!r}... has more than the {most} tokens that {extractor.model} reads")
    tokens: Tensor = tokenizer(list(texts))
    return tokens


def _check_hub(repository: str | None) -> None:
    """Checks at once what transformers would try for minutes: that a repository is cached, or its server answers.

    Raises:
        OSError: neither.
    """
    from huggingface_hub import hf_hub_url, try_to_load_from_cache

    if repository is None or isinstance(try_to_load_from_cache(repository, "config.json"), str):
        return
    try:
        check_reachable(hf_hub_url(repository, "config.json"))
    except (OSError, HTTPException) as error:
        raise OSError(
            f"huggingface.co/{repository} is not cached and cannot be reached ({first_line(error)})"
        ) from error
