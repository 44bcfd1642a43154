"""`egotools derive similarity`: its caches, what they learned, and that both change together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root

from egotools.derive import fitted
from egotools.derive import similarity as module
from egotools.derive.deriving import Derived, Made, derive
from egotools.derive.fitted import file_of, read_learned
from egotools.derive.similarity import Similarity, assign
from egotools.errors import ManifestError, StoreError
from egotools.manifests.table import write_manifest
from egotools.progress import no_progress
from egotools.rebuild.planning import RebuildOptions
from egotools.rebuild.quick_status import QuickStatus
from egotools.rebuild.rebuilding import HowToRebuild, rebuild
from egotools.stores import Recipe, Source, open_store, open_writer
from egotools.stores.importing import Keys, import_arrays
from egotools.stores.merge import convert
from egotools.stores.store import classes_of
from egotools.types import Clip, Rows

TRAIN, OTHERS, WIDTH = 40, 20, 16
METHODS = ["kde", "cosine_mean", "cosine_threshold", "fractional_mean", "euclidean_to_prototypes_classes"]
METHODS.append("fractional_to_prototypes_classes")


def features(seed: int = 0) -> dict[str, np.ndarray]:
    """Three crowds of clips, far from each other."""
    rng = np.random.default_rng(seed)
    centers = 8 * rng.normal(size=(3, WIDTH))
    rows = centers[np.arange(TRAIN + OTHERS) % 3] + 0.1 * rng.normal(size=(TRAIN + OTHERS, WIDTH))
    return {f"v{at:02}": row.astype(np.float32)[np.newaxis] for at, row in enumerate(rows)}


def make_cache(path: Path, clips: dict[str, np.ndarray], extractor: str = "hrnet") -> Path:
    path.unlink(missing_ok=True)
    with open_writer(path, Recipe({"extractor": extractor})) as writer:
        for name, values in clips.items():
            writer.append(name, Rows(values, np.tile([1.0, 3.0], (len(values), 1))))
            writer.finish(name, Source(""))
        writer.seal()
    return path


def make_fresh(folder: Path, clips: dict[str, np.ndarray]) -> None:
    """`hrnet.lmdb` as a cache that a rebuild finds fresh: imported from a file that is there."""
    np.savez(folder / "hrnet.npz", id=list(clips), values=stacked(clips))
    import_arrays(folder / "hrnet.npz", folder / "hrnet.lmdb", Keys("id", "values"), overwrite=True)


def make_manifest(path: Path, train: int = TRAIN, total: int = TRAIN + OTHERS) -> Path:
    clips = [
        Clip(
            f"v{at:02}",
            Path(),
            split="train" if at < train else "val",
            labels={"action_labels": "jump; run" if at % 2 else "sit"},
        )
        for at in range(total)
    ]
    write_manifest(path, clips)
    return path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `hrnet.lmdb` and `m.csv`; t-SNE gives the two coordinates that tell crowds apart."""
    monkeypatch.setattr(module, "tsne", lambda seed: lambda train: 4 * train[:, :2])
    make_cache(tmp_path / "hrnet.lmdb", features())
    make_manifest(tmp_path / "m.csv")
    return tmp_path


def wanted(place: Path, method: str = "dbscan", *, out: str = "similarity.lmdb", **options: object) -> Derived:
    config = Similarity(method=method, manifest=place / "m.csv", **options)
    return Derived(place / out, "similarity", config, {"hrnet": place / "hrnet.lmdb"})


def column(cache: Path) -> dict[str, float]:
    store = open_store(cache)
    return {id: float(store[id].values[0, 0]) for id in store if len(store[id].values)}


def stacked(clips: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate(list(clips.values()))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if "fitted" in path.name or path.name.startswith("."))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(root, ["derive", "similarity", *map(str, arguments)])


# The cache


def test_clips_of_a_crowd_share_a_cluster(place):
    made = derive(wanted(place))
    found = column(made.cache)
    crowds = [{found[f"v{at:02}"] for at in range(TRAIN + OTHERS) if at % 3 == crowd} for crowd in range(3)]
    assert sorted(crowd.pop() for crowd in crowds) == [0, 1, 2]
    assert not any(crowds)
    store = open_store(made.cache)
    assert (store.dtype.name, store.width, store["v00"].times.tolist()) == ("float32", 1, [[1.0, 3.0]])
    assert classes_of(store.recipe) == 3
    assert {name: store.recipe.origin["learned"][name] for name in ("clusters", "noise_share", "eps")} == {
        "clusters": 3,
        "noise_share": 0,
        "eps": 1.25,
    }


