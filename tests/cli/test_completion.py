"""What a shell offers after Tab, in the words of Click's own scripts for bash, zsh and fish."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest
from egotools.cli.main import COMMANDS, main

from egotools.extractors.names import BUILT_IN, ENCODERS, SHORT_NAMES


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """What is offered after words, the last of which may be half typed."""

    def offered(*words: str, shell: str = "bash") -> list[str]:
        monkeypatch.setenv("_EGOTOOLS_COMPLETE", f"{shell}_complete")
        monkeypatch.setenv("COMP_WORDS", " ".join(["egotools", *words]))
        monkeypatch.setenv("COMP_CWORD", words[-1] if shell == "fish" else str(len(words)))
        monkeypatch.setattr(sys, "argv", ["egotools"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        return capsys.readouterr().out.splitlines()

    return offered


def named(lines: Sequence[str]) -> list[str]:
    return [line.removeprefix("plain,") for line in lines]


def test_commands_extractors_and_options_are_completed(complete):
    assert named(complete("")) == list(COMMANDS)
    assert named(complete("ex")) == ["extract"]
    assert named(complete("extract", "--manifest", "m.csv", "")) == [*BUILT_IN, *SHORT_NAMES, *ENCODERS]
    assert named(complete("extract", "--out", "a", "mv")) == ["mvit_v2_s"]
    assert named(complete("extract", "hog", "--name", "a", "co")) == ["color", "convnext_tiny"]
    assert named(complete("extract", "--prec")) == ["--precision"]
    assert "ls" in named(complete("cache", ""))
    assert {"--name", "--help"} <= set(named(complete("extract", "hog", "--")))


def test_zsh_and_fish_are_told_what_a_name_is(complete):
    text = BUILT_IN["hog"][1]
    assert complete("extract", "hog", shell="zsh")[:3] == ["plain", "hog", text]
    assert complete("ex", shell="fish") == [f"plain,extract\t{COMMANDS['extract'][1]}"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_calls_this_command(shell, monkeypatch, capsys):
    monkeypatch.setenv("_EGOTOOLS_COMPLETE", f"{shell}_source")
    monkeypatch.setattr(sys, "argv", ["egotools"])
    monkeypatch.setattr("click.shell_completion.BashComplete._check_version", lambda *_: None)  # of a bash that is here
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert f"_EGOTOOLS_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_names_are_completed_without_loading_torch():
    code = (
        "import os, sys\n"
        "os.environ.update(_EGOTOOLS_COMPLETE='bash_complete', COMP_WORDS='egotools extract --out a c')\n"
        "os.environ['COMP_CWORD'] = '4'\n"
        "sys.argv = ['egotools']\n"
        "from egotools.cli.main import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    assert not {'torch', 'timm', 'transformers', 'sklearn', 'faiss', 'cv2'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["plain,csn", "plain,color", "plain,convnext_tiny", "plain,clip", "plain,clap"]
