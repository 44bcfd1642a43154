"""Channel-separated networks as in the memorability system M3S: one row per clip."""

import re
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from egotools.config import option
from egotools.errors import WeightsError
from egotools.extractors.published import Published, downloaded
from egotools.extractors.published_model import PublishedModel
from egotools.nn.csn import CSN, HEAD, Architecture
from egotools.pixels.preprocessing import Preprocessing
from egotools.sampling import check_positive, spread_frames
from egotools.types import Clip, FrameWindows, VideoInfo

URL = "https://github.com/bjuncek/VMZ/releases/download/test_models/"
FILES: dict[Architecture, dict[str, str]] = {
    "ip_csn_152": {
        "ig_ft_kinetics_32frms": "ipCSN_152_ft_kinetics_from_ig65m_f133090949.pth",
        "ig65m_32frms": "ipCSN_152_ig65m_from_scratch_f130601052.pth",
        "sports1m_32frms": "ipCSN_152_Sports1M_from_scratch_f111018543.pth",
        "sports1m_ft_kinetics_32frms": "ipCSN_152_ft_kinetics_from_Sports1M_f111279053.pth",
    },
    "ir_csn_152": {
        "ig_ft_kinetics_32frms": "irCSN_152_ft_kinetics_from_ig65m_f126851907.pth",
        "ig65m_32frms": "irCSN_152_ig65m_from_scratch_f125286141.pth",
        "sports1m_32frms": "irCSN_152_Sports1M_from_scratch_f99918785.pth",
        "sports1m_ft_kinetics_32frms": "irCSN_152_ft_kinetics_from_Sports1M_f101599884.pth",
    },
}
NAMES = ("DEFAULT", *FILES["ip_csn_152"])  # the first one means the second
# Parts of a residual block, or of the stem, as mmaction2's checkpoints name them, and their names here.
MMACTION_STEM = {"conv1.conv": "stem.0", "conv1.bn": "stem.1"}
MMACTION_BLOCK = {
    f"{part}.{kind}": f"{part}.{index}"
    for part in ("conv1", "conv3", "downsample")
    for index, kind in enumerate(("conv", "bn"))
}
MMACTION_UNIT: dict[Architecture, dict[str, str]] = {
    "ip_csn_152": {
        "conv2.0.conv": "conv2.0.0",
        "conv2.0.bn": "conv2.0.1",
        "conv2.1.conv": "conv2.0.2",
        "conv2.1.bn": "conv2.1",
    },
    "ir_csn_152": {"conv2.0.conv": "conv2.0", "conv2.0.bn": "conv2.1"},
}
MMACTION_NAME = re.compile(r"(?:backbone\.)?(layer\d\.\d+\.)?(.+\.(?:conv|bn))\.(\w+)")


@dataclass(frozen=True)
class CSNModel(PublishedModel):
    """Event features of a channel-separated network: one row of 2048 numbers per clip, from frames spread over it.

    Frames are resized to 256x256, not cropped, as for Memento10k; for VideoMem give --resize 256, which takes the
    center. An image is a clip of one frame.

    \b
    egotools extract --manifest m.csv --out caches/a csn --weights ipCSN_152_ft_kinetics_from_ig65m_f133090949.pth
    """

    model: str = "csn"
    weights: str = option("DEFAULT", f"{', '.join(NAMES)}, file (.pth, ...), run:<dir>, or random:<seed>.")
    architecture: Literal["ip_csn_152", "ir_csn_152"] = option(
        "ip_csn_152", "Interaction-preserved or interaction-reduced."
    )
    frames: int | Literal["all"] = option(
        45, "Frames of the clip, evenly spread, including the first and last; or all."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frames != "all":
            check_positive(frames=self.frames)

    @property
    def published(self) -> Published:
        """The network with this architecture."""
        return published_csn(self.architecture)

    def windows(self, video: VideoInfo, clip: Clip) -> FrameWindows:
        """One window, of frames spread over the clip, or its only frame."""
        return spread_frames(video, clip, count=1 if len(video) == 1 else self.frames)


@lru_cache
def published_csn(architecture: Architecture) -> Published:
    """The network of an architecture; nothing is built or downloaded yet."""
    return Published(
        name="csn",
        kind="video",
        preprocessing=lambda _: PREPROCESSING,
        build=lambda *_: CSN(architecture),
        heads=lambda _: (HEAD,),
        fetch=partial(_fetch, architecture),
        rename=partial(_renamed, architecture),
    )


PREPROCESSING = Preprocessing(
    resize=(256, 256),
    crop=(256, 256),
    mean=(0.43216, 0.394666, 0.37645),
    std=(0.22803, 0.22145, 0.216989),
    interpolation="bicubic",
    corner="floor",
)


def _fetch(architecture: Architecture, weights: str) -> Path:
    files = FILES[architecture]
    name = NAMES[1] if weights == NAMES[0] else weights
    if name not in files:
        raise WeightsError(f"csn has no weights {weights!r}; choose from {', '.join(NAMES)}, a file, or random:<seed>")
    return downloaded(f"csn ({architecture})", URL + files[name], files[name])


def _renamed(architecture: Architecture, tensors: dict[str, Tensor], _: nn.Module) -> dict[str, Tensor]:
    """Converts mmaction2's names to VMZ's."""
    blocks = {**MMACTION_BLOCK, **MMACTION_UNIT[architecture]}

    def renamed(name: str) -> str:
        found = MMACTION_NAME.fullmatch(name)
        if found is None:
            return name.replace("cls_head.fc_cls.", HEAD)
        part = (blocks if found[1] else MMACTION_STEM).get(found[2])
        return name if part is None else f"{found[1] or ''}{part}.{found[3]}"

    return {renamed(name): tensor for name, tensor in tensors.items()}
