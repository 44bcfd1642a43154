"""No code that only a cache or a run names is ever imported, whichever entry names it and whatever reads it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root
from tabled import write_cache, write_table

from egotools.errors import EgotoolsError
from egotools.extractors.own_code import code_of
from egotools.stores import Recipe

IDS = [f"clip/{number}" for number in range(12)]
OPTIONS = {"fps": 1.0, "frames": None, "stride": None, "bins": 8}
PAYLOAD = "from pathlib import Path\nPath({canary!r}).touch()\nfrom egotools.extractors.color import Color\n"


class Place:
    """A folder with code that leaves a canary when it is imported, a manifest, and names that mean that code."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.canary, self.manifest = folder, folder / "CANARY", folder / "m.csv"
        text = PAYLOAD.format(canary=str(self.canary))
        package = folder / "strangers_package"
        for path in (
            folder / "payload.py",
            package / "payload.py",
            package / "__init__.py",
            folder / "timm:payload.py",
        ):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        self.code = {"file": f"{folder}/payload.py:Color", "package": "strangers_package.payload:Color"}
        for number, name in enumerate(
            [*self.code.values(), f"timm:{folder}/payload.py:Color", "timm:payload.py:Color"]
        ):
            run = folder / f"run{number}"
            run.mkdir()
            (run / "backbone.safetensors").write_bytes(b"")
            (run / "backbone.json").write_text(json.dumps({"extractor": name, "options": {}}))
        self.names = [*self.code.values(), "timm:payload.py:Color", "payload.py:Color"]
        self.names += [f"run:{folder}/run{number}" for number in range(4)] + [f"run:run:{folder}/run0"]
        scores = np.linspace(0.1, 0.9, len(IDS)).round(3)
        write_table(self.manifest, IDS, {"label": ["a", "b"] * 6, "memorability": scores}, ["train"] * 8 + ["val"] * 4)

    def recipe(self, *, identity: Any = None, origin: Any = None) -> Recipe:
        """That of a cache of colors, with other entries."""
        usual = {"extractor": "color", "version": 1, "options": OPTIONS, "precision": "float32", "dtype": "float32"}
        where = {"manifest": str(self.manifest), "manifest_digest": "", "extractor": "color", "weights": None}
        return Recipe({**usual, **(identity or {})}, {**where, **(origin or {})})


ENTRIES: dict[str, Callable[[Place, str], Recipe]] = {
    "identity.extractor": lambda at, name: at.recipe(identity={"extractor": name}),
    "origin.extractor": lambda at, name: at.recipe(origin={"extractor": name}),
    "identity behind a run": lambda at, name: at.recipe(
        identity={"extractor": name}, origin={"extractor": f"run:{at.folder}"}
    ),
    "identity behind a run of nobody": lambda at, name: at.recipe(
        identity={"extractor": name}, origin={"extractor": "run:/nowhere", "weights": name}
    ),
    "both": lambda at, name: at.recipe(identity={"extractor": name}, origin={"extractor": name}),
    **{
        f"options.{option}": lambda at, name, option=option: at.recipe(  # type: ignore[misc]
            identity={"options": {**OPTIONS, option: name}, "extractor": kind_with(option)},
            origin={"extractor": kind_with(option)},
        )
        for option in ("model", "weights", "pca", "bins", "only")
    },
    "origin.weights": lambda at, name: at.recipe(
        identity={"extractor": "torchvision:resnet18", "options": {}}, origin={"extractor": "resnet18", "weights": name}
    ),
    "weights of m3s": lambda at, name: at.recipe(
        identity={"extractor": "m3s", "options": {}}, origin={"extractor": "m3s", "weights": name}
    ),
    "defaults": lambda at, name: at.recipe(
        origin={"extractor": f"run:{at.folder}/run0", "defaults": {"model": name, "weights": name}}
    ),
    "derivation": lambda at, name: Recipe({"derivation": name, "options": {}}, {"inputs": {"x": name}}),
    "inputs": lambda at, name: Recipe(
        {"derivation": "pool", "options": {}, "inputs": {name: name}}, {"inputs": {name: name}}
    ),
    "files": lambda at, name: Recipe(
        {"derivation": "similarity", "options": {"manifest": name}},
        {"inputs": {"m": str(at.manifest)}, "files": {"manifest": name}},
    ),
    "learned": lambda at, name: Recipe(
        {"derivation": "similarity", "options": {}}, {"inputs": {}, "learned": {"file": name, "digest": name}}
    ),
    "source": lambda at, name: at.recipe(identity={"source": name}, origin={"extractor": name}),
}  # fmt: skip


