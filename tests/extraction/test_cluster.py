"""The Ray engine, on one Ray that the tests of this file share: rows, deaths of workers, refusals."""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import write_video
from egotools.cli.main import root
from extracted import ODD, assert_same_rows, committed, rows_of, want
from faults import Starter, wait_until

from egotools.errors import EgotoolsError, ExtractorError, MissingExtra
from egotools.extraction.cluster import connection, worker
from egotools.extraction.cluster import driver as cluster
from egotools.extraction.cluster.driver import Cluster, Workers
from egotools.extraction.cluster.worker import Begun, Prepared, ShardMessages, Worker, WorkerSetup
from egotools.extraction.engine import extract
from egotools.extraction.messages import Failure, Piece, ReadingTask
from egotools.extraction.request import Agreement, CacheRequest, Resources
from egotools.manifests.table import write_manifest
from egotools.stores import open_store
from egotools.types import Clip

ray = pytest.importorskip("ray")

pytestmark = pytest.mark.integration

TWO = Cluster(num_workers=2)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A Ray of two CPUs, which this process is connected to."""
    connection.connect(None, 2)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Seven clips of six videos; `5` is bright, for `Deadly`."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(6):
        write_video(folder / f"{number}.mp4", 10 + 5 * number, first=60 if number == 5 else number)
    found = [Clip(str(number), folder / f"{number}.mp4") for number in range(6)]
    return [*found, Clip("part", folder / "4.mp4", 0.5, 1.5)]


def local_rows(clips: Sequence[Clip], folder: Path, name: str) -> dict[str, np.ndarray]:
    wanted = want(folder, name)
    extract(clips, [wanted], resources=Resources(device="cpu", workers=1))
    return rows_of(wanted)


@pytest.fixture(scope="module")
def slow_rows(clips: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """What `Slow` gives for the first five clips."""
    return local_rows(clips[:5], tmp_path_factory.mktemp("slow"), "Slow")


class Watched(Workers):
    """Workers of which one is killed when it has given its first rows."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.processes: list[int] = []
        self.killed: list[int] = []

    def _received(self, remote: Any, answer: Any) -> Iterator[Piece | Failure]:
        if isinstance(answer, Prepared):
            self.processes.append(answer.process)
        for message in super()._received(remote, answer):
            yield message
            if not self.killed:
                self.killed.append(remote.prepared.process)
                os.kill(remote.prepared.process, signal.SIGKILL)


def test_rows_times_and_counts_are_those_of_the_local_engine_though_a_worker_is_killed_midway(address, clips, tmp_path):
    def wanted(folder: Path) -> list[CacheRequest]:
        network = want(folder, "torchvision:squeezenet1_1", weights="random:1", fps=7.0, resize="64x64")
        return [network, *(want(folder, name) for name in ("color", "Backwards", "FileSize", "Slow"))]

    watched: list[Watched] = []

    def engine(wanted: Sequence[CacheRequest], resources: Resources) -> Workers:
        watched.append(Watched(TWO, wanted, resources))
        return watched[0]

    here, there = wanted(tmp_path / "here"), wanted(tmp_path / "there")
    extract(clips, here, resources=Resources(device="cpu", workers=1))
    result = extract(clips, there, resources=Resources(batch_size=4), engine=engine)
    assert watched[0].killed
    assert len(watched[0].processes) == 3
    assert all(count == len(clips) for count in result.done.values()), result
    assert not any(result.failed.values())
    assert result.rows == sum(len(rows) for each in there for rows in rows_of(each).values())
    assert {"decoding", "computing", "starting"} <= result.seconds.keys()
    for one, other in zip(here, there, strict=True):
        assert_same_rows(rows_of(one), rows_of(other))
        for id in rows_of(one):
            np.testing.assert_array_equal(open_store(one.cache)[id].times, open_store(other.cache)[id].times)
        assert open_store(one.cache).recipe.identity == open_store(other.cache).recipe.identity
    assert open_store(there[0].cache).recipe.origin["device"] == "ray, auto"


