"""What a person must say before anything is changed: who asks, why, and that it is meant.

The flags `--actor`, `--reason`, `--dry-run` and `--yes`, the look before the leap and the question live here; what is
done does not. `parked` and `dlq` decorate with it every command that acts.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import click

from choreo.cli.group import EXIT_PROBLEMS
from choreo.cli.output import note, print_json

F = TypeVar("F", bound=Callable[..., Any])
SAMPLE_MAX = 10
"""Of what is to be done, so many are shown."""
RATE_DEFAULT = 50.0

rate_option = click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    default=RATE_DEFAULT,
    show_default=True,
    help="At most so many a second.",
)


@dataclass(frozen=True, slots=True)
class Look:
    """What is to be done, as it is shown beforehand.

    Attributes:
        count: How many there are.
        words: What is done to them, such as "retry 3 parked steps".
        sample: Some of them, in words.
        items: The same, for JSON.
        warnings: What a person should know before saying yes.
    """

    count: int
    words: str
    sample: Sequence[str]
    items: Sequence[dict[str, Any]]
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Consent:
    """What the command line said about an act.

    Attributes:
        actor: The person who asks for it.
        reason: Why.
        dry_run: Only say what would be done.
        yes: It is meant; ask nobody.
    """

    actor: str
    reason: str
    dry_run: bool
    yes: bool

    def given(self, look: Look, *, as_json: bool) -> bool:
        """Show what is to be done, and return whether to do it.

        Raises:
            click.UsageError: If nobody said yes and nobody is there to be asked.
        """
        if self.dry_run and as_json:
            print_json({"dry_run": True, "count": look.count, "sample": list(look.items)})
        else:
            self._show(look)
        for line in look.warnings:
            note(line)
        if self.dry_run or self.yes:
            return not self.dry_run
        if not sys.stdin.isatty():
            raise click.UsageError("Nobody is at a terminal to be asked. Say --yes to do it, --dry-run to look only.")
        if click.confirm("Go on?", err=True):
            return True
        note("Nothing was done.")
        raise click.exceptions.Exit(EXIT_PROBLEMS)

    def _show(self, look: Look) -> None:
        # Of a dry run this is the answer; otherwise it is talk, and standard output stays for data.
        talk = not self.dry_run
        click.echo(look.words, err=talk)
        for line in look.sample:
            click.echo(f"  {line}", err=talk)
        if look.count > len(look.sample):
            click.echo(f"  and {look.count - len(look.sample):,} more", err=talk)


def _text(_: click.Context, parameter: click.Parameter, value: str) -> str:
    from choreo.command import TEXT_CHARS_MAX

    # What the terminal typed may be no text at all, and comes as lone surrogates then.
    typed = value.strip().encode("utf-8", "replace").decode()
    if not 0 < len(typed) <= TEXT_CHARS_MAX:
        raise click.BadParameter(f"say something, in at most {TEXT_CHARS_MAX} characters", param=parameter)
    return typed


def consent_options(command: F) -> F:
    """Give a command the flags of every act; it gets them as `consent`, a `Consent`."""

    @wraps(command)
    def with_consent(*args: Any, actor: str, reason: str, dry_run: bool, yes: bool, **kwargs: Any) -> Any:
        return command(*args, consent=Consent(actor, reason, dry_run, yes), **kwargs)

    decorated: Any = with_consent
    for option in (
        click.option("--yes", is_flag=True, help="Do it without asking."),
        click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing."),
        click.option("--reason", required=True, callback=_text, help="Why; it is kept."),
        click.option("--actor", required=True, callback=_text, help="Who asks for it; it is kept."),
    ):
        decorated = option(decorated)
    result: F = decorated
    return result
