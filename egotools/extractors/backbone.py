"""The trained networks of a run as extractors: `backbone.safetensors`, and `backbone.json`, which describes their use.

    {"views": {"default": {"extractor": "torchvision:resnet18", "options": {"resize": "112x112"}}}}

`extractor` is the published network that the tensors belong to, `options` those of its options that it was trained
with. `run:DIR` is the view `default`, or the only one; `run:DIR#NAME` any view. The views `audio` and `audio.NAME` are
for sound and use the tensors of `backbone.audio.safetensors`. Release 0.1.0 wrote one view, without `views` around it.

The files are data of unknown origin: they name neither files nor code, and every value is checked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egotools.config import field_values, to_json
from egotools.errors import ExtractorError, WeightsError
from egotools.extractors.names import BUILT_IN, SHORT_NAMES, FoundExtractor, find_known
from egotools.files.disk import write_whole
from egotools.files.json_files import read_json
from egotools.weights.run_files import AUDIO_BACKBONE, BACKBONE, RUN, backbone_file, is_for_sound, run_and_view

if TYPE_CHECKING:
    from torch import Tensor

DESCRIPTION, DEFAULT = "backbone.json", "default"
VIEW = re.compile(r"[a-z][a-z0-9_-]{0,39}(\.[a-z0-9_-]{1,40})?")
OF_A_LIBRARY = re.compile(r"(torchvision|timm):[\w.-]+")  # one colon: what has two may be a file of code


@dataclass(frozen=True)
class View:
    """One use of a backbone: a published network, and options of its extractor (JSON values, hence Any)."""

    extractor: str
    options: Mapping[str, Any] = field(default_factory=dict)


def read_backbone(name: str) -> FoundExtractor:
    """A run's backbone as an extractor with the name `run:<absolute path>`; the tensors are not read yet.

    Args:
        name: `run:<dir>`, or `run:<dir>#<view>`.

    Raises:
        ExtractorError: the run, view or backbone does not exist, or its description is invalid; names file and entry.
        MissingExtra: the library of its network is not installed.
    """
    run, said = run_and_view(name)
    run = run.resolve() if ".." in run.parts else run.absolute()  # its last part names the cache
    views = _views(run)
    view = said or _only(views, run)
    if view not in views:
        raise ExtractorError(f"{run / DESCRIPTION}: no view {view!r}; choose from {', '.join(views)}")
    try:
        backbone_file(run, view)
    except WeightsError as error:
        raise ExtractorError(str(error)) from error
    network, options = _checked(view, views[view], run / DESCRIPTION)
    shown = view if said or is_for_sound(view) else ""
    whole = f"{RUN}{run}#{shown}" if shown else f"{RUN}{run}"
    return FoundExtractor(whole, network.kind, {**network.fixed, "weights": whole}, defaults=options, view=shown)


def trained_options(weights: str, kind: type[Any]) -> Mapping[str, Any]:  # Any: values of fields
    """The options that the backbone in `--weights run:<dir>` was trained with, if it is of this extractor; else none.

    What is wrong with a run is said where its weights are read.
    """
    if not weights.startswith(RUN):
        return {}
    try:
        found = read_backbone(weights)
    except ExtractorError:
        return {}
    return found.defaults or {} if found.kind is kind else {}


def write_backbone(
    run: Path, views: Mapping[str, View], tensors: Mapping[str, Tensor], audio: Mapping[str, Tensor] | None = None
) -> None:
    """Writes the trained networks of a run for use as `run:<dir>#<view>`, as extractors and as weights.

    Args:
        run: the run's folder.
        views: by name, how to use the networks; `audio` and `audio.<name>` are for sound.
        tensors: by the names that the network's own `state_dict()` has; those of its classifier may be missing.
        audio: the same of the network for sound, if there is one.

    Raises:
        ExtractorError: no view, an invalid name, no published network, options that it does not have, or
            a view for sound without tensors for it.
        RunError: the files cannot be written.
    """
    path, described = (
        run / DESCRIPTION,
        {name: {"extractor": v.extractor, "options": v.options} for name, v in views.items()},
    )
    for name, view in _named(described, path).items():
        _checked(name, view, path)
        if is_for_sound(name) and audio is None:
            raise ExtractorError(f"{path}: view {name!r} is for sound, which has no tensors")
    write_whole(run / BACKBONE, _bytes(tensors))
    if audio is not None:
        write_whole(run / AUDIO_BACKBONE, _bytes(audio))
    write_whole(path, to_json({"views": described}) + "\n")


def _bytes(tensors: Mapping[str, Tensor]) -> bytes:
    from safetensors.torch import save

    from egotools.weights.tensors import plain_tensors

    return save(plain_tensors(tensors))


def _views(run: Path) -> Mapping[str, Any]:  # Any: JSON values
    """The views of a run by name; what each says is not checked yet."""
    path = run / DESCRIPTION
    if not run.is_dir():
        raise ExtractorError(f"{run}: no such run")
    if not path.is_file():
        raise ExtractorError(
            f"{run}: contains no {DESCRIPTION}; it must be a finished run of a method that trains a backbone"
        )
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise ExtractorError(f"{path}: cannot be read as JSON ({error})") from error
    if isinstance(content, dict) and set(content) == {"extractor", "options"}:
        return {DEFAULT: content}  # as release 0.1.0 wrote it
    if not isinstance(content, dict) or set(content) != {"views"}:
        raise ExtractorError(f"{path}: must be an object with the entry 'views', and no others")
    return _named(content["views"], path)


def _named(views: Any, path: Path) -> Mapping[str, Any]:  # Any: JSON values
    """Checks the names of views."""
    if not isinstance(views, Mapping) or not views:
        raise ExtractorError(f"{path}: 'views' must be an object with a view at least")
    for name in views:
        if not VIEW.fullmatch(name):
            raise ExtractorError(f"{path}: 'views': {name!r} cannot be a name; small letters and digits, such as clip")
    return views


def _only(views: Mapping[str, Any], run: Path) -> str:
    """The view that is used if none is given."""
    if DEFAULT in views or len(views) == 1:
        return DEFAULT if DEFAULT in views else next(iter(views))
    raise ExtractorError(f"{run}: has several views; choose from {', '.join(f'{RUN}{run}#{name}' for name in views)}")


def _checked(view: str, content: Any, path: Path) -> tuple[FoundExtractor, dict[str, Any]]:  # Any: JSON values
    """The network that a view names, and its options as fields."""
    where = f"{path}: view {view!r}"
    if not isinstance(content, dict) or set(content) != {"extractor", "options"}:
        raise ExtractorError(f"{where}: must be an object with the entries 'extractor' and 'options', and no others")
    extractor, options = content["extractor"], content["options"]
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
    if hasattr(found.kind, "sound_windows") != is_for_sound(view):
        kind = "an extractor of sound" if is_for_sound(view) else "no extractor of sound; that is the view 'audio'"
        raise ExtractorError(f"{where}: 'extractor' is {extractor!r}; it must be {kind}")
    if not isinstance(options, Mapping):
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