def test_a_new_video_gets_the_cluster_of_its_crowd(place):
    cache = derive(wanted(place)).cache
    found = column(cache)
    new = stacked(features()) + np.float32(0.05)
    for source in (cache, file_of(cache, open_store(cache).recipe), read_learned(cache)):
        index = assign(source, new)
        assert index.dtype == np.float32
        assert index[:, 0].tolist() == list(found.values())
    with pytest.raises(ValueError, match=r"rows of 16 values, but these are \(60, 5\)"):
        assign(cache, new[:, :5])


@pytest.mark.parametrize("method", METHODS)
def test_what_new_clips_get_is_what_the_same_clips_have_in_the_cache(place, method):
    cache = derive(wanted(place, method)).cache
    store = open_store(cache)
    there = stacked({id: store[id].values for id in store})
    np.testing.assert_allclose(assign(cache, stacked(features())), there, rtol=1e-6)
    assert np.isfinite(there).all()
    assert classes_of(store.recipe) is None
    assert there.shape[1] == (3 if method.endswith("classes") else 1)


def test_clips_outside_the_density_get_the_largest_score_inside_it(place):
    far = {**features(), "far": np.full((1, WIDTH), 1e4, np.float32)}
    make_cache(place / "hrnet.lmdb", far)
    found = column(derive(wanted(place, "kde")).cache)
    assert found["far"] == max(found.values())


def test_the_share_of_similar_clips_is_among_those_of_the_manifest(place):
    make_cache(place / "hrnet.lmdb", {**features(), "stranger": features()["v00"]})
    cache = derive(wanted(place, "cosine_threshold", threshold=0.2)).cache
    found, kept = column(cache), read_learned(cache)
    assert kept["reference"].shape == (TRAIN + OTHERS, 10)
    unit = kept["reference"] / np.linalg.norm(kept["reference"], axis=1, keepdims=True)
    assert found["stranger"] == found["v00"] == pytest.approx(np.mean(unit @ unit[0] >= 0.2))
    assert found["v00"] > 1 / 60  # others than itself


def test_prototypes_are_in_the_order_of_their_names(place):
    made = derive(wanted(place, "euclidean_to_prototypes_classes"))
    recipe = open_store(made.cache).recipe
    assert recipe.origin["learned"]["names"] == ["jump", "run", "sit"]
    with pytest.raises(ManifestError, match="no column 'verbs'"):
        derive(wanted(place, "euclidean_to_prototypes_classes", labels="verbs", out="other.lmdb"))


def test_clips_of_several_rows_count_as_their_mean_and_clips_without_rows_stay_so(place):
    clips = features()
    clips["v00"] = np.concatenate([clips["v00"] - 1, clips["v00"] + 1])
    clips["v59"] = np.empty((0, WIDTH), np.float32)
    alone = column(derive(wanted(place)).cache)
    make_cache(place / "hrnet.lmdb", clips)
    made = derive(wanted(place, out="several.lmdb"))
    assert column(made.cache) == {id: index for id, index in alone.items() if id != "v59"}
    assert open_store(made.cache)["v59"].values.shape == (0, 1)
    assert made.remarks[0] == "1 clips of the manifest have no rows: v59"


@pytest.mark.parametrize(("noise", "index", "width"), [("last", 2, 3), ("zero", -1, 3), ("own", 3, 4)])
def test_clips_of_no_cluster_are_where_noise_says(place, noise, index, width):
    clips = features()
    clips["v00"] = clips["v00"] + 30 * np.sign(clips["v00"])
    make_cache(place / "hrnet.lmdb", clips)
    cache = derive(wanted(place, noise=noise)).cache
    assert column(cache)["v00"] == index
    assert classes_of(open_store(cache).recipe) == width
    assert assign(cache, clips["v00"]).tolist() == [[index]]


def test_other_features_than_those_of_m3s_are_told_about_the_radius(place):
    make_cache(place / "hrnet.lmdb", features(), "color")
    config = wanted(place).derivation
    said = "eps 1.25 is the value for hrnet"
    assert not any(said in line for line in derive(wanted(place)).remarks)  # by its name
    (place / "hrnet.lmdb").rename(place / "mine.lmdb")
    made = derive(Derived(place / "x.lmdb", "similarity", config, {"mine": place / "mine.lmdb"}))
    assert any(said in line for line in made.remarks)
    make_cache(place / "other.lmdb", features(), "csn")
    made = derive(Derived(place / "y.lmdb", "similarity", config, {"other": place / "other.lmdb"}))
    assert open_store(made.cache).recipe.origin["learned"]["eps"] == 0.9


