"""What click lacks: commands that are imported when they run, errors for people, and options in bundles.

Lazy loading, suggestions for misspelt commands, `CommandFailed` and `bundle` live here; commands and their options do
not. `choreo.cli.main` is a `LazyGroup`, and every command goes through it.
"""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from errno import EPIPE
from functools import wraps
from importlib import import_module
from inspect import signature
from typing import Any, TypeVar, cast

import click

from choreo.errors import ChoreoError

F = TypeVar("F", bound=Callable[..., Any])
COMMANDS = "choreo.cli.commands"
EXIT_PROBLEMS = 1
EXIT_USAGE = 2


class CommandFailed(click.ClickException):
    """An error in words that a person can act on, one problem a line."""

    def __init__(self, lines: list[str], exit_code: int = EXIT_PROBLEMS) -> None:
        super().__init__("\n".join(lines))
        # click declares one code for the class, and reads it from the instance.
        vars(self)["exit_code"] = exit_code

    def show(self, file: Any = None) -> None:
        """Print the error to `file`, which is untyped in click, or to standard error."""
        for line in self.message.splitlines():
            click.echo(f"{click.style('error', fg='red', bold=True)}  {line}", file=file, err=file is None)


class LazyGroup(click.Group):
    """A group that knows its commands by their help, and imports one from `COMMANDS` when it runs."""

    def __init__(self, *args: Any, help_of: Mapping[str, str], **kwargs: Any) -> None:  # click's own
        super().__init__(*args, **kwargs)
        self._help_of = help_of

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's form
        """Return the commands in the order of the table."""
        return list(self._help_of)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's form
        """Import a command."""
        if cmd_name not in self._help_of:
            return None
        command = getattr(import_module(f"{COMMANDS}.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was typed, or suggest the one that was meant."""
        if args and args[0] not in self._help_of and not args[0].startswith("-"):
            hint = suggestion(args[0], self._help_of) or f" There are: {', '.join(self._help_of)}."
            raise click.UsageError(f"There is no command {args[0]}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._help_of.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; choreo's own errors are printed without a traceback."""
        try:
            return super().invoke(ctx)
        except ChoreoError as error:
            raise CommandFailed(error_lines(error)) from error
        except OSError as error:
            # A closed pipe is click's to handle; the rest is a port that is taken, or a file that cannot be written.
            if error.errno == EPIPE:
                raise
            place = f": {error.filename}" if error.filename else ""
            raise CommandFailed([f"{error.strerror or error}{place}"]) from error


def error_lines(error: ChoreoError) -> list[str]:
    """Return an error as lines for people, each problem on its own."""
    problems = getattr(error, "problems", None)
    return [str(problem) for problem in problems] if problems else (str(error) or type(error).__name__).splitlines()


def suggestion(typed: str, names: Iterable[str], *, prefix: str = "") -> str:
    """Return " Did you mean …?" with the name nearest to what was typed, prefixed; "" where none is near."""
    close = get_close_matches(typed, list(names), n=1)
    return f" Did you mean {prefix}{close[0]}?" if close else ""


def bundle(name: str, make: Callable[..., object], *options: Callable[[Any], Any]) -> Callable[[F], F]:
    """Return a decorator that gives a command several options, and their values as one argument.

    Args:
        name: What the argument is called.
        make: Makes it of the options' values, by their names; where there is no such option, its own default stands.
        options: In the order of the command's help.
    """
    names = signature(make).parameters

    def decorate(command: F) -> F:
        @wraps(command)
        def bundled(*args: Any, **kwargs: Any) -> Any:
            values = {each: kwargs.pop(each) for each in names if each in kwargs}
            return command(*args, **kwargs, **{name: make(**values)})

        decorated: Any = bundled
        for option in reversed(options):
            decorated = option(decorated)
        return cast("F", decorated)

    return decorate
