"""The examples' graphs, and what breaks them: manifests with one handler altered, or gone."""

from collections.abc import Callable, Iterable
from typing import Any

from choreo.checks import check_manifests
from choreo.cli.target import load
from choreo.manifest import EmissionManifest, EventManifest, HandlerManifest, Manifest, SagaManifest
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


def outcome(*names: str, opens: bool = False, later: bool = False) -> list[EmissionManifest]:
    return [EmissionManifest(types=[name], opens=opens, later=later) for name in names]


Named = tuple[str, HandlerManifest]


def step(name: str, takes: list[list[str]], *outcomes: list[EmissionManifest], **fields: Any) -> Named:
    """Return a handler and its service, from `service.handler`."""
    service, _, own = name.partition(".")
    emits = list(dict.fromkeys(name for each in outcomes for emission in each for name in emission.types))
    ends = list(outcomes) or [[]]
    return service, HandlerManifest(
        name=own, waits_for=takes, emits=emits, outcomes=ends, place=f"{service}.py:1", **fields
    )


def undo(name: str, causes: list[str], original: str, *outcomes: list[EmissionManifest], **fields: Any) -> Named:
    return step(name, [], *outcomes, kind="compensation", causes=causes, original=[original], **fields)


def made(*steps: Named, fails: str = "a.Failed", publishes: Iterable[str] = ()) -> Manifests:
    """Return services that are made of these steps; `a` owns a saga from `a.Start` to `a.Done`.

    An event's topic is that of its name, and its name says whether it is a failure: `payments.NotPaid`.
    """
    found: dict[str, list[HandlerManifest]] = {"a": []}
    for service, handler in steps:
        found.setdefault(service, []).append(handler)
    saga = SagaManifest(name="saga", starts="a.Start", completes=["a.Done"], fails=[fails] if fails else [])
    manifests: Manifests = []
    for service, handlers in found.items():
        own = service == "a"
        named = {name for each in handlers for name in _named(each)} | (set(_ends(saga)) if own else set())
        manifests.append(
            Manifest(
                service=service,
                service_version="1",
                handlers=handlers,
                sagas=[saga] if own else [],
                publishes=dict.fromkeys(publishes, "somebody") if own else {},
                events={name: EventManifest(topic=name.partition(".")[0], failure=".Not" in name) for name in named},
                place=f"{service}.py:9",
            )
        )
    return manifests


def told(manifests: Iterable[Manifest], code: str) -> list[str]:
    """Return the messages that have a code."""
    return [problem.message for problem in check_manifests(manifests) if problem.code == code]


def codes(manifests: Iterable[Manifest]) -> set[str]:
    return {problem.code for problem in check_manifests(manifests)}


def _named(handler: HandlerManifest) -> set[str]:
    groups = (*handler.waits_for, *handler.extras)
    own = (handler.causes, handler.original, handler.emits, handler.unless, handler.awaits)
    return {name for types in (*groups, *own) for name in types}


def _ends(saga: SagaManifest) -> list[str]:
    return [saga.starts, *saga.completes, *saga.fails]


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
