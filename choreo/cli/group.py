"""Command groups that load a command when it is run, and say errors for people.

Lazy loading, suggestions for misspelt commands and the mapping from errors to exit codes live here; commands do not.
The root command is one of these groups.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from errno import EPIPE
from importlib import import_module
from typing import Any, NamedTuple

import click

from choreo.errors import ChoreoError

EXIT_PROBLEMS = 1
EXIT_USAGE = 2


class Lazy(NamedTuple):
    """A command that is not loaded yet."""

    module: str
    attribute: str
    help: str


class Told(click.ClickException):
    """An error that has been put into words already.

    Args:
        lines: What to print, one problem a line.
        exit_code: 1 for problems found, 2 for wrong usage.
    """

    def __init__(self, lines: list[str], exit_code: int = EXIT_PROBLEMS) -> None:
        super().__init__("\n".join(lines))
        # click declares one code for the class, and reads it from the instance.
        vars(self)["exit_code"] = exit_code

    def show(self, file: Any = None) -> None:
        """Print the error to standard error, unless told otherwise. `file` is untyped, as it is in click."""
        for line in self.message.splitlines():
            click.echo(f"{click.style('error', fg='red', bold=True)}  {line}", file=file, err=file is None)


class LazyGroup(click.Group):
    """A group whose commands are imported when they run."""

    def __init__(self, *args: Any, commands_later: Mapping[str, Lazy], **kwargs: Any) -> None:  # click's own arguments
        super().__init__(*args, **kwargs)
        self._later = dict(commands_later)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's form
        """Return the commands in the order of the table."""
        return list(self._later)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's form
        """Import a command."""
        lazy = self._later.get(cmd_name)
        if lazy is None:
            return None
        command = getattr(import_module(lazy.module), lazy.attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was typed, or suggest the one that was meant."""
        if args and args[0] not in self._later and not args[0].startswith("-"):
            close = get_close_matches(args[0], self._later, n=1)
            hint = f" Did you mean {close[0]}?" if close else f" There are: {', '.join(self._later)}."
            raise click.UsageError(f"There is no command {args[0]}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.help) for name, lazy in self._later.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what choreo raises on purpose is told without a traceback."""
        try:
            return super().invoke(ctx)
        except ChoreoError as error:
            raise Told(error_lines(error)) from error
        except OSError as error:
            # A closed pipe is click's to handle; the rest is a port that is taken, or a file that cannot be written.
            if error.errno == EPIPE:
                raise
            place = f": {error.filename}" if error.filename else ""
            raise Told([f"{error.strerror or error}{place}"]) from error


def error_lines(error: ChoreoError) -> list[str]:
    """Return an error as lines for people, each problem on its own."""
    problems = getattr(error, "problems", None)
    return [str(problem) for problem in problems] if problems else (str(error) or type(error).__name__).splitlines()
