"""From a TARGET on the command line to services, or to manifests.

Importing `module:attribute`, modules and folders, reading files of manifests, and saying what is wrong with a target,
live here; what is done with the services does not. Every command that takes a TARGET calls `load`.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from traceback import extract_tb
from types import ModuleType

import click
from pydantic import TypeAdapter, ValidationError

from choreo.cli.command_group import CommandFailed, suggestion
from choreo.errors import ChoreoError, SchemaError
from choreo.manifest import Manifest
from choreo.service import Service

MODULES_MAX = 5000
targets_argument = click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
_STDIN = "-"
_SKIPPED = re.compile(r"(test_.*|.*_test|conftest|setup|__main__)\.py")
_MENTIONS_SERVICE = re.compile(rb"\bService\b")


def load(targets: Sequence[str]) -> list[Service]:
    """Return the services that targets (`module:attribute`, `module` or folder) name, each once, in the order found.

    Raises:
        click.UsageError: If a target names nothing; says what it could have meant.
        ChoreoError: If a service or event declares something impossible.
    """
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    found: dict[int, Service] = {}
    for target in targets:
        for service in _services(target):
            found[id(service)] = service
    return list(found.values())


def load_with_manifests(targets: Sequence[str]) -> tuple[list[Service], list[Manifest]]:
    """Return the services that targets name, and the manifests in those that are files of them.

    Such a file's name ends in .json, or is - for standard input; it holds what `choreo describe --json` prints.

    Raises:
        SchemaError: If such a file holds something else; names it.
        click.FileError: If one cannot be read.
    """
    files = [each for each in targets if each == _STDIN or each.endswith(".json")]
    services = load([each for each in targets if each not in files])
    return services, [manifest for file in files for manifest in _manifests(file)]


def _manifests(file: str) -> list[Manifest]:
    with click.open_file(file, "rb") as opened:
        body = opened.read()
    try:
        return TypeAdapter(list[Manifest]).validate_json(body)
    except ValidationError as error:
        message = f"{file} holds no manifests, as choreo describe --json prints them: {error}"
        raise SchemaError(message) from error


def _services(target: str) -> list[Service]:
    if ":" in target:
        return [_attribute(target)]
    folder = Path(target)
    if folder.is_dir():
        services = _in_folder(folder.resolve())
        if not services:
            raise click.UsageError(f"No module under {folder} has a Service in it.")
        return services
    if folder.suffix == ".py" or "/" in target:
        dotted = ".".join(folder.with_suffix("").parts)
        raise click.UsageError(f"{target} is no folder. A module is named with dots: {dotted}")
    return _in_named_module(target)


def _in_named_module(target: str) -> list[Service]:
    module = _import(target, target)
    services = _in_module(module)
    if not services and hasattr(module, "__path__"):
        services = [service for path in module.__path__ for service in _in_folder(Path(path))]
    if not services:
        raise click.UsageError(f"{target} has no Service in it.")
    return services


def _attribute(target: str) -> Service:
    name, _, path = target.partition(":")
    value: object = _import(name, target)
    for part in path.split("."):
        if not part or not hasattr(value, part):
            services = [key for key, each in vars(sys.modules[name]).items() if isinstance(each, Service)]
            hint = suggestion(part, services, prefix=f"{name}:")
            if services and not hint:
                hint = f" Did you mean {name}:{services[0]}?"
            raise click.UsageError(f"{name} has no {part or 'attribute named'}.{hint}")
        value = getattr(value, part)
    if not isinstance(value, Service):
        raise click.UsageError(f"{target} is a {type(value).__name__}, not a Service.")
    return value


def _in_module(module: ModuleType) -> list[Service]:
    return [value for value in vars(module).values() if isinstance(value, Service)]


def _in_folder(folder: Path) -> list[Service]:
    return [service for module in _modules_in(folder) for service in _in_module(module)]


def _modules_in(folder: Path) -> Iterator[ModuleType]:
    """Import the modules of a folder that mention services; scripts and tests beside them are left alone."""
    root = _root(folder)
    paths = sorted(path for path in folder.rglob("*.py") if not _hidden(path.relative_to(folder)))
    if len(paths) > MODULES_MAX:
        raise click.UsageError(f"{folder} has {len(paths)} modules, more than {MODULES_MAX}. Name a smaller folder.")
    for path in paths:
        # Importing runs code, so it is done only where a service may come of it.
        if _SKIPPED.fullmatch(path.name) or not _MENTIONS_SERVICE.search(path.read_bytes()):
            continue
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name and all(part.isidentifier() for part in name.split(".")):
            yield _import(name, str(folder))


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") or part in {"tests", "__pycache__", "site-packages"} for part in path.parts)


def _root(folder: Path) -> Path:
    """Return the importable directory that a folder's modules are named from: the nearest one above it or itself."""
    importable = [Path(entry).resolve() for entry in sys.path if entry]
    above = [each for each in importable if folder.is_relative_to(each)]
    if above:
        return max(above, key=lambda each: len(each.parts))
    root = folder.parent
    while (root / "__init__.py").exists():
        root = root.parent
    sys.path.insert(0, str(root))
    return root


def _import(name: str, target: str) -> ModuleType:
    try:
        return import_module(name)
    except ChoreoError:
        raise
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise click.UsageError(f"There is no module {name}.{_similar(name)}") from None
        raise _broken(name, target, error) from error
    except Exception as error:
        raise _broken(name, target, error) from error


def _similar(name: str) -> str:
    """Return a hint at modules near the one that was typed."""
    parts = name.split(".")
    near = [path.stem for path in Path.cwd().joinpath(*parts[:-1]).glob("*") if _importable(path)]
    prefix = "".join(f"{part}." for part in parts[:-1])
    return suggestion(parts[-1], near, prefix=prefix) or f" Looked from {Path.cwd()}."


def _importable(path: Path) -> bool:
    return path.suffix == ".py" or (path.is_dir() and path.name.isidentifier())


def _broken(name: str, target: str, error: Exception) -> CommandFailed:
    """Return the error for a module that raised while it was imported, with the line of the user's that did."""
    if isinstance(error, SyntaxError):
        place = f"{error.filename}:{error.lineno}"
    else:
        frames = [frame for frame in extract_tb(error.__traceback__) if "importlib" not in frame.filename]
        place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else name
    text = f"{target}: importing {name} failed: {type(error).__name__}: {error}".splitlines()
    return CommandFailed([*text, place])
