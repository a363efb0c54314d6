"""Which events a deploy takes away from services that go on with them."""

import pytest

from choreo.cli.known_schemas import gone
from choreo.manifest import EventManifest, HandlerManifest, Manifest, SagaManifest
from choreo.schema.evolution import BreakKind

MOVED = "flights.FlightMoved"
EVENTS = {name: EventManifest(topic="flights") for name in (MOVED, "flights.FlightBooked")}
TAKES_ALL = HandlerManifest(name="all", waits_for=[list(EVENTS)], emits=list(EVENTS))
FLIGHTS = Manifest(service="flights", service_version="1", events=EVENTS, handlers=[TAKES_ALL])
KNOWN = {"flights.FlightBooked"}


def mail(version: str = "1", **fields: object) -> Manifest:
    return Manifest.model_validate({"service": "mail", "service_version": version} | fields)


@pytest.mark.parametrize(
    ("manifest", "use"),
    [
        (mail(handlers=[HandlerManifest(name="h", waits_for=[["a.A"], [MOVED]])]), "reads it"),
        (mail(handlers=[HandlerManifest(name="h", causes=[MOVED])]), "reads it"),
        (mail(handlers=[HandlerManifest(name="h", original=[MOVED])]), "reads it"),
        (mail(handlers=[HandlerManifest(name="h", extras=[[MOVED]])]), "reads it"),
        (mail(handlers=[HandlerManifest(name="h", unless=[MOVED])]), "reads it"),
        (mail(handlers=[HandlerManifest(name="h", awaits=[MOVED])]), "reads it"),
        (mail(handlers=[HandlerManifest(name="h", emits=[MOVED])]), "emits it"),
        (mail(publishes={MOVED: "a clerk"}), "emits it"),
        (mail(sagas=[SagaManifest(name="move", starts=MOVED, completes=["a.A"])]), "reads it and emits it"),
    ],
)
def test_whoever_reads_or_emits_it_goes_on_with_it(manifest: Manifest, use: str):
    (one,) = gone([FLIGHTS, manifest], {"flights"}, KNOWN)
    assert (one.event, one.way, one.why, one.out_there) == (MOVED, BreakKind.GONE, f"mail {use}", ("mail@1",))


def test_who_only_knows_it_does_not():
    assert list(gone([FLIGHTS, mail(events=EVENTS)], {"flights"}, KNOWN)) == []


def test_only_what_runs_counts_and_what_is_deployed_does_not():
    reads, not_any_more = mail(handlers=[TAKES_ALL]), mail("2")
    assert list(gone([FLIGHTS, reads, not_any_more], {"flights"}, KNOWN)) == []
    assert list(gone([FLIGHTS, reads], {"flights", "mail"}, KNOWN)) == []
    assert list(gone([FLIGHTS, reads], {"flights"}, set(EVENTS))) == []


def test_what_a_deploy_never_had_it_does_not_take_away():
    assert list(gone([FLIGHTS, mail(handlers=[TAKES_ALL])], {"trains"}, KNOWN)) == []
