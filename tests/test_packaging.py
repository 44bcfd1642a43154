"""What is installed is what is in the folders."""

from __future__ import annotations

import configparser
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

import egotools

REPOSITORY = Path(__file__).parents[1]
SETUP = configparser.ConfigParser()
SETUP.read(REPOSITORY / "setup.cfg")


def lines(section: str, key: str) -> list[str]:
    return SETUP[section][key].strip().splitlines()


def test_the_package_list_equals_the_folders():
    folders = {path.parent.relative_to(REPOSITORY) for path in (REPOSITORY / "egotools").rglob("*.py")}
    expected = {".".join(folder.parts) for folder in folders} | {"egotools.cli", "egotools.metas"}
    assert sorted(lines("options", "packages")) == sorted(expected)


def test_every_package_has_an_init_file():
    mapping = dict(line.split(" = ") for line in lines("options", "package_dir"))
    for package in lines("options", "packages"):
        folder = mapping.get(package, package.replace(".", "/"))
        assert (REPOSITORY / folder / "__init__.py").is_file(), package


def test_the_wheel_has_one_top_level_name():
    assert {package.split(".")[0] for package in lines("options", "packages")} == {"egotools"}


def test_the_installed_command_is_that_of_this_checkout():
    (command,) = entry_points(group="console_scripts", name="egotools")
    assert command.value == lines("options.entry_points", "console_scripts")[0].split(" = ")[1]
    assert Path(egotools.__file__).parent == REPOSITORY / "egotools"


def test_small_facts_are_installed_with_the_package():
    patterns = SETUP["options.package_data"]["egotools.metas"].split(", ")
    data = [path for path in (REPOSITORY / "metas").iterdir() if path.suffix not in (".py", "") and path.is_file()]
    assert all(any(path.match(pattern) for pattern in patterns) for path in data)
    assert {path.name for path in data} <= {item.name for item in files("egotools.metas").iterdir()}


def test_faiss_is_for_the_processor_unless_asked_otherwise():
    assert any(line.startswith("faiss-cpu") for line in lines("options", "install_requires"))
    assert [line.split(">")[0] for line in lines("options.extras_require", "gpu")] == ["faiss-gpu"]
