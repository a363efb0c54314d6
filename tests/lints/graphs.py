"""The examples' graphs, and what breaks them: manifests with one handler altered, or gone."""

from collections.abc import Callable, Iterable
from typing import Any

from choreo.cli.target import load
from choreo.lints import lints
from choreo.manifest import EmissionManifest, HandlerManifest, Manifest
from choreo.service import declarations

Manifests = list[Manifest]
ORDER = tuple(f"services.{name}" for name in ("order", "inventory", "payment", "shipping", "notification"))
GRAPHS = {"order": ORDER, "approval": ("services.approval",), "marketplace": ("services.marketplace",)}


def graph(name: str) -> Manifests:
    return [Manifest.of(each) for each in declarations(*load(GRAPHS[name]))]


def altered(manifests: Iterable[Manifest], step: str, **fields: Any) -> Manifests:
    """Return manifests with one handler's fields replaced."""
    return _with(manifests, step, lambda handler: [handler.model_copy(update=fields)])


def without(manifests: Iterable[Manifest], *steps: str) -> Manifests:
    found = list(manifests)
    for step in steps:
        found = _with(found, step, lambda _: [])
    return found


def with_saga(manifests: Iterable[Manifest], **fields: Any) -> Manifests:
    """Return manifests with the fields of every saga type replaced."""
    return [
        each.model_copy(update={"sagas": [saga.model_copy(update=fields) for saga in each.sagas]}) for each in manifests
    ]


def outcome(*names: str, opens: bool = False) -> list[EmissionManifest]:
    return [EmissionManifest(types=[name], opens=opens) for name in names]


def codes(manifests: Iterable[Manifest]) -> set[str]:
    return {problem.code for problem in lints(manifests)}


def _with(
    manifests: Iterable[Manifest], step: str, change: Callable[[HandlerManifest], list[HandlerManifest]]
) -> Manifests:
    service, _, name = step.partition(".")
    changed, found = False, []
    for each in manifests:
        handlers: list[HandlerManifest] = []
        for handler in each.handlers:
            hit = (each.service, handler.name) == (service, name)
            changed |= hit
            handlers += change(handler) if hit else [handler]
        found.append(each.model_copy(update={"handlers": handlers}))
    assert changed, f"there is no {step}"
    return found
