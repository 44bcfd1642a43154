"""The root command: sub-commands that load when they are called, and errors as one line."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from types import FrameType

import click

from egotools import __version__
from egotools.errors import EgotoolsError
from egotools.machine import keep_freed_memory

from .groups import LazyGroup
from .log import Output
from .text import visible

# name -> ("module of egotools.cli:attribute", what `egotools --help` says of it)
COMMANDS = {
    "manifest": ("manifest:manifest", "List clips: make, check, cut and split manifests."),
    "extract": ("extract:extract", "Decode each clip once and cache the features of any number of extractors."),
    "derive": ("derive:derive", "Make caches from caches."),
    "segment": ("segment:segment", "Cut clips where their features change: segments, and a storyboard picture."),
    "find": ("find:find", "Find the moments of a cache that are nearest to a text, an image or a clip."),
    "frames": ("frames:frames", "Write clips as folders of frames or optical flow, for training from video."),
    "weights": ("weights:weights", "Say what a file of weights holds; export runs in published layouts."),
    "report": ("report:report", "One HTML file on runs, evaluations or caches."),
    "rebuild": ("rebuild:rebuild", "Find out which caches are stale, and why; rebuild them."),
    "cache": ("cache:cache", "List, verify, merge, convert and export caches."),
    "train": ("methods:train", "Train on cached features: probes, PCA, memorability, two-stream, segmentation."),
    "eval": ("methods:evaluate", "Evaluate features and runs: kNN, probes, memorability, segmentation."),
    "predict": ("methods:predict", "Apply a run to new videos."),
    "demo": ("demo:demo", "The whole story on a folder of videos, from manifest to pictures."),
}


@click.group(
    cls=LazyGroup, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="egotools")
def root() -> None:
    """Features, caches, light models and evaluation for egocentric video.

    \b
    egotools manifest folder videos/ --out m.csv
    egotools extract --manifest m.csv --out caches/mine efficientnet-lite0 --fps 2
    egotools eval knn --features caches/mine/efficientnet-lite0.lmdb --manifest m.csv --label label
    """


def main() -> None:
    """The installed `egotools`.

    Exit status 0: done, 1: something failed, 2: wrong usage, 130: interrupted (Ctrl-C), 143: terminated (SIGTERM).
    """
    # Before torch is imported: its threads sleep when they wait for each other. Spinning, they would take the cores
    # from the reading workers and from each other, at up to four times the processor time of a forward pass.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_freed_memory()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # help may quote what the encoding lacks
    output, status = Output(), 1  # 1: of an error that nobody expected, which keeps its traceback
    with terminable() as terminated:
        try:
            status = run(output, terminated)
        finally:
            output.end(status)
    sys.exit(status)


def run(output: Output, terminated: threading.Event) -> int:
    """The command that was typed: its exit status, once its error is said in a line."""
    try:
        status = root.main(prog_name="egotools", standalone_mode=False, obj=output)
    except EgotoolsError as error:
        return _fail(output, f"egotools: {error}", 1)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        for line in _usage(error):
            click.echo(visible(line, sys.stderr), err=True)
        text = error.format_message()
        if isinstance(error, click.MissingParameter):
            text = " ".join(text.split())  # click lists choices in lines of their own
        return _fail(output, f"Error: {text}", error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        if terminated.is_set():
            return _fail(output, "egotools: terminated", 143)
        return _fail(output, "egotools: interrupted", 130)
    return status if isinstance(status, int) else 0


@contextmanager
def terminable() -> Iterator[threading.Event]:
    """Makes the first SIGTERM, as batch schedulers send it, end a command as Ctrl-C does; says whether it came.

    (An exception of its own would not say it: click and Ray raise theirs in its place.) Those that follow are ignored
    while what is finished is committed. A SIGTERM that was ignored from the start stays so, as with every program.
    """
    terminated = threading.Event()
    before = signal.getsignal(signal.SIGTERM)
    if before is signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        yield terminated
        return

    def terminate(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        terminated.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield terminated
    finally:
        signal.signal(signal.SIGTERM, before)


def _fail(output: Output, text: str, status: int) -> int:
    output.keep(text)
    click.echo(visible(text, sys.stderr), err=True)
    return status


def _usage(error: click.ClickException) -> list[str]:
    """How the command is used, and what shows its help."""
    context = getattr(error, "ctx", None)
    if context is None:
        return []
    return [*context.get_usage().split("\n"), f"Try '{context.command_path} --help' for help.", ""]
