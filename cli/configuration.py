"""Defaults of a command from elsewhere: `--config FILE`, and `--preset NAME` where its options declare presets.

A flag wins over the file, the file over the preset, the preset over the default.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from egotools.errors import EgotoolsError
from egotools.texts import similar_names

from .groups import Command
from .options import PATH, Several, presets_of

CONFIG, PRESET = "config_file", "preset"
NULL = "tag:yaml.org,2002:null"


class MethodCommand(Command):
    """A command of a method, whose options also come from a file or a preset."""

    preset = PRESET  # the name of the flag
    preset_help = "Options of this name as defaults; flags and --config win over it."

    def __init__(self, name: str | None, *, params: list[click.Parameter], **kwargs: Any) -> None:  # Any: of click
        self.presets = presets_of(kwargs["callback"])
        help = "YAML of options, such as 'epochs: 20'; flags win over it."
        last = [click.Option(["--config", CONFIG], type=PATH, expose_value=False, help=help)]
        if self.presets:
            choice = click.Choice(list(self.presets))
            last.insert(0, click.Option([f"--{self.preset}"], type=choice, help=self.preset_help))
        super().__init__(name, params=[*params, *last], **kwargs)
        for preset, values in self.presets.items():
            if unknown := set(values) - {param.name for param in params}:
                raise EgotoolsError(f"{name}: the preset {preset!r} sets {min(unknown)!r}, which is not an option")

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if not context.resilient_parsing:
            given, _, named = self.make_parser(context).parse_args(list(args))
            if self.get_help_option(context) not in named:
                context.default_map = self._defaults(context, given)
        return super().parse_args(context, args)

    def _defaults(self, context: click.Context, given: Mapping[str, Any]) -> dict[str, Any]:
        file = given.get(CONFIG)
        read = {} if file is None else self._of_file(context, Path(file))
        name = given.get(self.preset, read.get(self.preset))
        return {**self._of_preset(context, name, {**read, **given}), **read}

    def _of_preset(self, context: click.Context, preset: str | None, said: Mapping[str, Any]) -> dict[str, Any]:
        """The values of a preset, if there is one; `said` are those of the file and the command line."""
        return self.presets.get(str(preset), {})

    def _of_file(self, context: click.Context, path: Path) -> dict[str, Any]:
        """The values of a file by the names of parameters, each as its flag would parse it."""
        flags = [each for each in self.params if isinstance(each, click.Option) and each.name != CONFIG]
        options = {each.opts[0].lstrip("-"): each for each in flags}
        values: dict[str, Any] = {}
        for key, written in read_entries(path).items():
            option = options.get(key)
            if option is None:
                raise click.UsageError(f"{path}: no option {key!r}; {_near(key, options)}", context)
            values[str(option.name)] = _parsed(context, option, written, f"{path}: {key}")
        return values


def read_entries(path: Path) -> dict[str, str | list[str]]:
    """The entries of a YAML file, as text: `epochs: 20` is "20", as it would be on the command line.

    Raises:
        UsageError: unreadable, no plain list of options, or an option twice; names the file and the line or key.
    """
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise click.UsageError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(root, yaml.MappingNode):
        raise click.UsageError(f"{path}: must hold lines such as 'epochs: 20'")
    entries: dict[str, str | list[str]] = {}
    for key_node, value_node in root.value:
        key = str(key_node.value).replace("_", "-") if isinstance(key_node, yaml.ScalarNode) else "?"
        if key in entries:
            raise click.UsageError(f"{path}: {key} is given twice")
        entries[key] = _text(value_node, f"{path}: {key}")
    return entries


def _near(key: str, options: Iterable[str]) -> str:
    near = similar_names(key, options, most=1)
    return f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(options)}"


def _text(node: yaml.Node, where: str) -> str | list[str]:
    if isinstance(node, yaml.SequenceNode) and all(isinstance(each, yaml.ScalarNode) for each in node.value):
        return [str(_text(each, where)) for each in node.value]
    if not isinstance(node, yaml.ScalarNode):
        raise click.UsageError(f"{where}: must be a value or a list of values, nothing nested")
    if node.tag == NULL:
        raise click.UsageError(f"{where}: has no value; leave the line out for the default")
    return str(node.value)


def _parsed(context: click.Context, option: click.Option, written: str | list[str], where: str) -> Any:
    """A value as the option's own type has it; Any: of whichever type that is."""
    if isinstance(written, list) and not option.multiple:
        if not isinstance(option.type, Several):
            raise click.UsageError(f"{where}: takes one value, not a list", context)
        written = ",".join(written)
    try:
        return option.type_cast_value(context, [written] if option.multiple and isinstance(written, str) else written)
    except click.BadParameter as error:
        raise click.UsageError(f"{where}: {error.message}", context) from error
