"""What the code base promises about its own shape: names, sizes, imports, finished work, a test for every rule."""

import ast
import functools
import re
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import click
import pytest

from choreo.cli import main

ROOT = Path(__file__).resolve().parent.parent
MODULE_LINES_MAX = 400
MODULE_LINES_MEDIAN_MAX = 150
COHESIVE_MODULE_LINES_MAX = 700
COHESIVE: dict[str, str] = {}
"""Modules that may be longer, since they hold one class or one table: why each of them reads better whole."""
FUNCTION_LINES_MAX = 70
COMMANDS = "choreo/cli/commands"
"""The only modules that may be called as others are: they are called as the commands."""
NOUNS_IN_ING = {"reading", "recording", "routing", "running", "shrinking", "testing"}
THEATRE = {
    "cast", "chance", "chronicle", "course", "fate", "members", "notes", "outside", "rehearsal", "remains", "scene",
    "stage", "standstill", "story", "trials", "underway",
}  # fmt: skip
RULES = [*range(1, 12), *range(13, 23), *range(29, 36), 39]
# Spelled in halves, so that this file does not find itself.
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK", "WI" + "P"]) + r")\b")
FOREIGN = re.compile(r"\.\./" + r"shared|/wo" + r"rk/|/tmp/" + r"plan")
# Read before the checkout is all there is: this one script may look beside it for images.
MAY_LOOK_OUTSIDE = {Path(".ci/run")}


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def line_count(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def tracked_texts() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=False
    )
    if listed.returncode:  # A source distribution is no checkout.
        names = [str(path.relative_to(ROOT)) for folder in ("choreo", "services", "tests") for path in modules(folder)]
    else:
        names = listed.stdout.decode().splitlines()
    suffixes = {".py", ".md", ".toml", ".yml", ".yaml", ".cfg", ".json", ".avsc", ""}
    return [path for name in names if (path := ROOT / name).is_file() and path.suffix in suffixes]


def module_name(path: Path) -> str:
    """Return what a module, or a package, is called in its folder."""
    return path.parent.name if path.stem == "__init__" else path.stem


def doubled(places: Iterable[tuple[str, Path]]) -> dict[str, list[str]]:
    """Return the names that stand in more than one place, and where."""
    found: dict[str, list[str]] = {}
    for name, path in places:
        found.setdefault(name, []).append(str(path.relative_to(ROOT)))
    return {name: paths for name, paths in found.items() if len(paths) > 1}


def imports() -> dict[str, set[str]]:
    """Return which modules of choreo each of them imports, for types or in functions as well."""
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in modules("choreo")
    }
    found: dict[str, set[str]] = {}
    for path in modules("choreo"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        targets: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                whole = [f"{node.module}.{alias.name}" for alias in node.names]
                targets |= {each if each in names else node.module for each in whole}
            elif isinstance(node, ast.Import):
                targets |= {alias.name for alias in node.names}
        found[name] = targets & names
    return found


def test_no_module_outgrows_a_sitting() -> None:
    sizes = {str(path.relative_to(ROOT)): line_count(path) for path in [*modules("choreo"), *modules("services")]}
    limits = dict.fromkeys(COHESIVE, COHESIVE_MODULE_LINES_MAX)

    assert {name: lines for name, lines in sizes.items() if lines > limits.get(name, MODULE_LINES_MAX)} == {}
    assert [name for name in COHESIVE if sizes.get(name, 0) <= MODULE_LINES_MAX] == [], "these need no exception"
    # An __init__ that only names its folder would flatter the median.
    assert statistics.median(lines for lines in sizes.values() if lines > 1) <= MODULE_LINES_MEDIAN_MAX


def test_no_function_outgrows_a_screen() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in [*modules("choreo"), *modules("services")]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]

    assert long == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in [*modules("choreo"), *modules("services")]
        if path.read_text(encoding="utf-8").strip()
        and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]

    assert silent == []


def test_module_names_are_nouns_of_the_domain() -> None:
    vague = {"utils", "util", "common", "helpers", "manager", "base", "misc", "types", "logging"}

    assert [str(path) for path in modules("choreo") if path.stem in vague or path.parent.name in vague] == []


def test_module_names_are_no_gerunds_and_no_theatre() -> None:
    names = {module_name(path) for path in modules("choreo")}

    assert {name for name in names if name.endswith("ing")} - NOUNS_IN_ING == set()
    assert names & THEATRE == set()


def test_no_module_name_stands_twice() -> None:
    paths = [path for path in modules("choreo") if path.parent != ROOT / COMMANDS]

    assert doubled((module_name(path), path) for path in paths) == {}


def test_no_class_name_stands_twice() -> None:
    classes = [
        (node.name, path)
        for path in modules("choreo")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    ]

    assert doubled(classes) == {}


def test_a_command_lives_in_the_module_of_its_name() -> None:
    homes = {path.stem for path in modules(COMMANDS)} - {"__init__"}

    assert homes == set(main.list_commands(click.Context(main)))


def test_no_imports_run_in_a_circle() -> None:
    left = imports()
    while True:
        # What imports nothing that is left, or is imported by nothing that is left, is in no circle.
        imported = {target for targets in left.values() for target in targets}
        kept = {name: targets & left.keys() for name, targets in left.items() if name in imported}
        kept = {name: targets for name, targets in kept.items() if targets}
        if kept == left:
            break
        left = kept

    assert left == {}


def test_imports_point_one_way() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run(['--no-cache'])"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_unfinished_is_committed() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number} {line.strip()[:80]}"
        for path in tracked_texts()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if UNFINISHED.search(line)
    ]

    assert found == []


def test_the_checkout_stands_alone() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number} {line.strip()[:80]}"
        for path in tracked_texts()
        if path.relative_to(ROOT) not in MAY_LOOK_OUTSIDE
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if FOREIGN.search(line)
    ]

    assert found == []


@functools.cache
def collected_tests() -> Counter[int]:
    """Count the tests a rule: functions that pytest would collect, with a body that asserts something."""
    found: Counter[int] = Counter()
    for path in modules("tests"):
        if not path.name.startswith("test_") and path.name != "transport_contract.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                named = re.match(r"test_r(\d\d)_\w", node.name)
                checks = any(
                    isinstance(inner, ast.Assert)
                    or (isinstance(inner, ast.Attribute) and inner.attr == "raises")
                    or (isinstance(inner, ast.Name) and inner.id.startswith("assert_"))
                    for inner in ast.walk(node)
                )
                if named and checks:
                    found[int(named[1])] += 1
    return found


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_a_test_under_its_number(rule: int) -> None:
    assert collected_tests()[rule] > 0, (
        f"no test is named test_r{rule:02d}_…: docs/explanation/semantics.md, rule {rule}"
    )


def test_every_rule_is_in_the_docs() -> None:
    text = (ROOT / "docs/explanation/semantics.md").read_text(encoding="utf-8")

    assert [rule for rule in range(1, 40) if not re.search(rf"^\*\*R{rule}\.\*\*", text, re.MULTILINE)] == []
