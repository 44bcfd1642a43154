"""Options that several commands share, and flags made from the fields of a dataclass."""

from __future__ import annotations

import dataclasses
import os
import types
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import click
from click.core import ParameterSource

from .log import Log, output

if TYPE_CHECKING:
    from egotools.extraction.engine import Engine

Command = TypeVar("Command", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)
FOLDER, FILE = click.Path(path_type=Path, file_okay=False), click.Path(path_type=Path, dir_okay=False)

manifest = click.option("--manifest", required=True, type=FILE, help="CSV of clips.")
features = click.option(
    "--features",
    "features",
    required=True,
    multiple=True,
    type=PATH,
    help="A cache; several are joined by id and concatenated.",
)
label = click.option("--label", required=True, help="Manifest column that is the label.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
overwrite = click.option("--overwrite", is_flag=True, help="Replace existing output.")
seed = click.option("--seed", default=0, show_default=True, help="Seed of everything random.")

REDUCE = {"mean": "mean", "mean+std": "mean+std", "none": None}
reduce = click.option(
    "--reduce",
    type=click.Choice(list(REDUCE)),
    default="mean",
    show_default=True,
    help="Reduce the windows of a clip to one row, or keep each as a row.",
)
segments = click.option(
    "--segments",
    type=FILE,
    help="Labels at times: each row has those of the segment that its window's middle lies in; evaluations hold out"
    " whole videos. CSV with id, start, end, label, or a manifest of segments. Sets --reduce none.",
)
device = click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, ...")
out = click.option("--out", type=FOLDER, help="Folder for report and plots.")
run_out = click.option("--out", required=True, type=FOLDER, help="The run's directory.")

trust = click.option("--trust", multiple=True, help="Your own extractor (file or package) that may run; repeatable.")


def together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, in the order in which help shows them."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _keep_log(_: click.Context, __: click.Parameter, file: Path | None) -> None:
    if file is not None:
        output().log = Log(file)


def _be_quiet(_: click.Context, __: click.Parameter, is_quiet: bool) -> None:
    output().quiet = is_quiet


# What long commands print and log; `display` and `Progress` obey it.
telling = together(
    click.option(
        "--log", type=PATH, expose_value=False, callback=_keep_log, help="Append a time-stamped log to this file."
    ),
    click.option("--quiet", is_flag=True, expose_value=False, callback=_be_quiet, help="Print errors only."),
)
# What an extraction may use of this machine; `resources_of` makes the value.
resources = together(
    device,
    click.option("--batch-size", type=click.IntRange(1), help="Windows per batch; by default what suits the device."),
    click.option("--workers", type=click.IntRange(1), help="Reading processes; by default what suits the machine."),
)
# Where extraction runs; `engine_of` makes the value.
engine = together(
    click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="Compute in this process and its workers, or in Ray workers (extra: ray; docs/cluster.md).",
    ),
    click.option("--address", help="HOST:PORT of a Ray cluster, or auto; by default Ray is started here.  [ray]"),
    click.option("--num-workers", type=click.IntRange(1), help="Ray workers; by default as many as fit.  [ray]"),
    click.option("--cpus-per-worker", type=click.IntRange(1), help="Cores of a Ray worker; by default 1.  [ray]"),
    click.option(
        "--gpus-per-worker", type=click.FloatRange(0), help="GPUs of a Ray worker; by default 0; 0.5 shares.  [ray]"
    ),
)


def reduce_of(reduce: str, segments: Path | None) -> Any:
    """What `read_table` takes as `reduce`, by the flags; Any: one of its literals."""
    is_asked = click.get_current_context().get_parameter_source("reduce") is not ParameterSource.DEFAULT
    if segments is not None and reduce != "none" and is_asked:
        raise click.UsageError(f"--segments labels single rows: it goes with --reduce none, not {reduce}")
    return None if segments is not None else REDUCE[reduce]


def keep_for_us(out: Path | None) -> None:
    """Locks the folder of a result against other writers until the command ends."""
    from egotools.training.runs import results_in

    click.get_current_context().with_resource(results_in(out))