def test_rows_that_arrive_after_the_end_of_their_shard_are_not_lost(address, clips, tmp_path, monkeypatch):
    """Ray may notice a small answer before a large one that came first."""

    class LatestFirst:
        def __getattr__(self, name: str) -> Any:
            return getattr(ray, name)

        def wait(self, calls: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
            ray.wait(calls, num_returns=1)
            time.sleep(0.2)
            ready, rest = ray.wait(calls, num_returns=len(calls), timeout=0)
            return ready[-1:], [*ready[:-1], *rest]

    monkeypatch.setattr(cluster, "import_ray", LatestFirst)
    request = want(tmp_path, "color")
    result = extract(clips, [request], engine=Cluster(num_workers=1))
    assert result.done[request.cache] == len(clips)
    assert_same_rows(rows_of(request), local_rows(clips, tmp_path / "here", "color"))


@pytest.fixture
def own() -> Iterator[Worker]:
    """A worker in this process."""
    own = Worker()
    yield own
    own._pipeline.close()  # type: ignore[union-attr]


def prepare(own: Worker, wanted: CacheRequest) -> None:
    order = WorkerSetup(Path.cwd(), {ODD: digest_of(ODD)}, Resources("cpu", 1, 1), torch.get_num_threads())
    own.prepare(order, [ray.put([wanted])], [identity_of(wanted)])


def test_a_mistake_in_an_extractor_is_one_line(address, clips, tmp_path):
    with pytest.raises(ExtractorError, match=r"failed on clip '0' \(ZeroDivisionError: a mistake in prepare\); '--eng"):
        extract(clips[:1], [want(tmp_path, "Buggy")], engine=Cluster(num_workers=1))


def test_a_worker_passes_a_mistake_on_as_it_is(address, clips, own, tmp_path):
    wanted = want(tmp_path, "Buggy")
    prepare(own, wanted)
    own.begin(0, [ReadingTask(0, clips[0], (0,))])
    with pytest.raises(ExtractorError) as caught:
        own.more(0)

    @ray.remote
    def more(error: ExtractorError) -> None:
        raise error

    workers, answer = Workers(TWO, [wanted], Resources()), more.remote(caught.value)
    ray.wait([answer])
    workers._calls[answer] = cluster._Remote(None)
    with pytest.raises(ExtractorError, match=r"failed on clip '0' \(ZeroDivisionError: a mistake in prepare\); '--eng"):
        list(workers._next_answer())


def test_a_second_run_has_nothing_to_do_and_needs_no_cluster(clips, tmp_path):
    wanted = want(tmp_path, "Brightness")
    extract(clips, [wanted], resources=Resources(device="cpu", workers=1))
    again = extract(clips, [wanted], engine=Cluster(address="127.0.0.1:1"))
    assert again.skipped[wanted.cache] == len(clips)


def test_workers_give_batches_of_bounded_size_that_together_are_everything(address, clips, own, tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "BATCH_BYTES", 200_000)
    prepare(own, want(tmp_path, "Heavy"))  # rows of 64 KiB
    assert own.begin(7, [ReadingTask(number, clip, (0,)) for number, clip in enumerate(clips)]) == Begun(7, [])
    batches = [own.more(7)]
    while not batches[-1].is_over:
        batches.append(own.more(7))
    assert own.more(7).messages == []
    assert own.more(6) == ShardMessages(6, [], True, batches[-1].seconds, {})
    sizes = [sum(message.units.nbytes for message in batch.messages) for batch in batches]
    assert max(sizes) < 200_000 + (1 << 16)
    rows = [message.rows.tolist() for batch in batches for message in batch.messages if message.clip == 3]
    assert sorted(chain(*rows)) == list(range(25))


def digest_of(path: Path) -> str:
    from egotools.extractors.own_code import source_digest

    return source_digest(path)


def identity_of(wanted: CacheRequest) -> dict[str, Any]:
    from egotools.config import to_json
    from egotools.extraction.recipes import recipe_of

    identity: dict[str, Any] = json.loads(to_json(recipe_of(wanted).identity))
    return identity


def test_a_node_with_another_source_or_other_weights_is_named(address, tmp_path):
    order = WorkerSetup(Path.cwd(), {ODD: "0" * 16}, Resources("cpu", 1, 1), torch.get_num_threads())
    wanted = want(tmp_path, "Brightness")
    with pytest.raises(EgotoolsError, match=r"^node \S+: .*odd_extractors.py differs from the file on the machine"):
        Worker().prepare(order, [ray.put([wanted])], [identity_of(wanted)])
    order = WorkerSetup(Path.cwd(), {ODD: digest_of(ODD)}, Resources("cpu", 1, 1), torch.get_num_threads())
    with pytest.raises(EgotoolsError, match=r"^node \S+: .*Brightness has version=1 here, not 2 as on the machine"):
        Worker().prepare(order, [ray.put([wanted])], [{**identity_of(wanted), "version": 2}])


def test_a_video_that_a_node_does_not_see_ends_the_run(clips, tmp_path):
    workers = Workers(TWO, [want(tmp_path, "color")], Resources())
    remote = cluster._Remote(None, Prepared("far", 1))
    with pytest.raises(EgotoolsError, match=r"0.mp4 exists here but not on node far"):
        list(workers._received(remote, Begun(0, [clips[0].path])))
    assert list(workers._received(remote, Begun(0, [tmp_path / "gone here too.mp4"]))) == []


def test_the_worst_agreement_and_the_sum_of_seconds_are_kept(tmp_path):
    workers = Workers(TWO, [], Resources())
    cache = tmp_path / "a.lmdb"
    for number, centered in enumerate((0.99, 0.985, 0.999)):
        remote = cluster._Remote(None, Prepared("n", number), shard=number)
        workers._remotes.append(remote)
        batch = ShardMessages(number, [], True, {"decoding": 1.5}, {cache: Agreement(0.9999, centered, 8, 0.999)})
        assert list(workers._received(remote, batch)) == []
    assert workers.agreement[cache].centered == 0.985
    assert workers.seconds["decoding"] == 4.5


def test_without_gpus_a_worker_leaves_those_of_its_node_alone():
    assert Workers(Cluster(cpus_per_worker=3), [], Resources()).resources == Resources("cpu", None, 3)
    shared = Workers(Cluster(gpus_per_worker=0.5), [], Resources(workers=4))
    assert shared.resources == Resources("auto", None, 4)


def test_workers_larger_than_any_machine_are_refused(address, clips, tmp_path):
    with pytest.raises(
        EgotoolsError, match=r"a worker of 1000 CPUs and 0 GPUs does not fit on this machine, which has 2 CPUs"
    ):
        extract(clips, [want(tmp_path, "color")], engine=Cluster(cpus_per_worker=1000))
    with pytest.raises(EgotoolsError, match=r"a worker of 1 CPUs and 8 GPUs does not fit"):
        extract(clips, [want(tmp_path, "color")], engine=Cluster(gpus_per_worker=8))


@pytest.mark.parametrize("options", [{"num_workers": 0}, {"cpus_per_worker": 0}, {"gpus_per_worker": 1.5}])
def test_clusters_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match="worker"):
        Cluster(**options)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("127.0.0.1:1", r"127.0.0.1:1 cannot be reached \(.*refused\); is it running"),
        ("127.0.0.1:999999", r"127.0.0.1:999999 cannot be reached"),
        ("ray://127.0.0.1:10001", r"give HOST:PORT"),
        ("somewhere", r"give HOST:PORT"),
    ],
)
def test_a_cluster_that_cannot_be_reached_is_one_clear_line_at_once(wrong, reason, monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray would ask for two minutes"))
    with pytest.raises(EgotoolsError, match=reason) as caught:
        connection.connect(wrong, 1)
    assert "\n" not in str(caught.value)


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"ray is not installed; install it with: pip install 'egotools\[ray\]'"):
        connection.connect(None, 1)


