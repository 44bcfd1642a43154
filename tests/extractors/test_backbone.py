"""The backbone of a run, as weights and as an extractor."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from backbones import TRAINED, extract, identity_of, recipe_in_json, tensors, write_clip, write_trained
from click.testing import CliRunner
from egotools.cli.main import root
from safetensors.torch import load_file

from egotools.config import file_digest, option
from egotools.errors import ExtractorError, OutputError, WeightsError
from egotools.extractors.audio import LogMelSpectrogram
from egotools.extractors.backbone import View, read_backbone, write_backbone
from egotools.extractors.lookup import find_extractor
from egotools.extractors.names import BUILT_IN
from egotools.extractors.reproduction import reproduced
from egotools.rebuild.named_files import changed_files
from egotools.stores import open_store
from egotools.weights.tensors import weights_digest


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Tests only read it."""
    return write_trained(tmp_path_factory.mktemp("runs") / "MemDPC")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_clip(tmp_path)


# --- run:DIR as an extractor


def test_a_runs_backbone_makes_the_rows_that_its_network_makes_of_frames_prepared_as_in_training(trained, manifest):
    assert extract(manifest, f"run:{trained}", "color").exit_code == 0
    store = open_store(manifest.parent / "caches/memdpc.lmdb")  # named after the run, in lower case
    extractor = find_extractor(f"run:{trained}").built()
    frame = extractor.prepare(np.zeros((48, 64, 3), np.uint8))
    assert (store.width, len(store["a"].values), frame.shape) == (512, 4, (40, 40, 3))

    assert extract(manifest, "resnet18", "--weights", trained / "backbone.safetensors", *flags(TRAINED)).exit_code == 0
    published = open_store(manifest.parent / "caches/resnet18.lmdb")
    assert published.recipe.identity == store.recipe.identity  # equal numbers, equal identities
    np.testing.assert_allclose(published["a"].values, store["a"].values, rtol=1e-4)


def flags(options: dict[str, Any]) -> list[str]:
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def test_the_options_of_training_are_the_defaults_and_can_be_overridden(trained, manifest):
    shown = CliRunner().invoke(root, ["extract", f"run:{trained}", "--help"])
    assert "40x40" in shown.stdout
    assert "--weights" not in shown.stdout
    assert extract(manifest, f"run:{trained}", "--resize", "32x36", "--name", "small").exit_code == 0
    options = open_store(manifest.parent / "caches/small.lmdb").recipe.identity["options"]
    assert (options["resize"], options["fps"]) == ("32x36", 2.0)
    refused = extract(manifest, f"run:{trained}", "--weights", "DEFAULT")
    assert refused.exit_code == 2
    assert "No such option" in refused.stderr
    assert "--weights" in refused.stderr


@pytest.mark.parametrize(
    ("written", "name"), [("runs/a", "a"), ("runs/a/", "a"), ("runs/../runs/A", "a"), ("runs/x:y", "y")]
)
def test_the_cache_is_named_after_the_runs_folder(tmp_path, monkeypatch, written, name):
    monkeypatch.chdir(tmp_path)
    write_backbone(Path(written), {"default": View("resnet18", {})}, {"x": torch.zeros(1)})
    assert find_extractor(f"run:{written}").cache_name == name
    monkeypatch.chdir(written)
    assert find_extractor("run:.").cache_name == name


def test_a_run_that_was_only_moved_is_the_same(tmp_path):
    write_backbone(tmp_path / "here", {"default": View("resnet18", TRAINED)}, {"x": torch.zeros(1)})
    before = recipe_in_json(f"run:{tmp_path / 'here'}")
    (tmp_path / "here").rename(tmp_path / "there")
    assert recipe_in_json(f"run:{tmp_path / 'there'}").identity == before.identity
    write_backbone(tmp_path / "there", {"default": View("resnet18", TRAINED)}, {"x": torch.ones(1)})
    after = recipe_in_json(f"run:{tmp_path / 'there'}").identity
    assert after["weights"] != before.identity["weights"]


def test_a_backbone_of_another_network_is_refused_when_it_is_loaded(tmp_path):
    write_backbone(tmp_path, {"default": View("torchvision:resnet34", {})}, tensors())
    with pytest.raises(WeightsError, match=r"backbone\.safetensors: does not fit the network: \d+ missing"):
        find_extractor(f"run:{tmp_path}").built().network()


