"""Pickles of others are data: what would run code is refused, and nothing of it happens."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA

from egotools.errors import WeightsError
from egotools.weights.pca import NAMES, OF_ARRAYS, read_pca
from egotools.weights.pickles import Remembered, read_pickle


class Evil:
    """Whatever it is told to call when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def text_global(module: str, name: str, *arguments: str) -> bytes:
    """A pickle, written by hand, that calls a name with texts."""
    pushed = b"".join(b"V" + argument.encode() + b"\n" for argument in arguments)
    return f"c{module}\n{name}\n".encode() + b"(" + pushed + b"tR."


ATTACKS = {
    "a command": lambda mark: pickle.dumps(Evil(os.system, f"touch {mark}")),
    "a command, protocol 0": lambda mark: pickle.dumps(Evil(os.system, f"touch {mark}"), 0),
    "a process": lambda mark: pickle.dumps(Evil(subprocess.call, ["touch", str(mark)])),
    "an evaluation": lambda mark: pickle.dumps(Evil(eval, f"open({str(mark)!r}, 'w')")),
    "a file": lambda mark: pickle.dumps(Evil(open, str(mark), "w")),
    "a path's method": lambda mark: pickle.dumps(Evil(Path.touch, mark)),
    "an import": lambda mark: text_global("builtins", "__import__", "antigravity"),
    "an attribute": lambda mark: text_global("builtins", "getattr", "os", "system"),
    "a dotted name": lambda mark: b"\x80\x04\x8c\x05numpy\x8c\x0andarray.x\x93.",
    "an allowed module's other name": lambda mark: text_global("numpy", "load", str(mark)),
    "NumPy's own escape": lambda mark: text_global("numpy.testing._private.utils", "runstring", "x", "y"),
    "an old class": lambda mark: b"(V" + str(mark).encode() + b"\niposix\nsystem\n.",
    "a persistent id": lambda mark: b"Psomething\n.",
    "an extension code": lambda mark: b"\x80\x02\x82\x01.",
    "in a list": lambda mark: pickle.dumps([1, {"a": (Evil(os.system, f"touch {mark}"),)}]),
}


@pytest.mark.parametrize("names", [(), NAMES], ids=["plain data", "PCA"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_what_would_run_code_is_refused_and_nothing_happens(tmp_path, attack, names):
    path, mark = tmp_path / "evil.pickle", tmp_path / "mark"
    path.write_bytes(ATTACKS[attack](mark))
    with pytest.raises(WeightsError, match="not a pickle that can be read safely") as caught:
        read_pickle(path, names)
    assert not mark.exists()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_attacks_would_work_on_the_usual_reader(tmp_path):
    mark = tmp_path / "mark"
    pickle.loads(ATTACKS["a command"](mark))
    assert mark.exists()


def test_a_pca_that_hides_a_call_is_refused(rng, tmp_path):
    peer = PCA(2).fit(rng.normal(size=(9, 5)))
    for place in ("mean_", "random_state", "note"):
        setattr(peer, place, Evil(os.system, f"touch {tmp_path}/mark"))
        (tmp_path / "p.pickle").write_bytes(pickle.dumps(peer))
        with pytest.raises(
            WeightsError, match=rf"it refers to {os.system.__module__}\.system, which is not allowed there"
        ):
            read_pca(tmp_path / "p.pickle")
        delattr(peer, place)
    assert not (tmp_path / "mark").exists()


def test_listed_names_are_remembered_and_not_called(tmp_path):
    (tmp_path / "p.pickle").write_bytes(pickle.dumps(np.arange(3.0), protocol=4))  # Python 3.14 has 5 by default
    found = read_pickle(tmp_path / "p.pickle", NAMES)
    assert isinstance(found, Remembered)
    assert found.name in OF_ARRAYS
    assert found.state[1] == (3,)
    assert found.state[4] == np.arange(3.0).tobytes()


def test_a_state_does_not_become_attributes(tmp_path):
    state = {"__class__": "x", "state": 1, "__setstate__": 2, "explained_variance_": 3}
    peer = PCA(2)
    peer.__dict__.update(state)
    data = pickle.dumps(peer)
    (tmp_path / "p.pickle").write_bytes(data)
    found = read_pickle(tmp_path / "p.pickle", NAMES)
    assert type(found).__mro__[1] is Remembered
    assert not hasattr(found, "explained_variance_")
    assert found.state["__class__"] == "x"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_is_read_as_it_was_written(tmp_path, protocol):
    data = (["video1.webm", "video2.webm"], ["video3.webm"], {"a": 1, "b": None}, 2.5, True, 1 << 70)
    (tmp_path / "p.pickle").write_bytes(pickle.dumps(data, protocol))
    assert read_pickle(tmp_path / "p.pickle") == data


def test_objects_are_refused_where_only_plain_data_is_expected(tmp_path):
    for value in (np.arange(3), OrderedDict(a=1), Path("x")):
        (tmp_path / "p.pickle").write_bytes(pickle.dumps(value))
        with pytest.raises(WeightsError, match="it refers to"):
            read_pickle(tmp_path / "p.pickle")


def test_every_cut_and_many_changes_of_a_pickle_end_in_one_line_or_in_data(rng, tmp_path):
    data = pickle.dumps(PCA(2).fit(rng.normal(size=(9, 5))))
    path = tmp_path / "p.pickle"
    changed = [data[:end] for end in range(0, len(data), 7)]
    for _ in range(300):
        copy = bytearray(data)
        for at in rng.integers(0, len(data), 3):
            copy[at] = rng.integers(0, 256)
        changed.append(bytes(copy))
    refused = 0
    for each in changed:
        path.write_bytes(each)
        with suppress(WeightsError):  # and nothing else
            refused += 1
            read_pca(path)
            refused -= 1
    assert len(data) // 7 < refused < len(changed)  # every cut, and not every change of a byte


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WeightsError, match="cannot be read: No such file"):
        read_pickle(tmp_path / "p.pickle")