def kind_with(option: str) -> str:
    return {"pca": "m3s", "only": "m3s", "bins": "color"}.get(option, "resnet18")


def lines(cache: Path, at: Place) -> dict[str, list[object]]:
    """Every command that reads a recipe."""
    joined = ["--features", cache, "--manifest", at.manifest]
    new = ["--out", cache.with_suffix(".out")]
    weights = f"{cache.stem}="
    return {
        "cache ls": ["cache", "ls", cache],
        "cache info": ["cache", "info", cache],
        "rebuild": ["rebuild", cache],
        "rebuild --dry-run": ["rebuild", cache, "--dry-run"],
        "rebuild --weights": ["rebuild", cache, "--weights", f"{weights}random:0"],
        "rebuild --weights --dry-run": ["rebuild", cache, "--weights", f"{weights}random:0", "--dry-run"],
        "rebuild --weights run": ["rebuild", cache, "--weights", f"{weights}run:{at.folder}/run0", "--dry-run"],
        "eval knn": ["eval", "knn", *joined, "--label", "label", "--k", "1"],
        "eval probe": ["eval", "probe", *joined, "--label", "label", "--c", "1", "--test-split", "val"],
        "train pca": ["train", "pca", *joined, "--components", "1", *new],
        "derive": ["derive", "pool", "--features", cache, *new],
    }


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    place = Place(tmp_path)
    yield place
    assert not place.canary.exists()


def invoke(line: list[Any]) -> Result:
    """What a command does; a mistake is one line, never a traceback."""
    result = CliRunner().invoke(root, [str(part) for part in line])
    assert result.exception is None or isinstance(result.exception, (EgotoolsError, SystemExit)), (
        line,
        result.exception,
    )
    return result


def names_for(entry: str, at: Place) -> list[str]:
    """Every way to name code where an extractor's name stands, the usual two elsewhere."""
    return at.names if "extractor" in entry or "behind" in entry else at.names[:2]


@pytest.mark.parametrize("entry", ENTRIES)
def test_no_command_imports_what_an_entry_of_a_recipe_names(at: Place, entry: str) -> None:
    for number, name in enumerate(names_for(entry, at)):
        cache = write_cache(at.folder / f"x{number}.lmdb", IDS, np.eye(12), ENTRIES[entry](at, name))
        chosen = lines(cache, at)
        if number:  # what only opens a cache did that with the first name
            chosen = {
                what: line for what, line in chosen.items() if what.startswith("rebuild --") or what == "cache ls"
            }
        for what, line in chosen.items():
            invoke(line)
            assert not at.canary.exists(), (what, name)


