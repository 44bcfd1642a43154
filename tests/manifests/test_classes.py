"""Lists of classes: tables, mapping files, names."""

from __future__ import annotations

from pathlib import Path

import pytest

from egotools.errors import ManifestError
from egotools.manifests.classes import read_classes


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("actions.csv", "action_id,verb_id,action_cls\n1,0,close drawer\n0,0,take\n"),
        ("mapping.txt", "1 close drawer\r\n0 take\r\n"),
        ("mapping.txt", "\ufeff0\ttake\n1\tclose  drawer"),
        ("names.txt", "take\n\nclose drawer\n\n"),
        ("names.csv", "name\ntake\nclose drawer\n"),
    ],
)
def test_classes_are_in_the_order_of_their_numbers(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_bytes(content.encode())
    assert read_classes(tmp_path / name) == ["take", "close drawer"]


def test_names_may_be_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0\n1\n2\n")
    (tmp_path / "b.txt").write_text("0 0\n1 1\n2 2\n")
    assert read_classes(tmp_path / "a.txt") == read_classes(tmp_path / "b.txt") == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.txt", b"take\nput\ntake\n", "a.txt, row 3: the class 'take' is also that of row 1"),
        ("a.txt", b"0 take\n2 put\n", "row 2: 'put' has the number 2 where 1 is next"),
        ("a.txt", b"0 take\nput\n", "row 2: 'put' is not a number and a name"),
        ("a.txt", b"\n", "no classes"),
        ("a.txt", b"\xff\xfe\xfa", "not a text file in UTF-8"),
        ("gone.txt", None, "cannot be read: No such file"),
        ("a.csv", b"id,verb\n0,take\n", "no column of names, action_cls"),
        ("a.csv", b"action_id,action_cls\nx,take\n", "row 2: 'x' is not the number of a class"),
        ("a.csv", b"action_id,action_cls\n0,\n", "row 2: a class needs a name"),
    ],
)
def test_unusable_lists_are_refused_with_file_and_row(tmp_path, name, content, problem):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ManifestError) as caught:
        read_classes(tmp_path / name)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_actions_of_assembly101(shared):
    folder = shared / "data/assembly101"
    actions = read_classes(folder / "actions.csv")
    assert (len(actions), actions[:2], actions[12]) == (202, ["inspect toy", "attach cabin"], "attach bumper")
    assert {*read_classes(folder / "tail_actions.txt")} < {*actions}