def test_few_training_clips_do_with_less_and_each_remark_comes_once(place):
    make_manifest(place / "m.csv", train=4)
    made = derive(wanted(place, eps=1e-3))
    assert made.remarks == (
        "3 principal components instead of 10, for 4 training clips",
        "perplexity 1 instead of 30, for 4 training clips",
        "no clusters were found; try a larger --eps",
    )
    assert set(column(made.cache).values()) == {-1}
    assert classes_of(open_store(made.cache).recipe) == 1
    assert assign(made.cache, stacked(features()))[:, 0].tolist() == [-1] * 60
    assert made.remarks == tuple(open_store(made.cache).recipe.origin["learned"]["remarks"])


def test_with_as_few_features_as_components_nothing_is_projected(place):
    make_cache(place / "hrnet.lmdb", {id: rows[:, :10] for id, rows in features().items()})
    assert "pca_mean" not in read_learned(derive(wanted(place, "kde")).cache)


def test_two_training_clips_go_through_the_true_embedding(tmp_path):
    make_cache(tmp_path / "hrnet.lmdb", features())
    make_manifest(tmp_path / "m.csv", train=2)
    assert derive(wanted(tmp_path)).clips == TRAIN + OTHERS


# What is refused


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda clips: {**clips, "v03": clips["v03"] * np.nan}, "1 clips with NaN or infinite features, such as 'v03'"),
        (lambda clips: {id: rows * 0 + 1 for id, rows in clips.items()}, "40 training clips: the rows vary in 0 direc"),
        (lambda clips: {"v00": clips["v00"], "v55": clips["v55"]}, "1 clips of the split 'train' of .*m.csv have rows"),
    ],
    ids=["NaN", "constant", "too few"],
)
def test_unusable_features_are_refused_in_one_line(place, change, problem):
    make_cache(place / "hrnet.lmdb", change(features()))
    with pytest.raises(StoreError, match=problem):
        derive(wanted(place))
    assert files(place) == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "--manifest is needed"),
        (["--manifest", "m.csv", "--eps", "0"], "--eps must be above 0"),
        (["--manifest", "m.csv", "--components", "0"], "--components must be above 0"),
        (["--manifest", "m.csv", "--method", "tsne"], "is not one of"),
    ],
)
def test_unusable_options_are_wrong_usage(place, arguments, problem):
    done = run("--features", place / "hrnet.lmdb", "--out", place, *arguments)
    assert done.exit_code == 2
    assert problem in done.output


def test_the_command_makes_a_cache_for_each_input_named_after_it(place):
    make_cache(place / "csn.lmdb", features(1), "csn")
    line = ["--features", place / "hrnet.lmdb", "--features", place / "csn.lmdb", "--manifest", place / "m.csv"]
    done = run(*line, "--method", "dbscan", "--out", place / "out", "--json")
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert [Path(each["cache"]).name for each in made] == ["similarity-hrnet.lmdb", "similarity-csn.lmdb"]
    assert run(*line, "--out", place / "out").stdout.count("there already") == 2
    done = run(*line, "--out", place / "out", "--method", "kde")
    assert done.exit_code == 1
    assert "options.method='dbscan', not 'kde'" in done.stderr


def test_remarks_are_told_on_stderr(place):
    make_manifest(place / "m.csv", train=12)
    done = run("--features", place / "hrnet.lmdb", "--manifest", place / "m.csv", "--out", place / "out")
    assert "similarity-hrnet.lmdb: perplexity 3.67 instead of 30, for 12 training clips" in done.stderr


# What was learned, and the cache, change together


def test_the_file_beside_the_cache_has_its_digest_in_its_name(place):
    cache = derive(wanted(place)).cache
    said = open_store(cache).recipe.origin["learned"]
    assert files(place) == [said["file"]] == [f"similarity.lmdb.fitted-{said['digest']}.npz"]


