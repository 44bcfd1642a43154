"""Runs the tests with the oldest and the newest libraries that can be had, on each Python that can be had.

    make test-versions                                      # everything
    make test-versions VERSIONS="3.10 oldest newest"        # one Python, both sets
    make test-versions VERSIONS="3.13 3.14 newest"          # two, one set

Each pair gets an environment of its own, `.versions/<Python>-<set>`, kept for the next time, and a log beside it.
The oldest set is what uv resolves with `--resolution lowest-direct` from the lower bounds in setup.cfg, of wheels only;
the newest is what pip takes by itself. A Python that is not on this machine is asked of uv; one that cannot be had is
named at the end. The exit status is 1 where tests fail.
"""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
SETS = ("oldest", "newest")
EXTRAS = ("demo", "flow", "map", "parquet", "ray")
REPOSITORY = Path(__file__).parents[1]
WORK = REPOSITORY / ".versions"
UV = WORK / "uv" / "bin" / "uv"
PIP = ("-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off")


def main(words: Sequence[str]) -> int:
    """Tries the Pythons and sets that `words` name, all by default; the exit status."""
    unknown = [word for word in words if word not in (*PYTHONS, *SETS)]
    if unknown:
        print(f"versions.py: {unknown[0]!r} is none of {', '.join((*PYTHONS, *SETS))}", file=sys.stderr)
        return 2
    install_uv()
    outcomes = []
    for python in [each for each in PYTHONS if each in words] or PYTHONS:
        interpreter = find(python)
        for name in [each for each in SETS if each in words] or SETS:
            outcome = tried(interpreter, python, name) if interpreter else "NOT TRIED: no such Python can be had here"
            outcomes.append(f"Python {python}, {name}: {outcome}")
            print(outcomes[-1], flush=True)
    print("\n".join(["", "all:", *outcomes]))
    return int(any("FAILED" in outcome for outcome in outcomes))


def tried(interpreter: Path, python: str, name: str) -> str:
    """Makes an environment, runs the tests in it, and says what came of it."""
    folder = WORK / f"{python}-{name}"
    log = WORK / f"{folder.name}.log"
    began = time.monotonic()
    with log.open("w") as file:
        if not installed(interpreter, folder, name, file):
            return f"FAILED to install, see {log}"
        tests = subprocess.run(
            ["make", "unit", f"VENV={folder}"], cwd=REPOSITORY, stdout=file, stderr=file, check=False
        )
    last = log.read_text().rstrip().splitlines()[-1]
    minutes = (time.monotonic() - began) / 60
    if tests.returncode:
        summary = next((line for line in reversed(log.read_text().splitlines()) if " failed" in line), last)
        return f"FAILED ({summary.strip('= ')}), see {log}"
    return f"{last.strip('= ')}; {minutes:.0f} min with installing; {shown(folder)}"


def installed(interpreter: Path, folder: Path, name: str, log: object) -> bool:
    """Whether the environment could be made."""
    constraints = folder.with_name(f"{folder.name}.txt")
    constraints.write_text(oldest(interpreter) if name == "oldest" else "")
    python = folder / "bin" / "python"
    commands: list[list[str]] = [] if python.exists() else [[str(interpreter), "-m", "venv", str(folder)]]
    commands.append([str(python), *PIP, "--upgrade", "-c", str(constraints), "-e", ".[dev]"])
    for command in commands:
        if subprocess.run(command, cwd=REPOSITORY, stdout=log, stderr=log, check=False).returncode:  # type: ignore[call-overload]
            return False
    (folder / ".dev").touch()  # the Makefile's mark of an environment that is complete
    return True


def oldest(interpreter: Path) -> str:
    """Constraints: the oldest release of each required library that has a wheel, as far as they go together."""
    required = "\n".join(requirements())
    found = subprocess.run(
        [UV, "pip", "compile", "-", "--quiet", "--no-header", "--no-annotate", "--resolution", "lowest-direct",
         "--only-binary", ":all:", "--python", interpreter],
        input=required, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if found.returncode:
        raise SystemExit(f"versions.py: the oldest libraries do not go together:\n{found.stderr}")
    names = {line.partition(">")[0].partition("=")[0].replace("_", "-") for line in requirements()}
    return "\n".join(line for line in found.stdout.splitlines() if line.partition("==")[0] in names) + "\n"


def requirements() -> list[str]:
    """What setup.cfg requires, with the extras that the tests use."""
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    texts = [setup["options"]["install_requires"], *(setup["options.extras_require"][extra] for extra in EXTRAS)]
    return [line for text in texts for line in text.strip().splitlines()]


def find(python: str) -> Path | None:
    """An interpreter of this version that can make environments: on the path, of pyenv, or from uv; None if none."""
    own = sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(f"versions/{python}*/bin/python"))
    on_path = [Path(found)] if (found := shutil.which(f"python{python}")) else []
    for candidate in [*on_path, *own]:
        if fits(candidate, python):
            return candidate
    if subprocess.run([UV, "python", "install", "--quiet", python], capture_output=True, check=False).returncode == 0:
        found = subprocess.run([UV, "python", "find", python], capture_output=True, text=True, check=True).stdout
        return Path(found.strip())
    return None


def fits(candidate: Path, python: str) -> bool:
    """Whether it runs (pyenv's shims may not), is of this version, and has venv."""
    code = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    said = subprocess.run([candidate, "-c", code], capture_output=True, text=True, check=False)
    return said.stdout.strip() == python


def install_uv() -> None:
    """uv, which resolves the oldest releases, in an environment of its own."""
    if not UV.exists():
        subprocess.run([sys.executable, "-m", "venv", UV.parents[1]], check=True)
        subprocess.run([UV.with_name("python"), *PIP, "--quiet", "uv"], check=True)


def shown(folder: Path) -> str:
    """The versions of the libraries that matter most."""
    code = "from importlib.metadata import version; print(*(f'{n} {version(n)}' for n in sys.argv[1:]), sep=', ')"
    command = [folder / "bin" / "python", "-c", f"import sys; {code}", "av", "numpy", "torch"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