def test_no_run_and_a_run_without_a_backbone_are_said_to_be_so(tmp_path):
    with pytest.raises(ExtractorError, match="nowhere: no such run"):
        find_extractor(f"run:{tmp_path / 'nowhere'}")
    with pytest.raises(ExtractorError, match=r"contains no backbone\.json; it must be a finished run"):
        find_extractor(f"run:{tmp_path}")
    write_backbone(tmp_path, {"default": View("resnet18", {})}, {"x": torch.zeros(1)})
    (tmp_path / "backbone.safetensors").unlink()
    with pytest.raises(ExtractorError, match=r"contains no backbone\.safetensors"):
        find_extractor(f"run:{tmp_path}")


NETWORK = "torchvision:resnet18"
UNUSABLE = [
    (b"", "cannot be read as JSON"),
    (b"\xff\xfe{", "cannot be read as JSON"),
    (b"[" * 100_000, "cannot be read as JSON"),
    ([], "must be an object with the entry 'views'"),
    ({"extractor": NETWORK}, "must be an object with the entry 'views'"),
    ({"extractor": NETWORK, "options": {}, "code": "x"}, "must be an object with the entry 'views'"),
    ({"views": {}, "code": "x"}, "must be an object with the entry 'views', and no others"),
    ({"views": {}}, "'views' must be an object with a view at least"),
    ({"views": [["default", {}]]}, "'views' must be an object"),
    ({"views": {"../x": {}}}, "'views': '../x' cannot be a name"),
    ({"views": {"a/b": {}}}, "cannot be a name"),
    ({"views": {"a#b": {}}}, "cannot be a name"),
    ({"views": {"": {}}}, "cannot be a name"),
    ({"views": {"a\n": {}}}, "cannot be a name"),
    ({"views": {"x" * 41: {}}}, "cannot be a name"),
    ({"views": {"default": []}}, "view 'default': must be an object with the entries 'extractor' and 'options'"),
    ({"views": {"default": {"extractor": NETWORK}}}, "view 'default': must be an object with the entries"),
    ({"views": {"default": {"extractor": NETWORK, "options": {}, "file": "x"}}}, "and no others"),
    ({"views": {"clip": {"extractor": "trap.py:Trap", "options": {}}}}, "not the name of a published network"),
    ({"views": {"clip": {"extractor": NETWORK, "options": {"weights": "/x"}}}}, "has no option 'weights'"),
    ({"views": {"default": {"extractor": "log-mel", "options": {}}}}, "which has no weights"),
    ({"extractor": 3, "options": {}}, "'extractor' is 3, not the name of a published network"),
    ({"extractor": ["resnet18"], "options": {}}, "'extractor' is"),
    ({"extractor": "trap.py:Trap", "options": {}}, "not the name of a published network"),
    ({"extractor": "torchvision:trap.py:Trap", "options": {}}, "not the name of a published network"),
    ({"extractor": "trap.trap:Trap", "options": {}}, "not the name of a published network"),
    ({"extractor": "run:.", "options": {}}, "not the name of a published network"),
    ({"extractor": "torchvision:../trap", "options": {}}, "not the name of a published network"),
    ({"extractor": "torchvision:resnet19", "options": {}}, "'extractor': torchvision has no network 'resnet19'"),
    ({"extractor": "color", "options": {}}, "'extractor' is 'color', which has no weights"),
    ({"extractor": NETWORK, "options": []}, "'options' must be an object"),
    ({"extractor": NETWORK, "options": {"weights": "/etc/passwd"}}, "has no option 'weights'"),
    ({"extractor": NETWORK, "options": {"model": "torchvision:resnet34"}}, "has no option 'model'"),
    ({"extractor": NETWORK, "options": {"place": "worker"}}, "has no option 'place'"),
    ({"extractor": NETWORK, "options": {"resize": 112}}, "'options': the option 'resize' cannot be 112"),
    ({"extractor": NETWORK, "options": {"resize": "../x"}}, "'options': '../x' is not a size"),
    ({"extractor": NETWORK, "options": {"fps": None}}, "the option 'fps' cannot be None"),
    ({"extractor": NETWORK, "options": {"fps": True}}, "the option 'fps' cannot be True"),
    ({"extractor": NETWORK, "options": {"fps": 10**400}}, "the option 'fps' cannot be 1000"),
    ({"extractor": NETWORK, "options": {"fps": float("nan")}}, "the option 'fps' cannot be nan"),
    ({"extractor": NETWORK, "options": {"fps": -1}}, "--fps must be above 0, not -1"),
    ({"extractor": NETWORK, "options": {"frames": 2.5}}, "the option 'frames' cannot be 2.5"),
]


