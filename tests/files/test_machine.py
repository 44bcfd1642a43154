"""What this machine offers, and what a result records about it and about its command."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

from egotools import machine, provenance
from egotools.config import file_digest
from egotools.errors import EgotoolsError
from egotools.machine import available_memory, choose_device, has_fast_bf16, usable_cores
from egotools.provenance import command_line, manifest_origin, surroundings, versions
from egotools.types import Shard


def memory_of(monkeypatch: pytest.MonkeyPatch, files: dict[str, str]) -> int | None:
    """`available_memory` of a machine with these files."""

    def read(path: Path, *_: object) -> str:
        if str(path) not in files:
            raise FileNotFoundError(str(path))
        return files[str(path)]

    monkeypatch.setattr(machine.Path, "read_text", read)
    return available_memory()


MEMINFO = "MemTotal:       16000 kB\nMemFree:  100 kB\nMemAvailable:    8000 kB\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"/proc/meminfo": MEMINFO}, 8000 << 10),
        ({"/proc/meminfo": MEMINFO, "/sys/fs/cgroup/memory.max": "4096000\n"}, 4096000),
        ({"/proc/meminfo": MEMINFO, "/sys/fs/cgroup/memory.max": "max\n"}, 8000 << 10),
        ({"/proc/meminfo": "MemTotal: 16000 kB\n"}, None),  # of an old kernel
        ({}, None),
    ],
)
def test_free_memory_is_within_the_limit_of_the_container(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: int | None
) -> None:
    assert memory_of(monkeypatch, files) == expected


def test_cores_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 7} if pid == 0 else set(), raising=False)
    assert usable_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert usable_cores() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1


def test_the_device_is_chosen_by_name_or_by_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("cuda")


@pytest.mark.parametrize("name", ["gpu", "cpu:x", ""])
def test_a_device_that_does_not_exist_is_one_line(name: str) -> None:
    with pytest.raises(EgotoolsError, match=f"--device {name}: not available on this machine") as caught:
        choose_device(name)
    assert "\n" not in str(caught.value)


def test_gpus_have_fast_bf16_from_compute_capability_8_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for capability, expected in (((7, 5), False), ((8, 0), True), ((9, 0), True)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        assert has_fast_bf16(torch.device("cuda")) is expected


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx512_bf16": False, "avx2": True}, False)],
)
def test_processors_have_fast_bf16_if_they_say_so(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert has_fast_bf16(torch.device("cpu")) is expected


def test_a_command_is_recorded_without_the_folder_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/opt/venv/bin/egotools", "extract", "videos/", "--out", "a.lmdb"])
    assert command_line() == "egotools extract videos/ --out a.lmdb"


def test_a_result_records_its_manifest_by_place_and_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.csv").write_text("id,path\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["egotools", "train"])
    whole = manifest_origin(Path("m.csv"))
    assert whole == {
        "manifest": str(tmp_path / "m.csv"),
        "manifest_digest": file_digest(tmp_path / "m.csv"),
        "command": "egotools train",
    }
    assert manifest_origin(Path("m.csv"), limit=3) == {**whole, "limit": 3}
    assert manifest_origin(Path("m.csv"), shard=Shard(1, 2)) == {**whole, "shard": "1/2"}
    (tmp_path / "m.csv").write_text("id,path\na,\n")
    assert manifest_origin(Path("m.csv"))["manifest_digest"] != whole["manifest_digest"]


def test_versions_are_those_of_the_installed_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    found = surroundings()
    assert found["python"] == platform.python_version() == versions()["python"]
    assert found["libraries"]["torch"] == version("torch") == versions()["torch"]
    assert found["libraries"]["numpy"] == np.__version__
    monkeypatch.setattr(provenance, "LIBRARIES", ("numpy", "no-such-library"))
    monkeypatch.setattr(provenance, "RESULT_LIBRARIES", ("no-such-library",))
    assert list(surroundings()["libraries"]) == ["numpy"]
    assert list(versions()) == ["python"]