def test_errors_travel_between_processes_as_they_are():
    error = pickle.loads(pickle.dumps(MissingExtra("timm", "timm")))
    assert isinstance(error, MissingExtra)
    assert str(error) == "timm is not installed; install it with: pip install 'egotools[timm]'"


def test_clips_that_kill_their_workers_or_cannot_be_read_are_recorded_and_the_rest_goes_on(
    address, clips, starter: Starter, tmp_path
):
    (tmp_path / "text.mp4").write_text("no video")
    bad = [Clip("text", tmp_path / "text.mp4"), Clip("gone", tmp_path / "gone.mp4")]
    write_manifest(tmp_path / "m.csv", [*clips, *bad])
    line = ["extract", "--engine", "ray", "--address", address, "--num-workers", 1, "--digest", "--json"]
    line += ["--manifest", tmp_path / "m.csv", "--out", tmp_path, f"{ODD}:Deadly", "color", "--bins", 4]
    done = starter.run(line, tmp_path / "said")
    assert done.status == 1, done.stderr
    assert "Traceback" not in done.stderr
    caches = json.loads(done.stdout)["caches"]  # nothing that Ray says of deaths is among it
    deadly, color = (caches[str(tmp_path / f"{name}.lmdb")] for name in ("deadly", "color"))
    failed = {each["id"]: each["error"] for each in deadly["failed"]}
    assert (deadly["done"], failed.keys()) == (6, {"5", "text", "gone"}), done.stderr
    assert "5.mp4: killed its worker twice (node " in failed["5"]
    assert "not a video or sound file" in failed["text"]
    assert color["done"] + len(color["failed"]) == 9
    expected = local_rows(clips[:5] + clips[6:], tmp_path / "here", "Deadly")
    assert_same_rows(expected, rows_of(want(tmp_path, "Deadly")))
    assert open_store(tmp_path / "deadly.lmdb").source("0").digest