@pytest.mark.parametrize("suffix", [".lmdb", ".h5"])
@pytest.mark.parametrize("keep_old", [False, True])
def test_a_rebuild_renews_both(place, suffix, keep_old):
    make_fresh(place, features())
    cache = derive(wanted(place, out=f"s{suffix}")).cache
    old, found = files(place), column(cache)
    assert QuickStatus()(cache).state == "fresh"
    make_manifest(place / "m.csv", train=TRAIN - 5)
    assert QuickStatus()(cache).remarks == [f"options.manifest was {manifest_digest(cache)}"]
    (outcome,) = rebuild([cache], RebuildOptions(), HowToRebuild(keep_old=keep_old), progress=no_progress)
    assert outcome.state == "fresh", outcome.remarks
    assert files(place) == [*([".old"] if keep_old else []), file_of(cache, open_store(cache).recipe).name]
    assert old[0] not in files(place)
    assert assign(cache, stacked(features())).shape == (60, 1)
    if keep_old:
        assert column(outcome.kept) == found
        assert assign(outcome.kept, stacked(features()))[:, 0].tolist() == list(found.values())


def manifest_digest(cache: Path) -> str:
    from egotools.config import file_digest

    was = open_store(cache).recipe.identity["options"]["manifest"]
    return f"{was!r}, is now {file_digest(cache.parent / 'm.csv')!r}"


@pytest.mark.parametrize("killed_at", ["replace", "sync_folder"])
def test_whatever_moment_a_rebuild_is_killed_at_the_cache_and_what_it_learned_are_of_one_making(
    place, monkeypatch, killed_at
):
    make_fresh(place, features())
    cache = derive(wanted(place)).cache
    found = column(cache)
    make_fresh(place, features(7))
    with monkeypatch.context() as patched:
        patched.setattr(fitted, killed_at, dies_at_the_second(getattr(fitted, killed_at)))
        with pytest.raises(KeyboardInterrupt):
            rebuild([cache], RebuildOptions(), HowToRebuild(), progress=no_progress)
    assert column(cache) == found
    assert assign(cache, stacked(features()))[:, 0].tolist() == list(found.values())
    (outcome,) = rebuild([cache], RebuildOptions(), HowToRebuild(), progress=no_progress)
    assert outcome.state == "fresh"
    assert files(place) == [file_of(cache, open_store(cache).recipe).name]
    assert assign(cache, stacked(features(7)))[:, 0].tolist() == list(column(cache).values())


def dies_at_the_second(function):
    """Lets the first call through: of `derive`, into the folder beside the cache."""
    calls = []

    def call(*arguments):
        calls.append(arguments)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return function(*arguments)

    return call


@pytest.mark.parametrize("loss", ["gone", "another"])
def test_a_cache_without_what_it_learned_is_stale_and_made_again(place, loss):
    make_fresh(place, features())
    cache = derive(wanted(place)).cache
    path = file_of(cache, open_store(cache).recipe)
    path.unlink() if loss == "gone" else path.write_bytes(b"x")
    problem = "is gone" if loss == "gone" else "does not hold what it learned"
    with pytest.raises(StoreError, match=f"{problem}; restore it, or run 'egotools rebuild"):
        assign(cache, stacked(features()))
    with pytest.raises(StoreError, match=f"{problem}; run 'egotools rebuild"):
        derive(wanted(place))
    assert QuickStatus()(cache).state == "stale"
    (outcome,) = rebuild([cache], RebuildOptions(), HowToRebuild(), progress=no_progress)
    assert outcome.state == "fresh"
    assert assign(cache, stacked(features())).shape == (60, 1)


def test_a_cache_that_learned_nothing_says_so(place):
    with pytest.raises(StoreError, match="holds nothing learned"):
        read_learned(place / "hrnet.lmdb")
    (place / "x.npz").write_text("no zip")
    with pytest.raises(StoreError, match=r"x\.npz: not readable"):
        assign(place / "x.npz", stacked(features()))


def test_a_second_cache_beside_it_keeps_its_own(place):
    first = derive(wanted(place)).cache
    second = derive(wanted(place, out="similarity.h5", seed=1)).cache
    assert len(files(place)) == 2
    assert assign(first, stacked(features())).tolist() == assign(second, stacked(features())).tolist()


def test_cluster_numbers_are_never_halved(place):
    cache = derive(wanted(place)).cache
    with pytest.raises(StoreError, match="cluster indices"):
        convert(cache, place / "half.lmdb", dtype="float16")
    with pytest.raises(StoreError, match="cluster indices"):
        derive(Derived(place / "half.lmdb", "similarity", wanted(place).derivation, {"hrnet": cache}, "float16"))


def test_what_is_there_is_left_as_it_is(place):
    made = derive(wanted(place))
    assert derive(wanted(place)) == Made(made.cache, made.clips, made.rows, made.width, False)
    shutil.rmtree(place / "nothing", ignore_errors=True)
    assert len(files(place)) == 1
