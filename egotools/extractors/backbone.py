"""What a run has learned, as an extractor: `backbone.safetensors`, and `backbone.json` that says how to use it.

    {"extractor": "torchvision:resnet18", "options": {"resize": "112x112"}}

`extractor` is the published network that the tensors belong to, `options` those of its options that it was trained
with. Both files are data of unknown origin: they name no file and no code, and every value is checked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egotools.config import field_values, to_json
from egotools.errors import ExtractorError
from egotools.extractors.names import BUILT_IN, SHORT_NAMES, FoundExtractor, find_known
from egotools.files.disk import write_whole
from egotools.files.json_files import read_json
from egotools.weights.tensors import BACKBONE

if TYPE_CHECKING:
    from torch import Tensor

DESCRIPTION = "backbone.json"
OF_A_LIBRARY = re.compile(r"(torchvision|timm):[\w.-]+")  # one colon: what has two may be a file of code


def read_backbone(run: Path) -> FoundExtractor:
    """The extractor that a run's backbone is, under the name `run:<absolute path>`; the tensors are not read yet.

    Raises:
        ExtractorError: no such run, no backbone in it, or a description that cannot be used; names file and entry.
        MissingExtra: the library of its network is not installed.
    """
    run = run.resolve() if ".." in run.parts else run.absolute()  # its last part names the cache
    if not run.is_dir():
        raise ExtractorError(f"{run}: no such run")
    for name in (BACKBONE, DESCRIPTION):
        if not (run / name).is_file():
            raise ExtractorError(
                f"{run}: there is no {name} in it; it must be a run that is done, of a method that trains a backbone"
            )
    path = run / DESCRIPTION
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise ExtractorError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict) or set(content) != {"extractor", "options"}:
        raise ExtractorError(f"{path}: must be an object with the entries 'extractor' and 'options', and no others")
    network, options = _checked(content["extractor"], content["options"], str(path))
    name = f"run:{run}"
    return FoundExtractor(name, network.kind, {**network.fixed, "weights": name}, defaults=options)


def write_backbone(run: Path, extractor: str, options: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Makes what a run has learned usable as `run:<dir>`, for extractors and as weights.

    Args:
        run: the run's folder.
        extractor: the published network that the tensors belong to, such as `torchvision:resnet18`.
        options: the options of that extractor, JSON values, that the network was trained with, such as its `resize`.
        tensors: by the names that the network's own `state_dict()` has; those of its classifier may be missing.

    Raises:
        ExtractorError: no published network, or options that it does not have.
        RunError: the files cannot be written.
    """
    from safetensors.torch import save

    _checked(extractor, dict(options), str(run / DESCRIPTION))
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}  # none shares memory
    write_whole(run / BACKBONE, save(own))
    write_whole(run / DESCRIPTION, to_json({"extractor": extractor, "options": options}) + "\n")


def _checked(extractor: Any, options: Any, where: str) -> tuple[FoundExtractor, dict[str, Any]]:  # Any: JSON values
    """The network that a description names, and its options as fields."""
    known = (*BUILT_IN, *SHORT_NAMES)
    is_known = isinstance(extractor, str) and (extractor in known or OF_A_LIBRARY.fullmatch(extractor))
    try:
        found = find_known(extractor) if is_known else None
    except ExtractorError as error:
        raise ExtractorError(f"{where}: 'extractor': {error}") from error
    if found is None:
        raise ExtractorError(f"{where}: 'extractor' is {extractor!r}, not the name of a published network")
    names = {field.name for field in fields(found.kind)}
    if "weights" not in names:
        raise ExtractorError(f"{where}: 'extractor' is {extractor!r}, which has no weights to be learned")
    if not isinstance(options, dict):
        raise ExtractorError(f"{where}: 'options' must be an object, not {options!r}")
    for name in options:
        if name not in names - {"weights", *found.fixed}:
            raise ExtractorError(f"{where}: 'options': {extractor} has no option {name!r}")
    try:
        values = field_values(found.kind, options)
        found.built(**values)
    except ValueError as error:
        raise ExtractorError(f"{where}: 'options': {error}") from error
    return found, values
