"""Folders and names of models in the format of Transformers: found, refused in a line, and followed by rebuild."""

from __future__ import annotations

import json
import pickle
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from conftest import write_video
from safetensors.torch import load_file, save_file
from typing_commands import Installed

pytest.importorskip("transformers")
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
)
from tiny_models import make_model, make_tokenizer

from egotools.config import file_digest
from egotools.errors import ExtractorError
from egotools.extractors.hf import hub
from egotools.extractors.hf.checkpoints import checkpoint
from egotools.extractors.text_tower import text_rows
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
    hub.without_weights.cache_clear()


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


def processor_of_another_place(folder: Path) -> None:
    """This one would download a list of classes."""
    named = {"repo_path": "somebody/else", "class_info_file": "classes.json", "num_text": 3}
    edit(folder / "preprocessor_config.json", image_processor_type="OneFormerImageProcessor", **named)


def weights_of_another_name(folder: Path) -> None:
    shutil.copy(folder / "model.safetensors", folder / "other.safetensors")
    edit(folder / "config.json", transformers_weights="other.safetensors")


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
        (processor_of_another_place, "its processor (preprocessor_config.json) is missing or damaged ("),
        (weights_of_another_name, "names its weights (transformers_weights); name the file model.safetensors instead"),
    ],
)
def test_a_folder_that_is_wrong_is_refused_in_a_line(
    folder: Path, tmp_path: Path, extract, spoil, said, monkeypatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr("socket.getaddrinfo", lambda *given, **_: asked.append(given) or [])
    spoil(folder)
    done = extract(f"hf:{folder}")
    assert asked == []
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


def cached(cache: Path, model: Path, name: str, ignored: str = "") -> Path:
    """A model as the library keeps those that it has downloaded, without files of a pattern."""
    place = cache / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs/main").write_text(OLD)
    shutil.copytree(model, place / "snapshots" / OLD, ignore=shutil.ignore_patterns(ignored))
    return place / "snapshots" / OLD


OLD, NEW = "0" * 40, "1" * 40  # revisions


def test_a_name_that_is_there_is_used_offline(folder: Path, tmp_path: Path, extract, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    cached(tmp_path / "hub", folder, "some/Model-B32")
    done = extract("hf:some/Model-B32", "--offline")
    assert done.returncode == 0, done.stderr
    store = open_store(tmp_path / "c/model-b32.lmdb")
    assert store.recipe.identity["extractor"] == "hf:some/Model-B32"
    assert "offline" not in store.recipe.identity["options"]


@pytest.fixture
def server(tmp_path: Path, monkeypatch) -> Path:
    """A folder of revisions of some/Model, of which the hub now has NEW as its main one."""
    cache = tmp_path / "hub/models--some--Model/snapshots"

    def snapshot(name: str, *, allow_patterns, revision=None, local_files_only=False) -> str:
        if local_files_only and not (cache / OLD).is_dir():
            raise LocalEntryNotFoundError("not here")
        chosen = OLD if local_files_only else revision or NEW
        for path in () if local_files_only else (tmp_path / "server" / chosen).iterdir():
            if any(path.match(pattern) for pattern in allow_patterns):
                (cache / chosen).mkdir(parents=True, exist_ok=True)
                shutil.copy(path, cache / chosen)
        return str(cache / chosen)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: "")
    monkeypatch.setattr("egotools.extractors.hf.hub.check_reachable", lambda _: None)
    return tmp_path / "server"


@pytest.mark.parametrize(
    ("there", "taken"), [("*.safetensors", OLD), ("[!c]*", NEW), ("*", NEW)], ids=["config", "half", "nothing"]
)
def test_config_and_weights_are_of_one_revision(
    folder: Path, tmp_path: Path, server: Path, extract, there: str, taken: str
) -> None:
    shutil.copytree(folder, server / OLD)
    shutil.copytree(make_model(tmp_path / "new", "clip", seed=1), server / NEW)
    if there != "*":
        cached(tmp_path / "hub", folder, "some/Model", there)
    done = extract("hf:some/Model")
    assert done.returncode == 0, done.stderr
    digest = file_digest(server / taken / "model.safetensors")
    assert open_store(tmp_path / "c/model.lmdb").recipe.identity["weights"] == digest


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (GatedRepoError, "access is on request: ask for it on its page, then log in with 'hf auth login'"),
        (RepositoryNotFoundError, "there is no such model, or it is private: log in with 'hf auth login'"),
        (RemoteEntryNotFoundError, "it has no config.json, so it is not in the format of Transformers"),
    ],
)
def test_what_the_hub_refuses_is_said_in_plain_words(server: Path, extract, monkeypatch, error, said) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error("403 Client Error. (Request ID: Root=1)\n\nmore", response=Mock())

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    done = extract("hf:some/Model")
    assert done.returncode == 2
    assert f"could not be downloaded ({said}); fetch all files" in " ".join(done.stderr.split())


@pytest.mark.parametrize("name", ["a/b--c", "-a/b", "a..b/c", "a/b.git", "x" * 120])
def test_names_that_the_hub_cannot_have_are_refused_in_a_line(extract, name: str) -> None:
    done = extract(f"hf:{name}")
    assert done.returncode == 2
    assert "no folder of this name, and huggingface.co has no such names (" in " ".join(done.stderr.split())


def test_a_folder_goes_before_a_name_on_the_hub_and_is_said_but_a_short_name_is_never_a_folder(
    made: Path, tmp_path: Path, extract, monkeypatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    name = "openai/clip-vit-base-patch32"
    shutil.copytree(made, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    done = extract(f"hf:{name}", "--offline")
    assert done.returncode == 0, done.stderr
    assert f"{name} is taken as the folder of this name, not as a model of huggingface.co" in done.stderr
    done = extract("clip", "--offline")
    assert done.returncode != 0
    assert "downloads are switched off" in " ".join(done.stderr.split())


def test_a_folder_that_is_written_again_in_this_process_is_read_again(folder: Path, extract) -> None:
    assert extract(f"hf:{folder}").returncode == 0
    before = checkpoint(f"hf:{folder}")
    config = json.loads((folder / "config.json").read_text())
    edit(folder / "config.json", vision_config={**config["vision_config"], "num_hidden_layers": 1})
    after = checkpoint(f"hf:{folder}")
    assert [each.settings["num_hidden_layers"] for each in (before, after)] == [1, 1]
    assert before.config_digest() != after.config_digest()


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
    monkeypatch.setattr("egotools.extractors.hf.hub.check_reachable", reach)
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


def test_texts_do_not_meet_rows_of_another_config(folder: Path, tmp_path: Path, extract) -> None:
    make_tokenizer(folder)
    assert extract(f"hf:{folder}").returncode == 0
    recipe = open_store(tmp_path / "c/clip.lmdb").recipe
    assert text_rows(recipe, ["a hand"]).shape == (1, 12)
    text = json.loads((folder / "config.json").read_text())["text_config"]
    edit(folder / "config.json", text_config={**text, "hidden_act": "gelu"})
    with pytest.raises(ExtractorError, match="has another config or preprocessing than when the cache was made"):
        text_rows(recipe, ["a hand"])
