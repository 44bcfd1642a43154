"""Folders and names of models in the format of Transformers: found, refused in a line, and followed by rebuild."""

from __future__ import annotations

import json
import pickle
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from conftest import write_video
from safetensors.torch import load_file, save_file
from typing_commands import Installed

pytest.importorskip("transformers")
from tiny_models import make_model

from egotools.extractors.hf import checkpoints
from egotools.stores import open_store

FEW = ("--frames", "2")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, which tests copy."""
    return make_model(tmp_path_factory.mktemp("made") / "clip", "clip")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Iterator[Path]:
    """A model that a test may spoil."""
    forget()
    shutil.copytree(made, tmp_path / "clip")
    yield tmp_path / "clip"
    forget()


def forget() -> None:
    """As a new process would."""
    checkpoints.checkpoint.cache_clear()
    checkpoints._settings.cache_clear()


@pytest.fixture
def extract(tmp_path: Path, installed: Installed) -> Callable[..., object]:
    """Extracts two frames of a video with a model."""
    (tmp_path / "m.csv").write_text("id,path\na,a.mp4\n")
    write_video(tmp_path / "a.mp4", size=(48, 64))

    def run(model: object, *options: object):
        forget()
        return installed("extract", "--manifest", tmp_path / "m.csv", "--out", tmp_path / "c", model, *FEW, *options)

    return run


def edit(file: Path, **values: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


class Marks:
    """What a malicious file would do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def config_is_a_list(folder: Path) -> None:
    (folder / "config.json").write_text("[1, 2]")


def config_is_no_json(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "cl')


def kind_is_a_list(folder: Path) -> None:
    edit(folder / "config.json", model_type=["clip"])


def text_only(folder: Path) -> None:
    edit(folder / "config.json", model_type="bert")


def impossible_values(folder: Path) -> None:
    edit(folder / "config.json", vision_config={"hidden_size": "wide", "image_size": -3})


def quantized(folder: Path) -> None:
    edit(folder / "config.json", quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True})


def an_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "somebody/else"}')


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def cut_short(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def of_another_model(folder: Path) -> None:
    save_file({"encoder.weight": torch.ones(2)}, folder / "model.safetensors", {"format": "pt"})


def of_another_width(folder: Path) -> None:
    edit(folder / "config.json", vision_config={**json.loads((folder / "config.json").read_text())["vision_config"]}
         | {"hidden_size": 32})  # fmt: skip


def without_a_layer(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if "vision_model.encoder.layers.1" not in name}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})


def shards_elsewhere(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "evil")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../evil"}}))


def a_shard_is_missing(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-1-of-2.safetensors"}}))


def index_is_a_list(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text("[]")


def a_pickle_that_runs(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Marks(folder.parent / "ran")}))


def a_torch_file_that_runs(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"a": Marks(folder.parent / "ran")}, folder / "pytorch_model.bin")


def without_processor(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()


def another_processor(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text('{"image_processor_type": "NoSuchProcessor"}')


def processor_is_a_list(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text("[]")


def processor_values(folder: Path) -> None:
    edit(folder / "preprocessor_config.json", image_std=[0, 0, 0])


def processor_sizes(folder: Path) -> None:
    edit(folder / "preprocessor_config.json", size={"shortest_edge": "big"})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without_config, "has no config.json; it is half downloaded, or not a model's folder"),
        (config_is_a_list, "its model_type, None, is no encoder"),
        (config_is_no_json, "config.json: cannot be read as JSON"),
        (kind_is_a_list, "its model_type, ['clip'], is no encoder"),
        (text_only, "its model_type, 'bert', is no encoder of frames, clips or sound that egotools knows: clip, "),
        (impossible_values, "config.json: not the config of a model (Validation error for field 'hidden_size'"),
        (quantized, "config.json: its weights are quantized; take the original model"),
        (an_adapter, "is an adapter of another model"),
        (without_weights, "has no weights (model.safetensors or pytorch_model.bin); it is half downloaded"),
        (cut_short, "clip: not readable as a model ("),
        (of_another_model, "clip: its weights are of another model, or not whole: "),
        (of_another_width, "clip: not readable as a model ("),
        (without_a_layer, "clip: its weights are of another model, or not whole: 16 missing such as 'vision_model."),
        (shards_elsewhere, "model.safetensors.index.json: names '../evil', which is not a file beside it"),
        (a_shard_is_missing, "clip: model-1-of-2.safetensors is missing; it is half downloaded"),
        (index_is_a_list, "model.safetensors.index.json: not an index of weights"),
        (a_pickle_that_runs, "clip: not readable as a model ("),
        (a_torch_file_that_runs, "clip: not readable as a model ("),
        (without_processor, "its processor (preprocessor_config.json) is missing or damaged ("),
        (another_processor, "its processor (preprocessor_config.json) is missing or damaged ("),
        (processor_is_a_list, "its processor (preprocessor_config.json) is missing or damaged ("),
        (processor_values, "its processor, CLIPImageProcessor, "),
        (processor_sizes, "its processor"),
    ],
)
def test_a_folder_that_is_wrong_is_refused_in_a_line(folder: Path, tmp_path: Path, extract, spoil, said) -> None:
    spoil(folder)
    done = extract(f"hf:{folder}")
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "c/clip.lmdb").exists()
    assert not (tmp_path / "ran").exists()


