"""The files of a model: in a folder of the user's, or of a name on huggingface.co, which is downloaded once.

Nothing of a model's folder is executed: configs are data, and weights are read from safetensors or with
`weights_only`. Does not import torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from egotools.config import digest, file_digest
from egotools.errors import ExtractorError, MissingExtra, WeightsError, first_line
from egotools.extractors.hf.families import FAMILIES, Family
from egotools.extractors.hf.hub import CONFIG, PREFIX, fetch_weights, without_weights
from egotools.files.json_files import read_json

REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?")
WEIGHTS = (("model.safetensors", "model.safetensors.index.json"), ("pytorch_model.bin", "pytorch_model.bin.index.json"))
# Entries of a config that say who wrote it, not what the model is.
ABOUT = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures")


@dataclass(frozen=True)
class Checkpoint:
    """A model's folder, and what its config says (JSON values, hence Any)."""

    name: str  # after `hf:`; a folder by its absolute path
    folder: Path
    config: Mapping[str, Any]

    @property
    def family(self) -> Family:
        """How models of its kind are used."""
        return FAMILIES[self.config["model_type"]].of(self.config)

    @property
    def recorded_name(self) -> str:
        """In recipes: the name, or of a folder its last part, since a folder that was moved is the same."""
        return PREFIX + (self.folder.name if Path(self.name).is_absolute() else self.name)

    @property
    def settings(self) -> Mapping[str, Any]:
        """All that the library knows of the part that encodes, with its defaults: the file holds what differs.

        Raises:
            ExtractorError: the config has impossible values.
        """
        path = self.folder / CONFIG
        return _settings(path, path.stat().st_mtime_ns)  # the folder may be written again in this process

    @property
    def prefix(self) -> int:
        """Tokens before those of the patches."""
        return self.family.prefix_of(self.settings)

    @property
    def frames(self) -> int:
        """Frames of a window in training."""
        return int(self.settings.get("num_frames") or self.settings.get("frames_per_clip") or 1)

    @property
    def patch(self) -> int:
        """Pixels on a side of a patch."""
        side = self.settings.get("patch_size") or self.settings["tubelet_size"][-1]
        return int(side[-1] if isinstance(side, (list, tuple)) else side)

    @property
    def tubelet(self) -> int:
        """Frames that are one step in time."""
        depth = self.settings.get("tubelet_size") or 1
        return int(depth[0] if isinstance(depth, (list, tuple)) else depth)

    def config_digest(self) -> str:
        """Of what the config says of the model."""
        return digest({name: value for name, value in self.config.items() if name not in ABOUT})

    def weights(self) -> list[Path]:
        """The files of its weights, in order.

        Raises:
            WeightsError: there are none, or not all of them.
        """
        for whole, index in WEIGHTS:
            if (self.folder / whole).is_file():
                return [self.folder / whole]
            if (self.folder / index).is_file():
                return self._shards(self.folder / index)
        raise WeightsError(
            f"{self.folder}: has no weights ({WEIGHTS[0][0]} or {WEIGHTS[1][0]}); it is half downloaded, or give "
            "--weights random:0"
        )

    def weights_digest(self) -> str:
        """The digest of its weights in a recipe."""
        files = self.weights()
        return file_digest(files[0]) if len(files) == 1 else digest([file_digest(file) for file in files])

    def _shards(self, index: Path) -> list[Path]:
        try:
            names = sorted(set(read_json(index)["weight_map"].values()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise WeightsError(f"{index}: not an index of weights ({first_line(error)})") from error
        for name in names:
            if not isinstance(name, str) or Path(name).name != name:
                raise WeightsError(f"{index}: names {name!r}, which is not a file beside it")
            if not (self.folder / name).is_file():
                raise WeightsError(f"{self.folder}: {name} is missing; it is half downloaded")
        return [self.folder / name for name in names]


def in_place(model: str) -> str:
    """`hf:FOLDER` by the folder's absolute path, if there is such a folder; other names as they are."""
    place = Path(model.removeprefix(PREFIX)).expanduser()
    return f"{PREFIX}{place.absolute()}" if place.is_dir() else model


def checkpoint(model: str, *, offline: bool = False) -> Checkpoint:
    """The folder and config of `hf:NAME`, or of `hf:FOLDER` as `in_place` gives it.

    A name that is not there yet is looked for on huggingface.co, whatever folders there are where the command runs.

    Args:
        model: a name, or a folder by its absolute path.
        offline: nothing is downloaded; so, too, with the library's own variable HF_HUB_OFFLINE.

    Raises:
        ExtractorError: no such model, one that cannot be fetched, or one that is no encoder of frames, clips or sound.
        MissingExtra: Transformers is not installed.
    """
    if find_spec("transformers") is None:
        raise MissingExtra("transformers", "hf")
    name = model.removeprefix(PREFIX)
    folder = Path(name)
    if not folder.is_absolute() and REPOSITORY.fullmatch(name) and not name.startswith((".", "~")):
        folder = without_weights(name, offline=offline)
    elif not folder.is_dir():
        raise ExtractorError(f"{model}: no such folder; if it was moved, name it where it is: rows that are there stay")
    return Checkpoint(name, folder, _config(folder, model))


def with_weights(found: Checkpoint, *, offline: bool = False) -> Checkpoint:
    """The same, with its weights downloaded if they are not there yet.

    Raises:
        ExtractorError: they cannot be fetched.
    """
    if not Path(found.name).is_absolute():
        try:
            found.weights()
        except WeightsError:
            fetch_weights(found.name, found.folder, offline=offline)
    return found


def library_config(folder: Path) -> Any:  # Any: the library's own class
    """What the config in a model's folder says, as the library completes it; nothing in the folder is executed."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


@lru_cache
def _settings(config: Path, _modified: int) -> Mapping[str, Any]:
    from huggingface_hub.errors import StrictDataclassError

    try:
        found = library_config(config.parent).to_dict()
    except (OSError, ValueError, TypeError, LookupError, AttributeError, StrictDataclassError) as error:
        said = " ".join(str(error).split())
        raise ExtractorError(f"{config}: not the config of a model ({said})") from error
    part = next((name for name in ("vision_config", "audio_config") if isinstance(found.get(name), dict)), None)
    return found[part] if part else found  # type: ignore[no-any-return]


def _config(folder: Path, model: str) -> Mapping[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise ExtractorError(f"{model}: {folder} has no {CONFIG}; it is half downloaded, or not a model's folder")
    try:
        config = read_json(path)
    except (OSError, ValueError) as error:
        raise ExtractorError(f"{path}: cannot be read as JSON ({first_line(error)})") from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise ExtractorError(
            f"{model}: its model_type, {kind!r}, is no encoder of frames, clips or sound that egotools knows: "
            f"{', '.join(FAMILIES)}"
        )
    _check_plain(config, path)
    return config  # type: ignore[no-any-return]


def _check_plain(config: Mapping[str, Any], path: Path) -> None:
    """Refuses a model that needs more than its weights: it might not compute what its authors say."""
    if config.get("transformers_weights") is not None:  # those are loaded, whatever the files are called
        raise ExtractorError(f"{path}: names its weights (transformers_weights); name the file {WEIGHTS[0][0]} instead")
    if any(part.get("quantization_config") for part in (config, *config.values()) if isinstance(part, dict)):
        raise ExtractorError(f"{path}: its weights are quantized; take the original model, whose weights are not")
    if (path.parent / "adapter_config.json").exists():
        raise ExtractorError(f"{path.parent}: is an adapter of another model; merge it into that one and save the sum")