def training(at: Place, *caches: Path) -> list[object]:
    given = [part for cache in caches for part in ("--features", cache)]
    return ["train", "memorability", *given, "--manifest", at.manifest, "--epochs", "1", "--hidden", "2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run `r`, trained on the cache `x.lmdb` of colors."""
    at = Place(tmp_path_factory.mktemp("trained"))
    cache = write_cache(at.folder / "x.lmdb", IDS, np.random.default_rng(0).normal(size=(12, 5)), at.recipe())
    assert invoke([*training(at, cache), "--out", at.folder / "r"]).exit_code == 0
    return at.folder


@pytest.mark.parametrize("entry", ENTRIES)
def test_no_prediction_imports_what_a_record_of_a_run_names(
    at: Place, entry: str, trained: Path, tiny_video: Path
) -> None:
    run = shutil.copytree(trained / "r", at.folder / "r")
    written = json.loads((run / "features.json").read_text())
    for name in names_for(entry, at)[:4]:
        recipe = ENTRIES[entry](at, name)
        said = {"identity": recipe.identity, "origin": recipe.origin}
        record = {**written["records"]["x"], **said, "file": "files/kept.npz", "inputs": {"y": written["records"]["x"]}}
        pooled = {
            **record,
            "identity": {"derivation": "pool", "options": {}},
            "inputs": {"y": {**record, "file": None}},
        }
        for each in (record, pooled):
            changed = {**written, "records": {"x": each}, "groups": [{**written["groups"][0], **said}]}
            (run / "features.json").write_text(json.dumps(changed))
            assert invoke(["predict", "memorability", "--run", run, tiny_video]).exit_code == 1
            assert not at.canary.exists(), name


def test_no_training_and_no_evaluation_imports_what_a_recipe_names(at: Place, trained: Path) -> None:
    caches = [trained / "x.lmdb"]
    for number, (entry, recipe) in enumerate(ENTRIES.items()):
        if entry != "derivation":  # which no training takes
            values = np.random.default_rng(number).normal(size=(12, 5))
            caches.append(write_cache(at.folder / f"y{number}.lmdb", IDS, values, recipe(at, at.names[number % 2])))
    line = training(at, *caches)
    invoke([*line, "--out", at.folder / "s"])
    invoke([*line, "--init", f"run:{at.folder}/run0", "--out", at.folder / "t"])
    for cache in caches:
        invoke(["eval", "memorability", "--run", trained / "r", "--manifest", at.manifest, "--features", cache])


def test_no_extraction_imports_what_a_runs_description_names(at: Place) -> None:
    line = ["extract", "--manifest", at.manifest, "--out", at.folder / "caches"]
    for number in range(4):
        assert invoke([*line, f"run:{at.folder}/run{number}"]).exit_code == 2
        run = at.folder / f"run{number}/backbone.json"
        name = json.loads(run.read_text())["extractor"]
        for option in ("model", "weights", "resize"):
            run.write_text(json.dumps({"extractor": "resnet18", "options": {option: name}}))
            assert invoke([*line, f"run:{at.folder}/run{number}"]).exit_code in (1, 2)


def test_code_that_weights_hide_behind_a_run_is_named_and_left_alone(at: Place) -> None:
    cache = write_cache(at.folder / "x.lmdb", IDS, np.eye(12), ENTRIES["identity behind a run"](at, at.code["file"]))
    for more in ([], ["--dry-run"]):
        result = invoke(["rebuild", cache, "--weights", "x=random:0", "--json", *more])
        assert result.exit_code == 1
        (said,) = json.loads(result.stdout)["caches"]
        assert said.get("before", said)["state"] == "stale"
        if not more:
            assert f"--trust {at.folder}/payload.py" in said["problem"]


def test_what_is_trusted_runs_however_its_file_is_written(at: Place) -> None:
    absolute, relative = (code_of(f"{path}payload.py:Color") for path in (f"{at.folder}/", "./"))
    assert absolute == relative == str(at.folder.resolve() / "payload.py")
    cache = write_cache(at.folder / "x.lmdb", IDS, np.eye(12), at.recipe(origin={"extractor": "payload.py:Color"}))
    for trusted in ("other.py", "payload"):
        invoke(["rebuild", cache, "--dry-run", "--trust", trusted])
        assert not at.canary.exists()
    invoke(["rebuild", cache, "--dry-run", "--trust", "payload.py"])
    assert at.canary.exists()
    at.canary.unlink()


def test_a_package_is_imported_by_its_whole_name_only(at: Place) -> None:
    name = at.code["package"]
    assert code_of(name) == "strangers_package.payload"
    cache = write_cache(at.folder / "x.lmdb", IDS, np.eye(12), at.recipe(origin={"extractor": name}))
    invoke(["rebuild", cache, "--dry-run", "--trust", "strangers_package"])