def test_code_beside_a_model_and_kernels_that_its_config_names_are_left_alone(
    folder: Path, tmp_path: Path, extract, monkeypatch
) -> None:
    calls: list[object] = []
    for name in ("huggingface_hub.hf_hub_download", "huggingface_hub.snapshot_download"):
        monkeypatch.setattr(name, lambda *given, **options: calls.append(given))
    (folder / "modeling_evil.py").write_text(f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n")
    named = {"AutoConfig": "modeling_evil.C", "AutoModel": "modeling_evil.M", "AutoImageProcessor": "modeling_evil.P"}
    config = json.loads((folder / "config.json").read_text())
    kernel = {"attn_implementation": "kernels-community/evil", "_attn_implementation": "evil/kernel"}
    edit(folder / "config.json", auto_map=named, **kernel, vision_config={**config["vision_config"], **kernel})
    edit(folder / "preprocessor_config.json", auto_map={"AutoImageProcessor": "modeling_evil.P"})
    done = extract(f"hf:{folder}")
    assert done.returncode == 0, done.stderr
    assert calls == []
    assert not (tmp_path / "ran").exists()


def cached(hub: Path, model: Path, name: str) -> None:
    """A model as the library keeps those that it has downloaded."""
    place = hub / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs/main").write_text("0123abc")
    shutil.copytree(model, place / "snapshots/0123abc")


def test_a_name_that_is_there_is_used_offline(folder: Path, tmp_path: Path, extract, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    cached(tmp_path / "hub", folder, "some/Model-B32")
    done = extract("hf:some/Model-B32", "--offline")
    assert done.returncode == 0, done.stderr
    store = open_store(tmp_path / "c/model-b32.lmdb")
    assert store.recipe.identity["extractor"] == "hf:some/Model-B32"
    assert "offline" not in store.recipe.identity["options"]


def test_a_name_that_is_not_there_fails_at_once_and_says_what_to_fetch(tmp_path: Path, extract, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    began = time.monotonic()
    for options in (["--offline"], []):
        done = extract("hf:some/Model-B32", *options)
        assert done.returncode in (1, 2)
        assert "fetch all files of https://huggingface.co/some/Model-B32 into a folder and write hf:FOLDER" in (
            " ".join(done.stderr.split())
        )
    assert time.monotonic() - began < 30


def test_nothing_is_asked_of_the_network_where_it_is_switched_off(tmp_path: Path, extract, monkeypatch) -> None:
    def reach(url: str) -> None:
        raise AssertionError(f"asked for {url}")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("egotools.extractors.published.check_reachable", reach)
    assert "downloads are switched off" in " ".join(extract("hf:some/Model-B32", "--offline").stderr.split())
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "downloads are switched off" in " ".join(extract("hf:some/Model-B32").stderr.split())


def test_random_weights_need_a_config_only_and_are_the_same_each_time(folder: Path, tmp_path: Path, extract) -> None:
    (folder / "model.safetensors").unlink()
    rows = []
    for name in ("first", "second"):
        done = extract(f"hf:{folder}", "--weights", "random:3", "--name", name)
        assert done.returncode == 0, done.stderr
        assert "is an untrained network, for trials only" in done.stderr
        rows.append(open_store(tmp_path / f"c/{name}.lmdb")["a"].values)
    assert (rows[0] == rows[1]).all()


def test_a_folder_that_was_moved_resumes_its_cache_and_rebuild_says_where_it_was(
    folder: Path, tmp_path: Path, extract, installed
) -> None:
    assert extract(f"hf:{folder}").returncode == 0
    done = installed("rebuild", tmp_path / "c", "--dry-run")
    assert (done.returncode, "fresh" in done.stdout) == (0, True), done.stdout + done.stderr
    moved = tmp_path / "models/clip"
    shutil.copytree(folder, moved)
    shutil.rmtree(folder)
    forget()
    done = installed("rebuild", tmp_path / "c", "--dry-run", "--json")
    assert f"hf:{folder}: no such folder; if it was moved" in done.stdout
    (tmp_path / "m.csv").write_text("id,path\na,a.mp4\nb,a.mp4\n")
    done = extract(f"hf:{moved}")
    assert done.returncode == 0, done.stderr
    assert set(open_store(tmp_path / "c/clip.lmdb")) == {"a", "b"}


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_model_that_has_changed_makes_its_cache_stale(folder: Path, tmp_path: Path, extract, installed, file) -> None:
    assert extract(f"hf:{folder}").returncode == 0
    if file == "config.json":
        edit(folder / file, projection_dim=12, logit_scale_init_value=1.0)
    elif file == "preprocessor_config.json":
        edit(folder / file, image_mean=[0.5, 0.5, 0.5])
    else:
        make_model(folder, "clip", seed=1)
    forget()
    done = installed("rebuild", tmp_path / "c", "--dry-run", "--json")
    said = json.loads(done.stdout)
    expected = {"config.json": "facts.config", "preprocessor_config.json": "facts.preprocessing"}.get(file, "weights")
    assert expected in json.dumps(said)
    assert "stale" in json.dumps(said)
    again = extract(f"hf:{folder}")
    assert again.returncode == 1
    assert expected in again.stderr
