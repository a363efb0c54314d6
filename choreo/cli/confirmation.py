"""What a person must say before anything is changed: who asks, why, and that it is meant.

The flags `--actor`, `--reason`, `--dry-run` and `--yes`, the preview and the question live here; what is done does not.
`parked` and `dlq` decorate with it every command that changes something.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import click

from choreo.cli.command_group import EXIT_PROBLEMS, bundle
from choreo.cli.output import note, print_json
from choreo.records import TEXT_CHARS_MAX

SAMPLE_MAX = 10
"""How many of the things to be done are shown."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What the command line said about a change: the flags of `confirmation_options`."""

    actor: str
    reason: str
    dry_run: bool
    yes: bool

    def given(
        self, words: str, count: int, sample: Sequence[tuple[str, object]], warnings: Sequence[str], *, as_json: bool
    ) -> bool:
        """Show what is to be done, and return whether to do it.

        Args:
            words: What is done, such as "retry 3 parked steps".
            count: To how many.
            sample: Some of them, in words and for JSON.
            warnings: What a person should know before saying yes.
            as_json: A dry run answers in JSON.

        Raises:
            click.UsageError: If there is neither --yes nor a terminal to ask at.
        """
        if self.dry_run and as_json:
            print_json({"dry_run": True, "count": count, "sample": [item for _, item in sample]})
        else:
            more = [f"and {count - len(sample):,} more"] if count > len(sample) else []
            # This is what a dry run answers; otherwise standard output stays free for data.
            click.echo("\n  ".join([words, *(line for line, _ in sample), *more]), err=not self.dry_run)
        for line in warnings:
            note(line)
        if self.dry_run or self.yes:
            return not self.dry_run
        if not sys.stdin.isatty():
            raise click.UsageError("There is no terminal to ask at. Say --yes to do it, or --dry-run to look only.")
        if click.confirm("Go on?", err=True):
            return True
        note("Nothing was done.")
        raise click.exceptions.Exit(EXIT_PROBLEMS)


def _text(_: click.Context, parameter: click.Parameter, value: str) -> str:
    # What the terminal typed may be no text at all, and comes as lone surrogates then.
    typed = value.strip().encode("utf-8", "replace").decode()
    if not 0 < len(typed) <= TEXT_CHARS_MAX:
        raise click.BadParameter(f"say something, in at most {TEXT_CHARS_MAX} characters", param=parameter)
    return typed


confirmation_options = bundle(
    "confirmation",
    Confirmation,
    click.option("--actor", required=True, callback=_text, help="Who asks for it; it is kept."),
    click.option("--reason", required=True, callback=_text, help="Why; it is kept."),
    click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing."),
    click.option("--yes", is_flag=True, help="Do it without asking."),
)
"""Gives a command the flags of every act; it gets them as `confirmation`, a `Confirmation`."""
