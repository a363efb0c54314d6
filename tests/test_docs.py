"""The documentation is held to the code: examples run, error codes have pages, schemas are what is written."""

import importlib
import json
import re
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE_COLUMNS_MAX = 88
CODE = re.compile(r"\bCH\d{3}\b")


def python_blocks(path: Path) -> list[str]:
    return FENCE.findall(path.read_text(encoding="utf-8"))


def run_pytest(folder: Path) -> str:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-W",
            "error",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:asyncio",
            "--rootdir",
            str(folder),
            ".",
        ],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT}:{folder}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_readme_example_runs(tmp_path: Path) -> None:
    service, events, rest = python_blocks(ROOT / "README.md")[:3]
    assert len([line for line in service.splitlines() if line.strip()]) <= 10
    (tmp_path / "shop.py").write_text(events, encoding="utf-8")
    (tmp_path / "stock.py").write_text(service, encoding="utf-8")
    (tmp_path / "test_shop.py").write_text(rest, encoding="utf-8")

    assert "1 passed" in run_pytest(tmp_path)


def write_tutorial(folder: Path) -> None:
    (folder / "trip").mkdir()
    (folder / "trip" / "__init__.py").touch()
    for block in python_blocks(DOCS / "tutorial" / "first-saga.md"):
        name = block.partition("\n")[0].removeprefix("# ")
        (folder / name).write_text(block, encoding="utf-8")


def test_the_tutorial_s_tests_pass(tmp_path: Path) -> None:
    write_tutorial(tmp_path)

    assert "2 passed" in run_pytest(tmp_path)


def test_the_tutorial_runs_embedded(tmp_path: Path) -> None:
    write_tutorial(tmp_path)
    told = subprocess.run(
        [sys.executable, "-W", "error", "see_trip.py"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert told.returncode == 0, told.stderr
    assert "t-1 completed" in told.stdout
    assert "t-2 failed Oslo has no room for 30 nights" in told.stdout


@pytest.mark.parametrize(
    "path", sorted([*DOCS.rglob("*.md"), ROOT / "README.md"]), ids=lambda path: str(path.relative_to(ROOT))
)
def test_python_in_the_docs_is_python(path: Path) -> None:
    for block in python_blocks(path):
        compile(re.sub(r"(?<=[(\[])\.\.\.(?=[)\]])", "", block), str(path), "exec")


def codes_in_the_source() -> dict[str, str]:
    return {
        code: str(path.relative_to(ROOT))
        for path in sorted((ROOT / "choreo").rglob("*.py"))
        for code in CODE.findall(path.read_text(encoding="utf-8"))
        if "test" not in path.name
    }


def test_every_error_code_has_a_page() -> None:
    pages = {path.stem for path in (DOCS / "errors").glob("CH*.md")}

    assert {code: place for code, place in codes_in_the_source().items() if code not in pages} == {}


def test_every_error_page_has_a_code() -> None:
    pages = {path.stem for path in (DOCS / "errors").glob("CH*.md")}

    assert pages - set(codes_in_the_source()) == set()


def test_error_pages_carry_the_titles_of_the_code_table() -> None:
    codes: dict[str, str] = dict(importlib.import_module("choreo.checks").CODES)
    wrong = [
        code
        for code, title in codes.items()
        if not (DOCS / "errors" / f"{code}.md")
        .read_text(encoding="utf-8")
        .startswith(f"# {code}: {title.removesuffix(' (a warning)')}\n")
    ]

    assert wrong == []


def test_the_error_index_lists_every_page() -> None:
    index = (DOCS / "errors" / "index.md").read_text(encoding="utf-8")

    assert [path.name for path in sorted((DOCS / "errors").glob("CH*.md")) if f"]({path.name})" not in index] == []


def test_the_decisions_index_lists_every_record() -> None:
    index = (DOCS / "decisions" / "index.md").read_text(encoding="utf-8")

    assert [p.name for p in sorted((DOCS / "decisions").glob("0*.md")) if f"]({p.name})" not in index] == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    reached_by_an_index = {"errors", "decisions"}
    lost = [
        str(path.relative_to(DOCS))
        for path in sorted(DOCS.rglob("*.md"))
        if f'"{path.relative_to(DOCS)}"' not in navigation
        and not (path.parent.name in reached_by_an_index and path.name != "index.md")
    ]

    assert lost == []


@pytest.mark.parametrize("name", ["journal", "ends", "manifest", "settings"])
def test_the_json_schemas_are_schemas(name: str) -> None:
    schema = json.loads((DOCS / "reference" / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))

    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(("module", "name"), [("choreo.manifest", "Manifest"), ("choreo.settings", "Settings")])
def test_the_json_schemas_are_the_models_own(module: str, name: str) -> None:
    model = getattr(importlib.import_module(module), name)
    path = DOCS / "reference" / "schemas" / f"{name.lower()}.schema.json"

    assert json.loads(path.read_text(encoding="utf-8")) == model.model_json_schema(), "run: make generated"


DIRECTIVE = re.compile(r"^::: (\S+)\n((?: {4}.*\n)*)", re.MULTILINE)


def resolved(path: str) -> object:
    """Return what a dotted path names; a module counts before a function of its name, as for the reference's reader."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            found = getattr(found, name)
        return found
    raise AssertionError(f"there is no {path}")


def documented() -> dict[str, object]:
    """Return what docs/reference shows: each directive, and of a module each member that it names."""
    shown: dict[str, object] = {}
    for page in sorted((DOCS / "reference").glob("*.md")):
        for path, options in DIRECTIVE.findall(page.read_text(encoding="utf-8") + "\n"):
            found = resolved(path)
            if isinstance(found, types.ModuleType):
                members = re.search(r"members: \[(.*)\]", options)
                names = members[1].split(", ") if members else [name for name in vars(found) if name[0] != "_"]
                shown |= {f"{path}.{name}": getattr(found, name) for name in names}
            else:
                shown[path] = found
    return shown


@pytest.mark.parametrize("module", ["choreo", "choreo.testing", "choreo.tracker", "choreo.verify"])
def test_the_reference_shows_every_public_name(module: str) -> None:
    shown = {path.rpartition(".")[2] for path in documented() if path.startswith(f"{module}.")}

    assert set(importlib.import_module(module).__all__) - shown == set()


def test_the_reference_shows_nothing_private() -> None:
    options = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["plugins"]["mkdocstrings"]

    assert options["handlers"]["python"]["options"]["filters"] == ["!^_"]
    assert [path for path in documented() if "._" in path] == []


def test_code_in_the_docs_is_not_cut() -> None:
    wide = [
        f"{path.relative_to(ROOT)}: {line}"
        for path in sorted([*DOCS.rglob("*.md"), ROOT / "README.md"])
        for block in python_blocks(path)
        for line in block.splitlines()
        if len(line) > CODE_COLUMNS_MAX
    ]

    assert wide == []


def test_each_rule_has_a_place_that_exists() -> None:
    table = (DOCS / "explanation" / "rules.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| R(\d+) \|[^|]*\| (.*) \|$", table, re.MULTILINE)
    places = [place for _, cell in rows for place in re.findall(r"`(choreo[\w.]*)`", cell)]

    assert [int(number) for number, _ in rows] == list(range(1, 40))
    assert [place for place in places if resolved(place) is None] == []


def test_the_architecture_names_every_room() -> None:
    page = (DOCS / "explanation" / "architecture.md").read_text(encoding="utf-8")
    rooms = {
        path.stem for path in (ROOT / "choreo").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }

    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == rooms - {"__init__"}