def engine_of(values: dict[str, Any]) -> Engine:
    """The engine that the parsed options ask for."""
    names = ("address", "num_workers", "cpus_per_worker", "gpus_per_worker")
    given = {name: values[name] for name in names if values[name] is not None}
    if values["engine"] == "local":
        if given:
            raise click.UsageError(f"--{next(iter(given)).replace('_', '-')} is for --engine ray")
        from egotools.extraction.pipeline import Pipeline

        return Pipeline
    from egotools.extraction.cluster.driver import Cluster

    try:
        return Cluster(**given)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def resources_of(values: dict[str, Any]) -> Any:
    """The `Resources` that the parsed options ask for."""
    from egotools.extraction.request import Resources

    return Resources(values["device"], values["batch_size"], values["workers"])


def trusted(values: dict[str, Any]) -> frozenset[str]:
    """The code that may run, as recipes name it: files by their whole path."""
    return frozenset(os.path.realpath(code) if code.endswith(".py") else code for code in values["trust"])


def from_fields(config: type, name: str = "config") -> Callable[[Command], Command]:
    """Gives a command one flag for each option of a dataclass; it receives the built dataclass as `name`."""

    def decorate(command: Command) -> Command:
        def call(*args: Any, **kwargs: Any) -> Any:  # Any: click passes whatever its options parse to
            kwargs[name] = build(config, kwargs)
            return command(*args, **kwargs)

        call.__doc__, call.__name__ = command.__doc__, command.__name__
        call.configs = (config, *getattr(command, "configs", ()))  # type: ignore[attr-defined]
        call.__click_params__ = [*getattr(command, "__click_params__", []), *reversed(parameters(config))]  # type: ignore[attr-defined]
        return call  # type: ignore[return-value]

    return decorate


def presets_of(command: Callable[..., Any]) -> dict[str, dict[str, Any]]:
    """By name, the options that the presets of a command's dataclasses set; Any: values of fields."""
    found: dict[str, dict[str, Any]] = {}
    for config in getattr(command, "configs", ()):
        for name, values in getattr(config, "presets", {}).items():
            found.setdefault(name, {}).update(values)
    return found


def parameters(config: type) -> list[click.Parameter]:
    """Click options for the fields of a dataclass that were declared with `egotools.config.option`."""
    hints = get_type_hints(config)
    return [_parameter(field, hints[field.name]) for field in dataclasses.fields(config) if "help" in field.metadata]


def build(config: type, values: dict[str, Any], **fixed: Any) -> Any:
    """The dataclass from parsed values, which it takes out of `values`. A ValueError of its checks is wrong usage."""
    options = [field.name for field in dataclasses.fields(config) if "help" in field.metadata]
    names = [name for name in options if name not in fixed]
    try:
        return config(**{name: values.pop(name) for name in names}, **fixed)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _parameter(field: dataclasses.Field[Any], hint: Any) -> click.Option:
    flag = "--" + field.name.replace("_", "-")
    shared: dict[str, Any] = {"default": field.default, "help": field.metadata["help"], "show_default": True}
    flags = [flag, *(f"--{name}" for name in [field.metadata["alias"]] if name)]
    if get_origin(hint) in (Union, types.UnionType):
        hint, *words = (part for part in get_args(hint) if part is not type(None))
        if words:
            return click.Option(flags, type=CountOr(get_args(words[0])), **shared)
    if hint is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}"], **shared)
    if get_origin(hint) is tuple:
        item = get_args(hint)[0]
        if get_origin(item) is Literal:
            return click.Option(flags, type=click.Choice(get_args(item)), multiple=True, **shared)
        return click.Option(flags, type=Several(item), **shared)
    if get_origin(hint) is Literal:
        return click.Option(flags, type=click.Choice(get_args(hint)), **shared)
    if field.metadata["choices"]:
        return click.Option(flags, type=click.Choice(field.metadata["choices"]), **shared)
    kind = PATH if hint is Path else hint
    return click.Option(flags, type=kind, **shared)


class CountOr(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.2
    """A whole number, or one of some words: `--frames 45`, `--frames all`."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self.words = words
        self.name = "|".join(["integer", *words])

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        if isinstance(value, int) or value in self.words:
            return value
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is not a whole number or {' or '.join(self.words)}", param, context)


class Several(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.2
    """Values separated by commas, as a tuple: `--k 1,5,20`."""

    def __init__(self, item: type) -> None:
        self.item = item
        self.name = f"{item.__name__},..."

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self.item(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list like 1,5,20", param, context)
