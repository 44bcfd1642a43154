"""Who may import whom, what starts without torch, and calls that no file of ours may hold."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
COMMAND = REPOSITORY / "egotools" / "__main__.py"  # `python -m egotools`, all of which is the command line
LIBRARY = sorted({*(REPOSITORY / "egotools").rglob("*.py")} - {COMMAND})
OURS = [
    *LIBRARY,
    *(path for name in ("cli", "metas", "benchmarks", "examples") for path in (REPOSITORY / name).rglob("*.py")),
]

# The rooms of the house from top to bottom: each imports itself and what stands below it. A new room gets its place
# here. The first is the package itself, egotools/__init__.py, which offers the main functions of the others.
ROOMS = [
    "__init__",
    *(
        "demo",
        "methods",
        "reports",
        "rebuild",
        "extraction",
        "derive",
        "evaluate",
        "datasets",
        "annotations",
        "extractors",
    ),
    *("training", "weights", "linear", "tables", "loading", "manifests", "stores", "media", "provenance", "plots"),
    *("pixels", "metrics", "lowlevel", "losses", "nn"),
    *("progress", "sampling", "config", "files", "machine", "processes", "types", "texts", "errors"),
]
MATHS = {"nn", "losses", "metrics", "linear", "lowlevel", "pixels"}
PLAIN = {"types", "errors", "machine", "processes", "sampling"}  # of ours, what maths may use beside itself
MATHS_MAY_IMPORT = {"egotools", "numpy", "scipy", "sklearn", "torch"}
WITHOUT_TORCH = [
    *("manifests.table", "manifests.folders", "manifests.check", "media.video", "media.audio", "tables.table"),
    *("stores.lmdb_store", "stores.hdf5_store", "stores.digest"),
    *(
        "derive.deriving",
        "derive.segments",
        "derive.storyboard_picture",
        "derive.reproduction",
        "derive.pool",
        "derive.cut",
        "derive.resample",
        "derive.similarity",
        "derive.found_picture",
    ),
    *("evaluate.find", "evaluate.found", "evaluate.queries"),
    *("reports.writing", "evaluate.map"),
]
UNSAFE_MODULES = {"dill", "joblib", "marshal", "shelve"}
UNSAFE_CALLS = {"eval", "exec", "compile", "os.system", "os.popen", "pickle.load", "pickle.loads", "pickle.Unpickler"}
READS_PICKLES = REPOSITORY / "egotools" / "weights" / "pickles.py"


def imports_of(path: Path) -> Iterator[tuple[str, int]]:
    """Each module that a file names in an import, wherever in the file, with its line."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            if node.module in ("egotools", None):
                yield from ((f"{prefix.rstrip('.')}.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield prefix, node.lineno


def calls_of(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Call):
            yield node


def room_of(module: str) -> str:
    """The room of a module: `stores` for egotools.stores.store."""
    return module.split(".")[1] if "." in module else "__init__"


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


def edges() -> dict[str, dict[str, int]]:
    """Each module of the library with those that it imports, wherever in the file, and the lines."""
    names = {name_of(path) for path in LIBRARY}
    found: dict[str, dict[str, int]] = {}
    for path in LIBRARY:
        named = {}
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("egotools"):
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    named[whole if whole in names else str(node.module)] = node.lineno
        found[name_of(path)] = named
    return found


def test_every_room_has_its_place():
    folders = {path.relative_to(REPOSITORY / "egotools").parts[0].removesuffix(".py") for path in LIBRARY}
    assert folders == set(ROOMS)


def test_nothing_imports_upward():
    for module, imported in edges().items():
        for other, line in imported.items():
            below = ROOMS.index(room_of(module)) <= ROOMS.index(room_of(other))
            assert below, f"{module}:{line}: {room_of(module)} stands below {room_of(other)}"


def test_no_modules_import_each_other_in_a_circle():
    """Not even inside of functions, or for types alone."""
    left = {module: set(imported) - {module} for module, imported in edges().items()}
    while free := {module for module, imported in left.items() if not imported & set(left)}:
        left = {module: imported for module, imported in left.items() if module not in free}
    assert not left, f"in or above a circle: {', '.join(sorted(left))}"


def test_maths_imports_itself_and_libraries_of_numbers_only():
    for path in LIBRARY:
        room = room_of(name_of(path))
        if room not in MATHS:
            continue
        for name, line in imports_of(path):
            outside = name.split(".")[0] not in {*sys.stdlib_module_names, *MATHS_MAY_IMPORT}
            assert not outside, f"{path}:{line}: maths imports {name}"
            ours = name.startswith("egotools.") and room_of(name) not in MATHS | PLAIN
            assert not ours, f"{path}:{line}: maths imports {name}"
        if room != "linear":
            assert "sklearn" not in {name.split(".")[0] for name, _ in imports_of(path)}, path


def test_nothing_in_the_library_knows_the_command_line():
    for path in LIBRARY:
        for name, line in imports_of(path):
            forbidden = name.split(".")[0] in ("click", "cli") or name.startswith("egotools.cli")
            assert not forbidden, f"{path}:{line} imports {name}"


def test_python_m_egotools_is_the_command_line_and_nothing_else():
    assert [name for name, _ in imports_of(COMMAND)] == ["egotools.cli.main"]
    done = subprocess.run([sys.executable, "-m", "egotools", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("egotools, version")
    done = subprocess.run([sys.executable, "-m", "egotools", "nonsense"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: egotools" in done.stderr


def test_siblings_of_the_command_line_are_imported_relatively():
    for path in (REPOSITORY / "cli").rglob("*.py"):
        for name, line in imports_of(path):
            is_ours = name.split(".")[0] == "cli" or name.startswith("egotools.cli")
            assert not is_ours, f"{path}:{line} imports {name}"


def heavy_modules_after(setup: str, steps: Sequence[object]) -> dict[str, list[str]]:
    """Which heavy libraries a fresh Python has loaded after each step, as long as `step(one)` loads none."""
    heavy = ["torch", "torchvision", "timm", "sklearn", "pandas", "matplotlib", "faiss", "cv2"]
    code = f"""
import json, sys
{setup}
found = {{}}
for one in {list(steps)}:
    step(one)
    found[str(one)] = sorted(set({heavy}) & set(sys.modules))
print("HEAVY", json.dumps(found))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded: dict[str, list[str]] = json.loads(done.stdout.rpartition("HEAVY")[2])
    return loaded


def test_manifests_stores_and_tables_import_no_torch():
    setup = "from importlib import import_module\ndef step(module):\n    import_module(f'egotools.{module}')"
    loaded = heavy_modules_after(setup, WITHOUT_TORCH)
    assert loaded == {module: [] for module in WITHOUT_TORCH}


def test_commands_that_need_no_torch_start_without_it():
    commands = [
        *(["--help"], ["cache", "ls", "."], ["manifest", "--help"], ["manifest", "folder", "--help"]),
        *(["extract", "--help"], ["derive", "--help"], ["derive", "pool", "--help"]),
        *(["eval", "map", "--help"], ["report", "--help"]),
        *(["train", "--help"], ["eval", "--help"], ["predict", "--help"], ["eval", "knn", "--help"]),
    ]
    setup = """
from egotools.cli.main import main
def step(words):
    sys.argv[1:] = words
    try:
        main()
    except SystemExit as done:
        assert not done.code, done.code
"""
    assert heavy_modules_after(setup, commands) == {str(words): [] for words in commands}


def keyword(call: ast.Call, name: str) -> object:
    return next((getattr(item.value, "value", "?") for item in call.keywords if item.arg == name), None)


def test_no_file_can_run_code_that_it_reads():
    for path in OURS:
        for name, line in imports_of(path):
            assert name.split(".")[0] not in UNSAFE_MODULES, f"{path}:{line}: {name}"
        for call in calls_of(path):
            where, function = f"{path}:{call.lineno}", ast.unparse(call.func)
            assert function not in UNSAFE_CALLS, f"{where}: {function}"
            assert keyword(call, "shell") in (None, False), f"{where}: shell=True"
            if function == "torch.load":
                assert keyword(call, "weights_only") is True, f"{where}: torch.load without weights_only=True"
            if function in ("np.load", "numpy.load"):
                assert keyword(call, "allow_pickle") is False, f"{where}: np.load without allow_pickle=False"


def test_pickles_are_read_in_one_reviewed_module_which_looks_every_name_up_in_a_list():
    using = set()
    for path in OURS:
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if isinstance(node, ast.ImportFrom) and node.module in ("pickle", "_pickle"):
                assert {alias.name for alias in node.names} <= {"UnpicklingError"}, f"{path}:{node.lineno}"
            if isinstance(node, ast.Attribute) and "Unpickler" in node.attr:
                using.add(path)
    assert using == {READS_PICKLES}
    kinds = [node for node in ast.walk(ast.parse(READS_PICKLES.read_text())) if isinstance(node, ast.ClassDef)]
    (kind,) = (node for node in kinds if [ast.unparse(base) for base in node.bases] == ["pickle.Unpickler"])
    methods = {node.name: ast.unparse(node) for node in kind.body if isinstance(node, ast.FunctionDef)}
    assert set(methods) == {"__init__", "find_class"}  # no persistent_load, and nothing inherited is called
    assert "super().find_class" not in methods["find_class"]


def test_files_and_functions_stay_small():
    for path in [*LIBRARY, *(REPOSITORY / "cli").rglob("*.py")]:
        text = path.read_text()
        assert text.count("\n") <= 400, f"{path} has {text.count(chr(10))} lines"
