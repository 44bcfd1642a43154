"""Names that lead to the files of a run, and names that lead to classes."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from egotools.derive.lookup import BUILT_IN, find_derivation
from egotools.derive.pool import Pool
from egotools.errors import ExtractorError, StoreError, WeightsError
from egotools.extractors.names import FoundExtractor, find_known, weights_option
from egotools.extractors.own_code import check_trusted, checked, code_of, load_source
from egotools.extractors.reproduction import name_in, numbers_in
from egotools.stores import Recipe
from egotools.weights.run_files import backbone_file, is_for_sound, run_and_view


@pytest.mark.parametrize(
    ("name", "folder", "view"),
    [
        ("run:r", "r", ""),
        ("run:r#clip", "r", "clip"),
        ("run:a#b/r", "a#b/r", ""),
        ("run:a#b/r#audio.x", "a#b/r", "audio.x"),
        ("run:r#", "r#", ""),
        ("run:#clip", "#clip", ""),
    ],
)
def test_the_view_stands_after_the_last_sign_of_the_last_part(name, folder, view, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found, said = run_and_view(name)
    assert (str(found), said) == (folder, view)


def test_a_folder_that_has_the_sign_in_its_own_name_is_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r#clip").mkdir()
    assert [str(part) for part in run_and_view("run:r#clip")] == ["r#clip", ""]
    assert [str(part) for part in run_and_view("run:r#clip#clip")] == ["r#clip", "clip"]


def test_views_for_sound_have_tensors_of_their_own(tmp_path):
    assert [is_for_sound(view) for view in ("audio", "audio.x", "audiobook", "", "clip.audio")] == [
        True, True, False, False, False,
    ]  # fmt: skip
    (tmp_path / "backbone.safetensors").write_bytes(b"")
    assert backbone_file(tmp_path, "clip").name == "backbone.safetensors"
    with pytest.raises(WeightsError, match=r"contains no backbone\.audio\.safetensors"):
        backbone_file(tmp_path, "audio.x")
    with pytest.raises(WeightsError, match="gone: no such run"):
        backbone_file(tmp_path / "gone", "")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("resnet18", ""),
        ("torchvision:resnet18", ""),
        ("my.package:Mine", "my.package"),
        ("run:my.package", ""),
        ("run:mine.py:Mine", ""),
        ("my.2package:Mine", ""),
    ],
)
def test_only_files_and_packages_are_code_of_the_users_own(name, code):
    assert code_of(name) == code
    if code:
        check_trusted(name, {code})
        with pytest.raises(ExtractorError, match=f"--trust {code}"):
            check_trusted(name, {"my"})
    else:
        check_trusted(name, ())


def test_a_file_is_known_by_its_real_path(tmp_path):
    (tmp_path / "link.py").symlink_to(tmp_path / "mine.py")
    assert code_of(f"{tmp_path}/link.py:Mine") == code_of(f"{tmp_path}/./mine.py:Mine") == str(tmp_path / "mine.py")


def test_a_file_is_imported_once_and_again_when_its_text_changes(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("values = [1]\n")
    first = load_source(file)
    assert load_source(file) is first
    file.write_text("values = [2]\n")
    assert (load_source(file).values, first.values) == ([2], [1])
    for text, said in (("import no_such_module\n", "no_such_module"), ("def (\n", "cannot be imported")):
        file.write_text(text)
        for _ in range(2):  # nothing of the first try stays
            with pytest.raises(ExtractorError, match=said):
                load_source(file)
    with pytest.raises(ExtractorError, match="no such file"):
        load_source(tmp_path / "gone.py")


def test_a_class_needs_the_members_a_default_for_each_field_and_a_place():
    @dataclass(frozen=True)
    class Whole:
        size: int = 3

        def rows(self, clip):
            return None

    @dataclass(frozen=True)
    class Bare:
        size: int

        def rows(self, clip):
            return None

    @dataclass
    class Thawed:
        def rows(self, clip):
            return None

    class Elsewhere(Whole):
        place = "cloud"

    assert checked(Whole, "x") is Whole
    for kind, said in ((Bare, "'size' needs a default"), (Thawed, "frozen"), (Elsewhere, "'cloud'"), (3, "class")):
        with pytest.raises(ExtractorError, match=said):
            checked(kind, "x")
    with pytest.raises(ExtractorError, match="'x' is not an extractor"):
        checked(dataclass(frozen=True)(type("Empty", (), {})), "x")


def test_a_cache_is_called_by_the_last_part_of_the_name_and_the_view():
    names = {"csn": "csn", "timm:ViT_B": "vit_b", "a/mine.py:Mine": "mine", "run:runs/A": "a"}
    for name, expected in names.items():
        assert FoundExtractor(name, object).cache_name == expected
    assert FoundExtractor("run:runs/A#clip", object, view="clip").cache_name == "a-clip"


def test_fixed_options_win_over_given_ones_and_these_over_those_of_the_run():
    @dataclass(frozen=True)
    class Kind:
        model: str = "m"
        size: int = 1
        weights: str = "w"

    found = FoundExtractor("x", Kind, {"model": "fixed"}, defaults={"size": 2, "weights": "trained"})
    assert found.built() == Kind("fixed", 2, "trained")
    assert found.built(size=3) == Kind("fixed", 3, "trained")
    assert weights_option(Kind) == "weights"
    assert weights_option(type("Other", (), {"weights_option": "pca"})) == "pca"


def test_names_are_known_or_none_and_derivations_are_suggested():
    assert find_known("color").fixed == {}
    assert find_known("nothing") is None
    assert find_known("mine.py:Mine") is None
    assert find_derivation("pool") is Pool
    with pytest.raises(StoreError, match="unknown derivation 'pol'; did you mean 'pool'"):
        find_derivation("pol")
    with pytest.raises(StoreError, match=f"choose from {', '.join(BUILT_IN)}"):
        find_derivation("zzz")


@pytest.mark.parametrize(
    ("name", "weights", "expected"),
    [
        ("csn", None, "csn"),
        ("csn", "other.pth", "csn"),
        ("run:a#clip", None, "run:a#clip"),
        ("run:a#clip", "run:b", "run:b#clip"),
        ("run:a#clip", "run:b#other", "run:b#other"),
        ("run:a", "run:b", "run:b"),
        ("run:a#clip", "own.pth", "resnet18"),
    ],
)
def test_a_recipe_names_its_extractor_or_another_run_with_its_view(name, weights, expected):
    recipe = Recipe({"extractor": "resnet18"}, {"extractor": name})
    assert name_in(recipe, weights=weights) == expected


def test_a_recipe_without_a_name_or_with_unknown_numbers_cannot_be_rebuilt():
    with pytest.raises(ExtractorError, match="does not name an extractor"):
        name_in(Recipe({"imported": {}}))
    assert numbers_in(Recipe({})) == ("float32", "float32")
    assert numbers_in(Recipe({"precision": "bf16", "dtype": "float16"})) == ("bf16", "float16")
    for entry in ({"precision": "fp8"}, {"dtype": "int8"}):
        (value,) = entry.values()
        with pytest.raises(ExtractorError, match=f"'{value}'"):
            numbers_in(Recipe(entry))
