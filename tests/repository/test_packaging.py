"""What is installed is what is in the folders."""

from __future__ import annotations

import ast
import configparser
import sys
from importlib.metadata import entry_points, packages_distributions, version
from importlib.resources import files
from pathlib import Path

import versions
from packaging.requirements import Requirement

import egotools

REPOSITORY = Path(__file__).parents[2]
SETUP = configparser.ConfigParser()
SETUP.read(REPOSITORY / "setup.cfg")
USED_EXTRAS = (
    "timm",
    "demo",
    "flow",
    "hf",
    "open-clip",
    "map",
    "openvino",
    "parquet",
    "ray",
)  # what egotools itself uses; `gpu` has faiss-cpu's module

IN_NO_EXTRA = {"umap", "umap-learn"}  # large and rarely wanted: the user installs it


def lines(section: str, key: str) -> list[str]:
    return SETUP[section][key].strip().splitlines()


def test_the_package_list_equals_the_folders():
    folders = {path.parent.relative_to(REPOSITORY) for path in (REPOSITORY / "egotools").rglob("*.py")}
    folders |= {Path("egotools") / path.parent.relative_to(REPOSITORY) for path in (REPOSITORY / "cli").rglob("*.py")}
    expected = {".".join(folder.parts) for folder in folders} | {"egotools.metas"}
    assert sorted(lines("options", "packages")) == sorted(expected)


def test_every_package_has_an_init_file():
    mapping = dict(line.split(" = ") for line in lines("options", "package_dir"))
    for package in lines("options", "packages"):
        parent = max((each for each in mapping if f"{package}.".startswith(f"{each}.")), key=len)
        folder = mapping[parent] + package.removeprefix(parent).replace(".", "/")
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


def test_every_library_that_is_imported_is_required():
    distributions = {name: set(map(normal, found)) for name, found in packages_distributions().items()}
    paths = [*(REPOSITORY / "egotools").rglob("*.py"), *(REPOSITORY / "cli").rglob("*.py")]
    names = {name for path in paths for name in imported(path)} - set(sys.stdlib_module_names) - {"egotools"}
    required = {required_name(line) for line in lines("options", "install_requires")}
    extras = {required_name(line) for extra in USED_EXTRAS for line in lines("options.extras_require", extra)}
    homeless = {name for name in names if not distributions.get(name, {name}) & (required | extras | IN_NO_EXTRA)}
    assert not homeless
    assert required <= {one for name in names for one in distributions.get(name, {name})}  # and nothing is only named


def test_an_extra_is_imported_where_it_is_used_and_nowhere_at_the_top_of_a_module():
    required = {required_name(line) for line in lines("options", "install_requires")}
    distributions = {name: set(map(normal, found)) for name, found in packages_distributions().items()}
    for path in [*(REPOSITORY / "egotools").rglob("*.py"), *(REPOSITORY / "cli").rglob("*.py")]:
        names = imported(path, at_top=True) - set(sys.stdlib_module_names) - {"egotools"}
        # Python 3.10 finds no distribution of a wheel without the file top_level.txt, such as NumPy's
        assert all(distributions.get(name, {name}) & required for name in names), path


def test_every_requirement_has_a_lower_bound_that_is_installed_and_an_upper_one_only_with_a_reason():
    text = (REPOSITORY / "setup.cfg").read_text()
    requirements = [*lines("options", "install_requires")]
    requirements += [line for extra in USED_EXTRAS for line in lines("options.extras_require", extra)]
    for line in requirements:
        requirement = Requirement(line)
        assert {each.operator for each in requirement.specifier} & {">=", "=="}, line
        assert requirement.specifier.contains(version(requirement.name)), line
        if "<" in line or "!=" in line:
            assert f"# {requirement.name}: " in text, f"say in setup.cfg what breaks {line}"


def test_numpy_2_is_required_since_its_functions_are_used():
    used = any("np.vecdot(" in path.read_text() for path in (REPOSITORY / "egotools").rglob("*.py"))
    (numpy,) = (Requirement(line) for line in lines("options", "install_requires") if line.startswith("numpy"))
    assert used
    assert not numpy.specifier.contains("1.26.4")
    assert numpy.specifier.contains("2.0.0")


def test_the_python_versions_that_are_named_are_those_that_are_tried():
    named = [line.rpartition(" ")[2] for line in lines("metadata", "classifiers") if "Python :: 3." in line]
    assert named == ["3.10", "3.11", "3.12", "3.13", "3.14"] == list(versions.PYTHONS)
    assert SETUP["options"]["python_requires"] == f">={named[0]}"


def test_the_package_says_who_made_it_under_what_licence_and_where_to_read_more():
    about = SETUP["metadata"]
    assert about["license_expression"] == "MIT"
    assert (REPOSITORY / "LICENSE").read_text().startswith("MIT License")
    assert all(about[key] for key in ("author", "keywords", "description"))
    assert all(" = https://" in line for line in lines("metadata", "project_urls"))
    assert "Operating System :: POSIX" in lines("metadata", "classifiers")  # file locks are fcntl's


def imported(path: Path, *, at_top: bool = False) -> set[str]:
    """First parts of the names that a file imports absolutely; with `at_top` only those of its top level."""
    tree = ast.parse(path.read_text())
    nodes = list(tree.body if at_top else ast.walk(tree))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.partition(".")[0] for name in names}


def required_name(line: str) -> str:
    return normal(Requirement(line).name)


def normal(name: str) -> str:
    return name.lower().replace("_", "-")
