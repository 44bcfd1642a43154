"""A command whose options are those of one of several dataclasses: one option, such as `--net`, says of which."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args, get_type_hints

import click

from .configuration import MethodCommand
from .options import Command, build, parameters


def from_one_of(chooser: str, configs: Mapping[str, type], *, name: str = "config") -> Callable[[Command], Command]:
    """As `from_fields`, with the flags of several dataclasses; the value of one, a `Literal`, says which is meant.

    Flags of the same name are one; those of another dataclass than the chosen one are refused.

    Args:
        chooser: the field that all of them have, each with values of its own.
        configs: by what help and messages call them; the first is meant by default. The command is a `FamilyCommand`.
        name: of the command's argument.
    """
    families = Families(chooser, configs)

    def decorate(command: Command) -> Command:
        def call(*args: Any, **kwargs: Any) -> Any:  # Any: click passes whatever its options parse to
            chosen = families.of(kwargs[chooser])
            kwargs[name] = build(chosen, kwargs)
            for other in families.foreign(chosen):
                del kwargs[other]
            return command(*args, **kwargs)

        call.__doc__, call.__name__ = command.__doc__, command.__name__
        call.families = families  # type: ignore[attr-defined]
        call.configs = (*configs.values(), *getattr(command, "configs", ()))  # type: ignore[attr-defined]
        call.__click_params__ = [*getattr(command, "__click_params__", []), *reversed(families.parameters())]  # type: ignore[attr-defined]
        return call  # type: ignore[return-value]

    return decorate


class Families:
    """Dataclasses of options, one of which is meant."""

    def __init__(self, chooser: str, configs: Mapping[str, type]) -> None:
        self.chooser, self.configs = chooser, [*configs.values()]
        self._titles = {config: title for title, config in configs.items()}
        self._choices = {config: get_args(get_type_hints(config)[chooser]) for config in configs.values()}

    def of(self, choice: str) -> type:
        """Whose choice it is."""
        return next(config for config, choices in self._choices.items() if choice in choices)

    def titled(self, config: type) -> str:
        """What it is called."""
        return self._titles[config]

    def fields(self, config: type) -> dict[str, Any]:
        """The options of one and their defaults; Any: of fields."""
        return {each.name: each.default for each in dataclasses.fields(config) if "help" in each.metadata}

    def foreign(self, chosen: type) -> dict[str, type]:
        """The options that the chosen one does not have, and whose they are."""
        found = {name: config for config in reversed(self.configs) for name in self.fields(config)}
        return {name: config for name, config in found.items() if name not in self.fields(chosen)}

    def parameters(self) -> list[click.Parameter]:
        """The flags of all, those of the first come first."""
        found: dict[str, list[tuple[type, click.Option]]] = {}
        for config in self.configs:
            for each in parameters(config):
                assert isinstance(each, click.Option)
                found.setdefault(str(each.name), []).append((config, each))
        return [self._merged(flags) for flags in found.values()]

    def _merged(self, flags: Sequence[tuple[type, click.Option]]) -> click.Option:
        """One flag for those of the same name."""
        config, option = flags[0]
        if len(flags) < len(self.configs):
            option.help = f"{option.help}  [{self.titled(config)}]"
            return option
        if option.name == self.chooser:
            option.type = click.Choice([choice for choices in self._choices.values() for choice in choices])
        helps = dict.fromkeys(str(each.help) for _, each in flags)
        if len(helps) > 1:
            told = [f"  With {self.titled(kind)}: {each.help}" for kind, each in flags if each.help != option.help]
            option.help = f"{option.help}{''.join(told)}"
        if option.name != self.chooser and any(each.default != option.default for _, each in flags):
            defaults = [f"{self.titled(kind)}: {_shown(each.default)}" for kind, each in flags]
            option.default, option.show_default = None, ", ".join(defaults)
        return option


class FamilyCommand(MethodCommand):
    """Its callback was decorated by `from_one_of`; a preset is of one family, too."""

    def _of_preset(self, context: click.Context, preset: str | None, said: Mapping[str, Any]) -> dict[str, Any]:
        families: Families = self.callback.families  # type: ignore[union-attr]
        chosen = self._chosen(families, preset, said.get(families.chooser))
        presets: Mapping[str, Mapping[str, Any]] = getattr(chosen, "presets", {})
        if preset is not None and preset not in presets:
            of = [each for each in families.configs if preset in getattr(each, "presets", {})]
            if of:
                raise click.UsageError(
                    f"--preset {preset} is for --{families.chooser} {families.titled(of[0])}...", context
                )
        for name, other in families.foreign(chosen).items():
            if name in said:
                flag, wanted = name.replace("_", "-"), families.titled(other)
                raise click.UsageError(
                    f"--{flag} is for --{families.chooser} {wanted}..., not {families.titled(chosen)}...", context
                )
        own = {name: value for name, value in families.fields(chosen).items() if value is not None}
        return {**own, **presets.get(str(preset), {})}

    def _chosen(self, families: Families, preset: str | None, choice: str | None) -> type:
        """By the option, or by the preset, or else the first one."""
        if choice is not None:
            try:
                return families.of(choice)
            except StopIteration:
                return families.configs[0]  # what is wrong with it is said when it is parsed
        of = [each for each in families.configs if preset in getattr(each, "presets", {})]
        return (of or families.configs)[0]


def _shown(default: Any) -> str:  # Any: of a field
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return "none" if default is None else str(default)
