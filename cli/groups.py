"""Groups of commands that help with a slip: they suggest near names, and say where a misplaced option belongs."""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from egotools.errors import EgotoolsError


class Command(click.Command):
    """A command whose flags differ.

    Raises:
        EgotoolsError: two options share a flag, such as the fields of two dataclasses; Click would take either.
    """

    def __init__(self, name: str | None, **kwargs: Any) -> None:  # Any: of click
        super().__init__(name, **kwargs)
        flags = [flag for each in self.params for flag in (*each.opts, *each.secondary_opts)]
        names = [str(each.name) for each in self.params]
        for among in (flags, names):
            if twice := [each for each, count in Counter(among).items() if count > 1]:
                raise EgotoolsError(f"{name}: two of its options are called {twice[0]}; rename the field of one")


class Group(click.Group):
    """A group of commands, each with its own options."""

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(context, args[0]) is None:
            names = self.list_commands(context)
            near = [name for name in names if name.startswith(args[0])] or difflib.get_close_matches(args[0], names, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(names)}"
            context.fail(f"no such command {args[0]!r}; {hint}")
        return super().resolve_command(context, args)

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        given = list(args)  # click takes from `args` what it has parsed
        try:
            return super().parse_args(context, args)
        except click.NoSuchOption as error:
            for name in given:
                option = self._option_of(context, name, error.option_name)
                if option is not None:
                    between = "... " if self.chain else ""
                    words = words_of(option, error.option_name, given)
                    context.fail(
                        f"{error.option_name} belongs after {name}: {context.command_path} {between}{name} {words}"
                    )
            raise

    def _option_of(self, context: click.Context, name: str, flag: str) -> click.Option | None:
        """The option of the command `name`, if there is such a command and it has one."""
        try:
            command = None if name.startswith("-") else self.get_command(context, name)
        except (click.UsageError, EgotoolsError):
            return None
        return None if command is None else find_option(command, flag)


class LazyGroup(Group):
    """A group over a table `name -> ("module:attribute", one line)`: a command is imported when it is called.

    Modules are relative to this package. Help, completion and near names need the table only.
    """

    title = "Commands"

    def __init__(self, *args: Any, table: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:  # Any: of click
        super().__init__(*args, **kwargs)
        self.table = table

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.table:
            return None
        module, _, attribute = self.table[name][0].partition(":")
        command: click.Command = getattr(import_module(f".{module}", __package__), attribute)
        return command

    def summaries(self) -> dict[str, str]:
        """What each command is, in one line."""
        return {name: text for name, (_, text) in self.table.items()}

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        """Its options, and its commands by name, none of which is loaded for that."""
        names = [CompletionItem(name, help=text) for name, text in self.summaries().items()]
        own = [item for item in names if item.value.startswith(incomplete)]
        return [*own, *click.Command.shell_complete(self, context, incomplete)]

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section(self.title):
            formatter.write_dl(list(self.summaries().items()))


class Link(Command):
    """A command of a chain, after which an option of the whole chain may stand by mistake."""

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        """Its options, or the commands that may follow, which the chain knows without loading them."""
        if context.parent is None or incomplete.startswith("-"):
            return super().shell_complete(context, incomplete)
        return context.parent.command.shell_complete(context.parent, incomplete)

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        given = list(args)
        try:
            return super().parse_args(context, args)
        except click.NoSuchOption as error:
            chain = context.parent
            option = None if chain is None else find_option(chain.command, error.option_name)
            if chain is None or option is None:
                raise
            words = words_of(option, error.option_name, given)
            context.fail(
                f"{error.option_name} belongs before the first extractor: "
                f"{chain.command_path} {words} ... {context.info_name}"
            )


def find_option(command: click.Command, flag: str) -> click.Option | None:
    """The option of a command that `flag` sets."""
    options = (option for option in command.params if isinstance(option, click.Option))
    return next((option for option in options if flag in (*option.opts, *option.secondary_opts)), None)


def words_of(option: click.Option, flag: str, args: Sequence[str]) -> str:
    """How an option was typed, with its value."""
    for index, word in enumerate(args):
        if word == flag:
            return " ".join(args[index : index + (1 if option.is_flag else 2)])
        if word.startswith(f"{flag}="):
            return word
    return flag
