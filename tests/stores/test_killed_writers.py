"""A writer that is killed: what it committed is kept, and the next pass adds the rest."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from egotools.errors import StoreError
from egotools.stores import Store, open_store
from egotools.stores.summary import open_any

pytestmark = pytest.mark.integration


WRITE = """
import sys
import time
from pathlib import Path
import numpy as np
from egotools.stores import Recipe, Source, open_writer
from egotools.types import Rows

def make_rows(count, seed):
    return Rows(np.random.default_rng(seed).random((count, 256), np.float32), np.full((count, 2), float(seed)))

print("started", flush=True)
with open_writer(Path(sys.argv[1]), Recipe({"extractor": "killed"})) as writer:
    fresh = []
    for index in range(100):
        name = f"clip/{index:03d}"
        if name in writer:
            continue
        writer.append(name, make_rows(40 + index, index))
        writer.append(name, make_rows(index % 3, index + 500))
        writer.finish(name, Source(name))
        time.sleep(0.01)  # lest a fast machine is done before it is killed
        fresh.append(name)
        if len(fresh) == 4:
            writer.commit()
            print(*fresh, flush=True)
            fresh = []
        if index == 50 and writer.path.suffix == ".h5":
            writer.seal()
            sys.exit(3)  # half of it is sealed; the next pass adds the rest
    writer.seal()
"""


def write_and_kill(path: Path, delay: float | None) -> tuple[int, list[str]]:
    """Runs a writer, killed some seconds after its start; its exit status, and the clips that it said it committed."""
    process = subprocess.Popen([sys.executable, "-c", WRITE, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    if delay is not None:
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
    output = process.communicate()[0]
    return process.returncode, output.split()


def open_if_committed(path: Path) -> Store | None:
    try:
        return open_any(path)
    except StoreError as error:
        if "nothing was committed" in str(error) or not path.exists():  # killed before its first commit
            return None
        raise


@pytest.mark.parametrize("name", ["cache.lmdb", "cache.h5"])
def test_a_killed_writer_loses_nothing_that_was_committed(tmp_path: Path, rng: np.random.Generator, name: str) -> None:
    path = tmp_path / name
    committed: set[str] = set()
    kills = 0
    for _ in range(8):
        status, names = write_and_kill(path, float(rng.uniform(0, 0.12)))
        kills += status == -signal.SIGKILL
        committed.update(names)
        there: dict[str, Store | None] = {}
        for place in (path, path.with_name(path.name + ".part")):
            store = open_if_committed(place)
            there.update(dict.fromkeys(store or (), store))
        assert committed <= set(there)
        assert all(store and store.stored(name).is_intact() for name, store in there.items())
    assert kills >= 4
    while write_and_kill(path, None)[0]:
        pass
    resumed = open_store(path)
    whole = path.with_stem("uninterrupted")
    while write_and_kill(whole, None)[0]:
        pass
    assert list(resumed) == list(open_store(whole)) == [f"clip/{index:03d}" for index in range(100)]
    for name in resumed:
        expected = open_store(whole)[name]
        np.testing.assert_array_equal(resumed[name].values, expected.values)
        np.testing.assert_array_equal(resumed[name].times, expected.times)
    assert not [p.name for p in path.parent.iterdir() if ".part" in p.name or p.name.endswith(".new")]