@pytest.mark.parametrize("option", ["--address=auto", "--num-workers=2", "--cpus-per-worker=2", "--gpus-per-worker=1"])
def test_options_of_a_cluster_belong_to_its_engine(option, tmp_path):
    line = ["extract", option, "--manifest", str(tmp_path / "m.csv"), "--out", str(tmp_path), "color"]
    done = CliRunner().invoke(root, line)
    assert (done.exit_code, f"{option.partition('=')[0]} is for --engine ray" in done.output) == (2, True)


@pytest.mark.parametrize(
    ("is_own", "number", "status"),
    [(True, signal.SIGINT, 130), (False, signal.SIGKILL, -signal.SIGKILL)],
    ids=["Ctrl-C, a Ray of its own", "kill -9, a cluster"],
)
def test_an_interrupted_driver_leaves_whole_clips_and_no_workers(
    address, clips, slow_rows, starter: Starter, tmp_path, is_own, number, status
):
    write_manifest(tmp_path / "m.csv", clips[:5])
    line = ["extract", "--engine", "ray", "--num-workers", 1, "--batch-size", 2, "--manifest", tmp_path / "m.csv"]
    line += ["--out", tmp_path, *([] if is_own else ["--address", address]), f"{ODD}:Slow"]
    running = starter.start(line, tmp_path / "said")
    wait_until(lambda: bool(committed(tmp_path / "slow.lmdb")) or running.poll() is not None, "nothing is committed")
    finished = running.kill(everyone=True, number=number)
    assert finished.status == status
    assert "Traceback" not in finished.stderr
    assert (number != signal.SIGKILL) == ("rerun the command to resume" in finished.stderr)
    kept = len(open_store(tmp_path / "slow.lmdb"))
    assert 0 < kept < 5
    until = time.monotonic() + 20
    while ray.available_resources().get("CPU") != 2 and time.monotonic() < until:
        time.sleep(0.2)
    assert ray.available_resources()["CPU"] == 2  # the dead driver's worker is gone
    wanted = want(tmp_path, "Slow")
    result = extract(clips[:5], [wanted], resources=Resources(device="cpu", workers=1))
    assert result.skipped[wanted.cache] == kept
    assert_same_rows(slow_rows, rows_of(wanted))
