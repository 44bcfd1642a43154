"""Models on huggingface.co: in the library's own cache, or downloaded into it. Does not import torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from egotools.errors import ExtractorError, first_line
from egotools.extractors.downloading import check_reachable, failures, reason

PREFIX, HUB = "hf:", "https://huggingface.co/"
CONFIG = "config.json"
PROCESSORS = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")
# What a model needs besides its weights: its config, the processor's values, and the tokenizer of a text tower.
SMALL = ("*.json", "*.txt", "*.model")
# In the order of preference; a repository may also have weights in half precision, or of other libraries.
WEIGHTS = (
    ("model.safetensors", "model-*-of-*.safetensors"),
    ("pytorch_model.bin", "pytorch_model-*-of-*.bin"),
)


@lru_cache
def without_weights(name: str, *, offline: bool = False) -> Path:
    """The folder of a model in the library's cache, with all but its weights.

    Within a process it stays the same revision, whatever its authors upload meanwhile.

    Raises:
        ExtractorError: it is not there, and cannot be downloaded; the message says what to fetch from where.
    """
    from huggingface_hub import snapshot_download

    with _explaining(name):
        with suppress(FileNotFoundError):  # not cached yet
            folder = Path(snapshot_download(name, allow_patterns=list(SMALL), local_files_only=True))
            # Other programs fetch a config alone, and a download may have been interrupted.
            if (folder / CONFIG).is_file() and any((folder / file).is_file() for file in PROCESSORS):
                return folder
        return _downloaded(name, SMALL, offline, None)


def fetch_weights(name: str, folder: Path, *, offline: bool = False) -> None:
    """Downloads the weights of a model into its folder in the library's cache, of the same revision.

    Raises:
        ExtractorError: they cannot be downloaded; the message says what to fetch from where.
    """
    with _explaining(name):
        for files in WEIGHTS:
            _downloaded(name, (*SMALL, *files), offline, folder.name)
            if any(path for pattern in files for path in folder.glob(pattern)):
                return


def _downloaded(name: str, patterns: Sequence[str], offline: bool, revision: str | None) -> Path:
    from huggingface_hub import constants, hf_hub_download, hf_hub_url, snapshot_download

    if offline or constants.HF_HUB_OFFLINE:
        raise OSError("downloads are switched off")
    check_reachable(hf_hub_url(name, CONFIG))  # the library itself would try for half a minute
    hf_hub_download(name, CONFIG, revision=revision)
    return Path(snapshot_download(name, allow_patterns=list(patterns), revision=revision))


@contextmanager
def unconnected() -> Iterator[None]:
    """The library downloads nothing: a folder's files may name others, such as a processor its list of classes."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextmanager
def _explaining(name: str) -> Iterator[None]:
    from huggingface_hub.errors import HFValidationError

    try:
        yield
    except HFValidationError as error:
        raise ExtractorError(
            f"{PREFIX}{name}: no folder of this name, and huggingface.co has no such names ({first_line(error)})"
        ) from error
    except failures() as error:
        why = reason(error, f"it has no {CONFIG}, so it is not in the format of Transformers")
        raise ExtractorError(
            f"{PREFIX}{name}: no folder of this name, and it could not be downloaded ({why}); fetch "
            f"all files of {HUB}{name} into a folder and write {PREFIX}FOLDER"
        ) from error
