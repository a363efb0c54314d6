"""Do services agree about what they share?

What services declare of one event, and of the owners of sagas and their ends, is compared here by manifests. Services
that are checked from their code are refused for double owners before, by the same rule (`service.validation`).
"""

from collections.abc import Iterable, Iterator, Sequence

from choreo.errors import Problem
from choreo.manifest import EventManifest, Manifest
from choreo.schema import incompatibilities
from choreo.service import SagaClaims, claim_problems


def check_consistency(manifests: Iterable[Manifest]) -> Iterator[Problem]:
    """Yield what services say differently; of several versions of one service the last one counts."""
    latest = list({each.service: each for each in manifests}.values())
    yield from claim_problems([_claims(each) for each in latest])
    yield from _events(latest)


def _claims(manifest: Manifest) -> SagaClaims:
    return SagaClaims(
        manifest.service,
        manifest.place,
        [(saga.name, saga.starts, [*saga.completes, *saga.fails]) for saga in manifest.sagas],
        [(f"{manifest.service}.{each.name}", each.place, each.emits) for each in manifest.handlers],
    )


def _events(manifests: Sequence[Manifest]) -> Iterator[Problem]:
    first: dict[str, tuple[Manifest, EventManifest]] = {}
    reported: set[str] = set()
    for each in manifests:
        for name, event in each.events.items():
            other, known = first.setdefault(name, (each, event))
            differences = list(_differences((other, known), (each, event))) if name not in reported else []
            if differences:
                reported.add(name)
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
