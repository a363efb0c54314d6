"""`choreo verify`: every possible run of services, within bounds, checked before any of them runs.

Arguments and the forms of the report live here; exploring the runs does not (`verify`). It needs no broker, and
belongs in a build.
"""

from dataclasses import asdict
from typing import Any

import click

from choreo.cli.command_group import EXIT_PROBLEMS
from choreo.cli.output import counted, heading, json_option, note, print_json
from choreo.cli.target import load, targets_argument
from choreo.verify import Bounds, Proof
from choreo.verify import verify as prove

_count = click.IntRange(min=0)


@click.command()
@targets_argument
@click.option("--duplicates", type=_count, default=1, show_default=True, help="Records that come twice.")
@click.option("--crashes", type=_count, default=1, show_default=True, help="Crashes between an effect and its commit.")
@click.option("--failures", type=_count, default=1, show_default=True, help="Steps that raise, or take too long.")
@click.option("--branches", type=click.IntRange(min=1), default=2, show_default=True, help="Branches of a fan-out.")
@click.option(
    "--states-max", type=click.IntRange(min=1), default=2_000_000, show_default=True, help="States to look at."
)
@click.option("--test", "as_test", is_flag=True, help="Print each counterexample as a test to paste, too.")
@json_option
def verify(targets: tuple[str, ...], as_test: bool, as_json: bool, **bounds: int) -> None:
    """Go through every run of all TARGETs together: outcomes, errors, orders, duplicates, crashes.

    Exit code 1 if an invariant does not hold, with the shortest run that breaks it, or if the bounds were too narrow.
    Name all services that work together.
    """
    proofs = prove(*load(targets), bounds=Bounds(**bounds))
    if as_json:
        print_json([_plain(each) for each in proofs])
    else:
        for each in proofs:
            _print(each)
            if as_test and each.test:
                click.echo(f"\n{each.test}")
        if not proofs:
            note("None of these services owns a saga type: there is nothing to verify.")
    if not all(each.holds for each in proofs):
        raise click.exceptions.Exit(EXIT_PROBLEMS)


def _print(proof: Proof) -> None:
    bounds = proof.bounds
    within = (
        f"{counted(bounds.duplicates, 'duplicate')}, {counted(bounds.crashes, 'crash')}, "
        f"{counted(bounds.failures, 'failing step')}, {counted(bounds.branches, 'branch')}"
    )
    if proof.breach is not None:
        click.echo(heading("broken", "red", proof.saga, f"{proof.breach}\n"))
        for number, line in enumerate(proof.story, 1):
            click.echo(f"  {number:>3}. {line}")
        click.echo()
    elif proof.whole:
        click.echo(heading("holds", "green", proof.saga, "in every run"))
    else:
        text = f"no breach in the first {proof.states:,} states; --states-max allows no more"
        click.echo(heading("unknown", "yellow", proof.saga, text))
    click.echo(f"    within    {within}")
    click.echo(
        f"    looked at {proof.states:,} states, {proof.transitions:,} ways between them, {proof.rests:,} of them at "
        f"rest; the longest run has {proof.depth} steps; {proof.seconds:.1f} s"
    )


def _plain(proof: Proof) -> dict[str, Any]:
    plain = asdict(proof)
    plain["breach"] = proof.breach._asdict() if proof.breach is not None else None
    return {"holds": proof.holds, **plain}
