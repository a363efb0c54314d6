"""`choreo check`: what is wrong with services, each and together.

Arguments and the forms of the report live here, one for people and those that machines read; finding what is wrong
does not (`checks`). It needs no broker, unless it is to look at a system that runs (`against`), and belongs in a build.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from choreo import checks
from choreo.cli.command_group import EXIT_PROBLEMS
from choreo.cli.live_system import LiveSystem, against_options
from choreo.cli.output import counted, heading, note, print_json
from choreo.cli.target import load_with_manifests, targets_argument
from choreo.errors import Problem

_Found = Sequence[tuple[str, Problem]]
"""Problems by level, each with its place as seen from here."""
_PLACE = re.compile(r"(?P<file>.+):(?P<line>\d+)")


@click.command()
@targets_argument
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github", "sarif"]),
    default="text",
    show_default=True,
    help="text for people, github for annotations in a workflow, sarif for code scanning.",
)
@click.option("--strict", is_flag=True, help="Warnings count as problems.")
@against_options
def check(targets: tuple[str, ...], form: str, strict: bool, against: LiveSystem | None) -> None:
    """Check every TARGET and how they work together. Exit code 1 if something is wrong; warnings alone are fine.

    Name all services that work together: what one emits is looked for in the others. A TARGET may also be a file of
    manifests, as `choreo describe --json` prints them: a name that ends in .json, or - for standard input.
    """
    services, beside = load_with_manifests(targets)
    if against is None:
        problems, warnings = checks.check(*services, beside=beside), checks.WARNINGS
    else:
        problems, warnings = against.check(*services, beside=beside)
    here = f"{Path.cwd()}/"
    found = [
        ("warning" if each.code in warnings else "error", replace(each, place=each.place.removeprefix(here)))
        for each in problems
    ]
    _FORMS[form](found)
    wrong = sum(level == "error" for level, _ in found)
    warned = len(found) - wrong
    if form == "text":
        totals = [counted(number, what) for number, what in ((wrong, "problem"), (warned, "warning")) if number]
        note(", ".join(totals) or "Nothing is wrong.")
    if wrong or (strict and warned):
        raise click.exceptions.Exit(EXIT_PROBLEMS)


def _text(found: _Found) -> None:
    for level, problem in found:
        click.echo(heading(level, "yellow" if level == "warning" else "red", problem.code, problem.message))
        if problem.place:
            click.echo(f"    at   {problem.place}")
        click.echo(f"    fix  {problem.fix}\n")


def _json(found: _Found) -> None:
    print_json([{"level": level, **asdict(problem)} for level, problem in found])


def _github(found: _Found) -> None:
    """Print workflow commands: https://docs.github.com/actions/reference/workflow-commands-for-github-actions."""
    for level, problem in found:
        file, line = _parts(problem.place)
        where = f"file={_property(file)},line={line}," if file else ""
        text = f"{problem.message}. {problem.fix}".replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
        click.echo(f"::{level} {where}title={problem.code}::{text}")


def _sarif(found: _Found) -> None:
    """Print SARIF 2.1.0 (OASIS): one run, a rule for each code that was met."""
    rules = [
        {"id": code, "shortDescription": {"text": checks.CODES[code]}}
        for code in sorted({problem.code for _, problem in found})
    ]
    results: list[dict[str, Any]] = []
    for level, problem in found:
        text = f"{problem.message}. {problem.fix}"
        result: dict[str, Any] = {"ruleId": problem.code, "level": level, "message": {"text": text}}
        file, line = _parts(problem.place)
        if file:
            artifact = {"uri": quote(file)}
            result["locations"] = [{"physicalLocation": {"artifactLocation": artifact, "region": {"startLine": line}}}]
        results.append(result)
    print_json(
        {
            "version": "2.1.0",
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "runs": [{"tool": {"driver": {"name": "choreo", "rules": rules}}, "results": results}],
        }
    )


_FORMS = {"text": _text, "json": _json, "github": _github, "sarif": _sarif}


def _parts(place: str) -> tuple[str, int]:
    found = _PLACE.fullmatch(place)
    return (found["file"], int(found["line"])) if found else ("", 1)


def _property(text: str) -> str:
    return text.replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
