"""Datasets by name: what is built in, other packages' and the user's own.

A dataset is a frozen dataclass: its fields are its options, `clips` lists what a folder has of it.
"""

import importlib
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Protocol

from egotools.datasets.clips import DatasetClips
from egotools.errors import ManifestError
from egotools.extractors.own_code import imported, load_source
from egotools.extractors.plug_ins import DATASETS, find_plug_in

# name -> ("module:Class", what `egotools manifest --help` says of it)
BUILT_IN = {
    "memento10k": ("egotools.datasets.memento10k:Memento10k", "Memento10k: videos with memorability scores."),
    "videomem": ("egotools.datasets.videomem:VideoMem", "VideoMem: videos with short-term memorability scores."),
    "lamem": ("egotools.datasets.lamem:LaMem", "LaMem: images with memorability scores."),
    "assembly101": (
        "egotools.datasets.assembly101:Assembly101",
        "Assembly101: synchronized views with coarse actions at times.",
    ),
    "assembly101-fine": (
        "egotools.datasets.assembly101_fine:Assembly101Fine",
        "Assembly101's fine-grained actions: verbs and nouns at times, in all views.",
    ),
    "ucf101": ("egotools.datasets.ucf101:UCF101", "UCF101: videos of 101 actions, by the official lists."),
    "hmdb51": ("egotools.datasets.hmdb51:HMDB51", "HMDB51: videos of 51 actions, by the official lists."),
    "kinetics": ("egotools.datasets.kinetics:Kinetics", "Kinetics: ten-second clips, by the official lists."),
    "memdpc-lists": ("egotools.datasets.memdpc_lists:MemDPCLists", "MemDPC's CSV lists of folders of frames."),
    "saycam": ("egotools.datasets.saycam:SAYCam", "SAYCam: recordings from children's heads, in their order."),
    "krishnacam": ("egotools.datasets.krishnacam:KrishnaCam", "KrishnaCam: nine months of walks, in their order."),
    "labeled-s": ("egotools.datasets.labeled_s:LabeledS", "Labeled-S: frames of SAYCam in 26 classes."),
    "mini-imagenet": ("egotools.datasets.mini_imagenet:MiniImageNet", "Mini-ImageNet, by a split file."),
    "imagenet": ("egotools.datasets.imagenet:ImageNet", "ImageNet: images in class folders of train and val."),
    "inaturalist": ("egotools.datasets.inaturalist:INaturalist", "iNaturalist 2018: images of 8,142 species."),
    "epic-kitchens": (
        "egotools.datasets.epic_kitchens:EpicKitchens",
        "EPIC-KITCHENS-100 and -55, EPIC-SOUNDS: actions and sounds in kitchens, with classes and subsets.",
    ),
    "egtea": ("egotools.datasets.egtea:EGTEA", "EGTEA Gaze+: actions in kitchens, by the official lists or RULSTM's."),
    "ego-exo4d": (
        "egotools.datasets.ego_exo4d:EgoExo4D",
        "Ego-Exo4D: keysteps and descriptions of takes, a row for each camera.",
    ),
    "split-file": ("egotools.datasets.split_file:SplitFile", "Images of a list with a path and a number a line."),
}


class Dataset(Protocol):
    """What a dataset's class has beside its options."""

    def clips(self, root: Path) -> DatasetClips:
        """The clips below the dataset's folder, with splits and labels."""


def find_dataset(name: str) -> type[Dataset]:
    """The class of a dataset: of a built-in name, of another package's, or of the user's own `file.py:Class`.

    Raises:
        ManifestError: unknown, or no frozen dataclass with `clips` and a default for each field.
        ExtractorError: the user's file or the package cannot be imported, or two packages offer the name.
    """
    place, _, attribute = BUILT_IN.get(name, (name, ""))[0].rpartition(":")
    plug_in = None if name in BUILT_IN else find_plug_in(DATASETS, name)
    if plug_in is not None:
        place, attribute = plug_in.module, plug_in.attribute
        module = imported(plug_in.told, place)
    elif name in BUILT_IN:
        module = importlib.import_module(place)
    elif place.endswith(".py"):
        module = load_source(Path(place))
    else:
        raise ManifestError(f"unknown dataset {name!r}; choose from {', '.join(BUILT_IN)}, or FILE.py:CLASS")
    kind: Any = getattr(module, attribute, None)  # Any: whatever a module holds
    if not all((is_dataclass(kind), hasattr(kind, "clips"))):
        raise ManifestError(f"{name}: not a dataset; it must be a frozen dataclass with clips(root)")
    if bare := [each.name for each in fields(kind) if each.default is MISSING]:
        raise ManifestError(f"{name}: the field {bare[0]!r} needs a default; declare it as option(default, help)")
    found: type[Dataset] = kind
    return found