@pytest.mark.parametrize(("content", "text"), UNUSABLE, ids=range(len(UNUSABLE)))
def test_a_description_that_cannot_be_used_is_one_line_and_runs_nothing(tmp_path, monkeypatch, content, text):
    (tmp_path / "backbone.safetensors").write_bytes(b"")
    (tmp_path / "backbone.json").write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    for name in ("trap.py", "torchvision:trap.py"):
        (tmp_path / name).write_text("raise SystemExit('executed')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExtractorError) as error:
        find_extractor(f"run:{tmp_path}")
    assert text in str(error.value)
    assert str(tmp_path / "backbone.json") in str(error.value)
    assert "\n" not in str(error.value)


def test_the_command_line_says_a_bad_run_as_wrong_usage(tmp_path, manifest):
    result = extract(manifest, f"run:{tmp_path / 'nowhere'}")
    assert (result.exit_code, "nowhere: no such run" in result.stderr) == (2, True)


# --- views


def described(**views: str) -> dict[str, View]:
    return {name: View("resnet18", {"resize": size}) for name, size in views.items()}


def test_a_view_is_chosen_by_its_name_and_names_the_cache(tmp_path, manifest):
    write_backbone(tmp_path / "Two", described(default="40x40", context="48x48"), tensors())
    assert find_extractor(f"run:{tmp_path / 'Two'}").built().resize == "40x40"
    assert extract(manifest, f"run:{tmp_path / 'Two'}", f"run:{tmp_path / 'Two'}#context").exit_code == 0
    for name, size in (("two", "40x40"), ("two-context", "48x48")):
        recipe = open_store(manifest.parent / f"caches/{name}.lmdb").recipe
        assert recipe.identity["options"]["resize"] == size
        assert identity_of(reproduced(recipe))["options"]["resize"] == size
    assert recipe.origin["extractor"] == recipe.origin["weights"] == f"run:{tmp_path / 'Two'}#context"
    with pytest.raises(ExtractorError, match=r"no view 'clip'; choose from default, context"):
        find_extractor(f"run:{tmp_path / 'Two'}#clip")


def test_the_only_view_needs_no_name_and_of_several_one_must_be_chosen(tmp_path):
    write_backbone(tmp_path / "one", described(clip="40x40"), tensors())
    found = find_extractor(f"run:{tmp_path / 'one'}")
    assert (found.cache_name, found.built().resize) == ("one", "40x40")
    write_backbone(tmp_path / "two", described(clip="40x40", context="48x48"), tensors())
    with pytest.raises(ExtractorError, match=r"has several views; choose from run:.*two#clip, run:.*two#context"):
        find_extractor(f"run:{tmp_path / 'two'}")


def test_what_release_0_1_0_wrote_is_the_default_view(tmp_path):
    write_backbone(tmp_path, described(default="40x40"), tensors())
    wanted = recipe_in_json(f"run:{tmp_path}").identity
    (tmp_path / "backbone.json").write_text('{"extractor": "resnet18", "options": {"resize": "40x40"}}\n')
    assert recipe_in_json(f"run:{tmp_path}").identity == wanted
    assert recipe_in_json(f"run:{tmp_path}#default").identity == wanted


def test_a_folder_whose_name_holds_the_sign_of_a_view_is_that_folder(tmp_path):
    write_backbone(tmp_path / "a#clip", described(default="40x40"), tensors())
    found = find_extractor(f"run:{tmp_path / 'a#clip'}")
    assert (found.cache_name, found.view) == ("a#clip", "")
    write_backbone(tmp_path / "a", described(clip="48x48"), tensors())
    assert find_extractor(f"run:{tmp_path / 'a#clip'}").built().resize == "40x40"
    assert find_extractor(f"run:{tmp_path / 'a#clip'}#default").cache_name == "a#clip-default"


def test_another_run_takes_the_place_of_one_under_the_same_view(tmp_path):
    for name in ("old", "new"):
        write_backbone(tmp_path / name, described(default="40x40", clip="48x48"), tensors())
    recipe = recipe_in_json(f"run:{tmp_path / 'old'}#clip")
    assert reproduced(recipe, weights=f"run:{tmp_path / 'new'}")[0].name == f"run:{tmp_path / 'new'}#clip"
    assert reproduced(recipe, weights=f"run:{tmp_path / 'new'}#default")[0].view == "default"


@dataclass(frozen=True)
class Heard(LogMelSpectrogram):
    """A network of sound with weights, which nothing built in has yet."""

    weights: str = option("DEFAULT", "Those of a run.")

    def weights_digest(self) -> str:
        return weights_digest(self.weights, Path)


@pytest.fixture
def heard(monkeypatch) -> str:
    monkeypatch.setitem(BUILT_IN, "heard", (f"{__name__}:Heard", "For this test."))
    return "heard"


def test_a_second_backbone_is_for_sound(tmp_path, heard):
    views = {**described(default="40x40"), "audio": View(heard, {"mels": 8}), "audio.fine": View(heard, {"mels": 40})}
    write_backbone(tmp_path, views, {"x": torch.zeros(1)}, {"x": torch.ones(1)})
    digests = {name: file_digest(tmp_path / name) for name in ("backbone.safetensors", "backbone.audio.safetensors")}
    recipe = recipe_in_json(f"run:{tmp_path}#audio")
    assert recipe.identity["weights"] == digests["backbone.audio.safetensors"]
    assert recipe.identity["options"]["mels"] == 8
    assert recipe_in_json(f"run:{tmp_path}#audio.fine").identity["options"]["mels"] == 40
    assert recipe_in_json(f"run:{tmp_path}").identity["weights"] == digests["backbone.safetensors"]
    assert changed_files(recipe, "") == []
    (tmp_path / "backbone.audio.safetensors").unlink()
    with pytest.raises(ExtractorError, match=r"contains no backbone\.audio\.safetensors"):
        find_extractor(f"run:{tmp_path}#audio")


def test_sound_and_frames_do_not_change_places(tmp_path, heard):
    for views, text in (
        ({"audio": View("resnet18")}, "it must be an extractor of sound"),
        ({"default": View(heard)}, "it must be no extractor of sound; that is the view 'audio'"),
    ):
        with pytest.raises(ExtractorError, match=text):
            write_backbone(tmp_path / "run", views, {"x": torch.zeros(1)}, {"x": torch.zeros(1)})
    with pytest.raises(ExtractorError, match="is for sound, which has no tensors"):
        write_backbone(tmp_path / "run", {"audio": View(heard)}, {"x": torch.zeros(1)})
    assert not (tmp_path / "run").exists()


# --- writing


def test_a_backbone_is_written_whole_over_an_older_one(tmp_path):
    shared = torch.arange(6.0).reshape(2, 3)
    write_backbone(tmp_path, {"default": View("resnet18", {})}, {"x": torch.zeros(1)})
    write_backbone(
        tmp_path, {"default": View("r3d_18", {"frames": 8})}, {"a": shared.T, "b": shared.T}
    )  # neither contiguous nor apart
    found = load_file(tmp_path / "backbone.safetensors")
    assert all(torch.equal(found[name], shared.T) for name in "ab")
    assert read_backbone(f"run:{tmp_path}").built().window == (8, 15.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backbone.json", "backbone.safetensors"]


def test_nothing_is_written_that_could_not_be_read(tmp_path):
    for extractor, options in (("mine.py:Own", {}), ("color", {}), ("resnet18", {"bins": 3}), ("resnet18", {"fps": 0})):
        with pytest.raises(ExtractorError):
            write_backbone(tmp_path / "run", {"default": View(extractor, options)}, {"x": torch.zeros(1)})
    assert not (tmp_path / "run").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_backbone(tmp_path / "file", {"default": View("resnet18", {})}, {"x": torch.zeros(1)})


# --- run:DIR as weights


def test_a_runs_backbone_can_be_the_weights_of_a_published_network(trained, manifest):
    relative = os.path.relpath(trained)
    assert extract(manifest, "resnet18", "--weights", f"run:{relative}", *flags(TRAINED)).exit_code == 0
    recipe = open_store(manifest.parent / "caches/resnet18.lmdb").recipe
    assert recipe.identity["weights"] == file_digest(trained / "backbone.safetensors")
    assert recipe.origin["weights"] == f"run:{Path(relative).absolute()}"


def test_weights_of_a_run_that_has_none_fail_with_one_line(tmp_path, manifest):
    for run, text in ((tmp_path / "nowhere", "no such run"), (tmp_path, "contains no backbone.safetensors")):
        result = extract(manifest, "resnet18", "--weights", f"run:{run}")
        assert result.exit_code == 1
        assert isinstance(result.exception, WeightsError)
        assert str(result.exception).startswith(f"{run}: ")
        assert text in str(result.exception)
