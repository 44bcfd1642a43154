"""EgoVLP and LaViLa, networks for egocentric video and its narrations: the video network of each as an extractor."""

from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

from egotools.config import option
from egotools.errors import WeightsError
from egotools.extractors.published import Published, downloaded
from egotools.extractors.video import VideoModel
from egotools.nn.timesformer import Shape, SpaceTimeTransformer
from egotools.pixels.preprocessing import Preprocessing
from egotools.weights.tensors import random_seed, weights_file
from egotools.weights.timesformer import read_space_time, shape_of

URL = "https://dl.fbaipublicfiles.com/lavila/checkpoints/dual_encoders/ego4d/"
# By extractor and name; the first is the default. EgoVLP's own are on a drive that a program cannot download from, so
# these are the same in half precision, as LaViLa's authors publish them.
FILES = {
    "egovlp": {
        "best": "egovlp_converted_f16.md5sum_c33363.pth",
        "epoch1": "egovlp_epo1_converted_f16.md5sum_7a3d3b.pth",
    },
    "lavila": {
        "base": "clip_openai_timesformer_base.narrator_rephraser.ep_0005.md5sum_d73a9c.pth",
        "base-epoch1": "clip_openai_timesformer_base.narrator_rephraser.ep_0001.md5sum_02dbb9.pth",
        "large": "clip_openai_timesformer_large.narrator_rephraser.ep_0003.md5sum_c89337.pth",
        "large-epoch1": "clip_openai_timesformer_large.narrator_rephraser.ep_0001.md5sum_9a25de.pth",
    },
}
SHAPES = {"egovlp": Shape(), "lavila": Shape(is_clip=True, has_bias=False)}  # of random weights
EGOVLP_FRAMES = 4  # per clip in pre-training and on EgoMCQ; its files hold 16 positions, of which 4 were trained
# EgoVLP's features for Ego4D's queries are 1.87 rows of 4 frames per second. LaViLa names no rate; it is pre-trained on
# 4 frames of EgoClip's clips, which last about a second.
RATES = {"egovlp": 4 * 1.87, "lavila": 4.0}
# The authors shrink a short side of 256 or 288 pixels without antialiasing, having shrunk the videos to it with
# antialiasing. From videos of any size, one antialiased step is closest to both.
IMAGENET = Preprocessing(resize=(224,), crop=(224, 224))
# LaViLa's first mean is 0.425 where CLIP's is 0.481, in training and in evaluation.
CLIP = replace(IMAGENET, mean=(108.3272985 / 255, 0.4578275, 0.40821073), std=(0.26862954, 0.26130258, 0.27577711))


@dataclass(frozen=True)
class SpaceTimeModel(VideoModel):
    """Features of the video network of EgoVLP or LaViLa: one row per window of frames.

    By default the row is in the space that videos share with texts, 256-d. A file says itself which network it has:
    base or large, for 224 or 336 pixels, of 4 or 16 frames, pre-trained or fine-tuned.

    \b
    egotools extract --manifest m.csv --out caches/a lavila --weights large --spread
    egotools extract --manifest m.csv --out caches/a egovlp --weights egovlp.pth --space own
    """

    model: str = "lavila"
    weights: str = option(
        "DEFAULT",
        "; ".join(f"{model}: {', '.join(files)}" for model, files in FILES.items())
        + "; or a file (.pth, ...), run:<dir>, or random:<seed>.",
    )
    space: Literal["joint", "own"] = option(
        "joint", "joint: projected into the space of videos and texts; own: the class token before that, 768-d or more."
    )

    @property
    def published(self) -> Published:
        """The network that the weights are of."""
        return published_space_time(self.model, self.weights, self.space)


@lru_cache
def published_space_time(model: str, weights: str, space: str) -> Published:
    """The network of these weights, whose file is read for its sizes.

    Raises:
        WeightsError: the file is not there, or of another network.
    """
    shape = _shape(model, weights)
    if space == "own":
        shape = replace(shape, joint=None)
    elif shape.joint is None:
        raise WeightsError(f"{weights}: contains no projection into the joint space; give --space own")
    return Published(
        name=model,
        kind="video",
        preprocessing=lambda _: _preprocessing(shape),
        build=lambda *_: SpaceTimeTransformer(shape),
        heads=lambda _: ("projection.",) if space == "own" else (),
        fetch=partial(_fetch, model),
        read=read_space_time,
        frames=shape.frames if model == "lavila" else EGOVLP_FRAMES,
        fps=RATES[model],
    )


def _shape(model: str, weights: str) -> Shape:
    if random_seed(weights) is not None:
        return SHAPES[model]
    path = weights_file(weights, partial(_fetch, model))
    shape = shape_of(read_space_time(path), str(path))
    if (own := "lavila" if shape.is_clip else "egovlp") != model:
        made = "CLIP's, as LaViLa's are" if shape.is_clip else "ImageNet's, as EgoVLP's are"
        raise WeightsError(f"{path}: its network began as {made}; its extractor is {own}")
    return shape


def _preprocessing(shape: Shape) -> Preprocessing:
    return replace(CLIP if shape.is_clip else IMAGENET, resize=(shape.side,), crop=(shape.side, shape.side))


def _fetch(model: str, weights: str) -> Path:
    files = FILES[model]
    name = next(iter(files)) if weights == "DEFAULT" else weights
    if name not in files:
        known = ", ".join(("DEFAULT", *files))
        raise WeightsError(f"{model} has no weights {weights!r}; choose from {known}, a file, or random:<seed>")
    return downloaded(model, URL + files[name], files[name])
