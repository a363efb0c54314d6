"""Do services agree about what they share?

Owners of sagas and of their ends, and what services say of one event live here, told by manifests. Services that are
checked from their code are refused for some of it before (`service.between`); of what runs already, this is told alone.
"""

from collections.abc import Iterable, Iterator, Sequence

from choreo.checks.service_graph import ServiceGraph
from choreo.errors import Problem
from choreo.event import short
from choreo.manifest import EventManifest, Manifest
from choreo.schema import incompatibilities


def check_consistency(graph: ServiceGraph, manifests: Iterable[Manifest]) -> Iterator[Problem]:
    """Yield what services say differently; of several versions of one service the last one counts.

    Args:
        graph: The services together.
        manifests: What each of them announced.
    """
    latest = list({each.service: each for each in manifests}.values())
    yield from _owners(latest)
    yield from _ends(graph, latest)
    yield from _events(latest)


def _owners(manifests: Sequence[Manifest]) -> Iterator[Problem]:
    names: dict[str, str] = {}
    starts: dict[str, str] = {}
    for each in manifests:
        for saga in each.sagas:
            if saga.name in names:
                message = f"saga type {saga.name} is owned by {names[saga.name]} and again by {each.service}"
                yield Problem("CH044", message, each.place, "Keep one of them: a saga type has one owner.")
            elif saga.starts in starts:
                message = f"{short(saga.starts)} starts {starts[saga.starts]} and {saga.name}"
                yield Problem("CH043", message, each.place, "Give each saga type a starting event of its own.")
            names.setdefault(saga.name, each.service)
            starts.setdefault(saga.starts, saga.name)


def _ends(graph: ServiceGraph, manifests: Sequence[Manifest]) -> Iterator[Problem]:
    for owner in manifests:
        for saga in owner.sagas:
            for end in sorted({*saga.completes, *saga.fails}):
                for step in graph.choreography.producers(end):
                    if step.service != owner.service:
                        message = f"{step.name} emits {short(end)}, which ends {saga.name}, owned by {owner.service}"
                        fix = f"Emit an event of its own, and let {owner.service} turn it into {short(end)}."
                        yield Problem("CH045", message, step.handler.place, fix)


def _events(manifests: Sequence[Manifest]) -> Iterator[Problem]:
    first: dict[str, tuple[Manifest, EventManifest]] = {}
    told: set[str] = set()
    for each in manifests:
        for name, event in each.events.items():
            other, known = first.setdefault(name, (each, event))
            differences = list(_differences((other, known), (each, event))) if name not in told else []
            if differences:
                told.add(name)
                message = f"{name} is not the same to {other.service} and {each.service}: {'; '.join(differences)}"
                yield Problem("CH119", message, each.place, "Let both import one class, of one version.")


def _differences(one: tuple[Manifest, EventManifest], other: tuple[Manifest, EventManifest]) -> Iterator[str]:
    """Yield what two services say differently of an event; of schemas, what keeps one from being read as another."""
    (manifest, event), (beside, again) = one, other
    if event.topic != again.topic:
        yield f"its topic is {event.topic} and {again.topic}"
    if event.failure != again.failure:
        yield "only one of them takes it for a failure"
    if event.fingerprint != again.fingerprint:
        schemas = manifest.schemas.get(event.fingerprint), beside.schemas.get(again.fingerprint)
        if schemas[0] is None or schemas[1] is None:
            yield f"its schema is {event.fingerprint} and {again.fingerprint}"
        else:
            reasons = [*incompatibilities(schemas[0], schemas[1]), *incompatibilities(schemas[1], schemas[0])]
            yield from reasons[:1]
