"""NumPy numbers in torch checkpoints: read as Python's, and nothing else of NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from egotools.errors import WeightsError
from egotools.weights.tensors import read_content, read_tensors

KINDS = ["float64", "float32", "int64", "int32", "uint64", "uint32", "bool"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_zip", [True, False])
def test_numbers_come_back_as_pythons(kind, is_zip, tmp_path):
    value = np.dtype(kind).type(1.5)
    torch.save({"best": value, "w": torch.ones(2)}, tmp_path / "c.pth", _use_new_zipfile_serialization=is_zip)
    found = read_content(tmp_path / "c.pth")["best"]
    assert type(found) is type(value.item())
    assert found == value.item()


def test_numbers_of_the_other_byte_order_are_themselves(tmp_path):
    swapped = np.array(2.5, ">f8")[()]
    torch.save({"best": swapped}, tmp_path / "c.pth")
    assert read_content(tmp_path / "c.pth")["best"] == 2.5


def test_tensors_beside_numbers_are_read(tmp_path):
    torch.save({"state_dict": {"w": torch.ones(2)}, "best": np.float64(1)}, tmp_path / "c.pth")
    assert torch.equal(read_tensors(tmp_path / "c.pth")["w"], torch.ones(2))


@pytest.mark.parametrize(
    "value", [np.ones(2), np.complex128(1), np.datetime64("2020-01-01"), np.str_("a"), np.random.default_rng(0)]
)
def test_other_things_of_numpy_are_refused(value, tmp_path):
    torch.save({"best": value, "w": torch.ones(2)}, tmp_path / "c.pth")
    with pytest.raises(WeightsError, match=r"c\.pth: "):
        read_content(tmp_path / "c.pth")


class Call:
    """Unpickles as a call of a NumPy name with arguments of its own."""

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments

    def __reduce__(self):
        return type(np.float64(1)).__reduce__(np.float64(1))[0], self.arguments


@pytest.mark.parametrize(
    "arguments", [("a", b"12345678"), (np.dtype("f8"), b"123"), (np.dtype("f8"),), (np.dtype("O"), b"")]
)
def test_damaged_numbers_are_refused(arguments, tmp_path):
    torch.save({"best": Call(*arguments), "w": torch.ones(2)}, tmp_path / "c.pth")
    with pytest.raises(WeightsError, match=r"c\.pth: not readable as weights"):
        read_content(tmp_path / "c.pth")


def test_the_allowance_ends_with_the_reading(tmp_path):
    torch.save({"w": torch.ones(2)}, tmp_path / "c.pth")
    before = {*torch.serialization.get_safe_globals()}
    read_content(tmp_path / "c.pth")
    assert {*torch.serialization.get_safe_globals()} == before
