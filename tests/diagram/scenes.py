"""Choreographies to draw: the examples, one with everything in it, some that no form likes, and random ones."""

import random
from collections.abc import Iterator
from datetime import timedelta

from choreo.choreography import Choreography
from choreo.event import Event, Failure
from choreo.manifest import EmissionManifest, EventManifest, HandlerManifest, Manifest, SagaManifest
from choreo.saga import Saga
from choreo.service import Later, Service, declarations
from tests.checks.graphs import GRAPHS, graph


class Placed(Event, topic="shop"): ...


class Confirmed(Event, topic="shop"): ...


class Cancelled(Failure, topic="shop"): ...


class TimedOut(Failure, topic="shop"): ...


class Reserved(Event, topic="stock"): ...


class Released(Event, topic="stock"): ...


class Captured(Event, topic="pay"): ...


class Charged(Event, topic="pay"): ...


class Unknown(Failure, topic="pay"): ...


class Refunded(Event, topic="pay"): ...


class Discharged(Event, topic="pay"): ...


class Foreign(Event, topic="elsewhere"): ...


class Ticked(Event, topic="clock"): ...


class Tocked(Event, topic="clock"): ...


class Noted(Event, topic="clock"): ...


def services() -> list[Service]:  # noqa: C901 - thirteen handlers, each of one line
    """One of each thing that a picture can show."""
    shop = Service("shop")
    shop.owns(Saga("order", starts=Placed, completes=Confirmed, fails=Cancelled))

    @shop.handles
    def confirm(paid: Captured, stock: Reserved) -> Confirmed: ...

    @shop.deadline(Confirmed | Cancelled, within=timedelta(seconds=90))
    def overdue(placed: Placed) -> TimedOut: ...

    @shop.handles
    def cancel(cause: Unknown | TimedOut) -> Cancelled: ...

    stock = Service("stock")

    @stock.handles
    def reserve(placed: Placed) -> Reserved: ...

    @stock.compensates
    def release(cause: Refunded | TimedOut, original: Reserved | None) -> Released: ...

    pay = Service("pay")

    @pay.handles
    def capture(placed: Placed, stock: Reserved, rate: Foreign) -> tuple[Captured, Charged]: ...

    @pay.otherwise(capture)
    def give_up(placed: Placed, stock: Reserved, rate: Foreign, error: Exception) -> Unknown: ...

    @pay.compensates
    def refund(cause: TimedOut | Unknown, original: Captured | None) -> Refunded: ...

    @pay.compensates
    def discharge(cause: TimedOut | Unknown, original: Charged | None) -> Discharged: ...

    clock = Service("clock")

    @clock.handles
    def tick(again: Tocked | Placed) -> Ticked: ...

    @clock.handles(unless=Cancelled | TimedOut)
    def tock(ticked: Ticked) -> Later[Tocked] | None: ...

    @clock.handles
    def spread(ticked: Ticked) -> list[Noted]: ...

    @clock.handles
    def gather(noted: list[Noted], placed: Placed) -> None: ...

    return [shop, stock, pay, clock]


def everything() -> list[Manifest]:
    return [Manifest.of(each) for each in declarations(*services())]


HOSTILE = 'end"];-->|a| click <b>&#35; `x` \\ \x1b[31m\n]]> %% style'
"""A name such as only a file of manifests can have."""


def hostile() -> list[Manifest]:
    """Services whose names are all hostile, and not the same."""
    steps = [HandlerManifest(name=f"{HOSTILE}{n}", waits_for=[[f"e.{HOSTILE}"]], kind=HOSTILE) for n in range(2)]
    return [
        Manifest(
            service=HOSTILE,
            service_version="1",
            handlers=steps,
            sagas=[SagaManifest(name=HOSTILE, starts=f"e.{HOSTILE}", completes=[f"e.{HOSTILE}"])],
            publishes={f"e.{HOSTILE}": HOSTILE},
            events={f"e.{HOSTILE}": EventManifest(topic=HOSTILE)},
        )
    ]


def tangled() -> list[Manifest]:
    """What no code declares, and a file of manifests may: nobody to stand in for, circles of undoing, nine causes."""
    nine = [[f"t.N{number}"] for number in range(9)]
    handlers = [
        _handler("step", waits_for=[["t.E1"]], emits=["t.Done"]),
        _handler("first", waits_for=[["t.Start"]], emits=["t.E1"]),
        _handler("undo", kind="compensation", causes=["t.F1"], original=["t.Done"], emits=["t.Undone"]),
        _handler("instead", kind="otherwise", guards="undo", emits=["t.F2"]),
        _handler("for_nobody", kind="otherwise", guards="missing", waits_for=[["t.Start"]], emits=["t.F3"]),
        _handler("round", kind="compensation", causes=["t.F1"], original=["t.F4"], emits=["t.Around"]),
        _handler("and_round", kind="otherwise", guards="round", emits=["t.F4"]),
        _handler("wide", waits_for=nine, emits=[]),
        _handler("many", kind="compensation", causes=["t.N1"], original=["t.Done"], emits=["t.M1", "t.M2"]),
    ]
    return [_announced("s0", handlers)]


def star(points: int) -> list[Manifest]:
    """Return services that all take the start; the first of them also takes what the last one emits."""
    names = [f"p{number}" for number in range(points)]
    handlers = {name: [_handler("begin", waits_for=[["t.Start"]], emits=[f"t.{name}"])] for name in names}
    handlers[names[0]].append(_handler("end", waits_for=[[f"t.{names[-1]}"]]))
    return [_announced("s0", []), *(_announced(name, each) for name, each in handlers.items())]


def funnel() -> list[Manifest]:
    """Return a chain of services, and one that takes what the first two emit once the last one is done."""
    chain = [_handler(f"h{number}", waits_for=[[f"t.C{number}"]], emits=[f"t.C{number + 1}"]) for number in range(4)]
    late = _handler("late", waits_for=[["t.C1", "t.C2"], ["t.C4"]])
    return [_announced(f"p{number}", [handler]) for number, handler in enumerate([*chain, late])]


def invented(seed: int) -> list[Manifest]:
    """Return a random choreography of up to 8 services; nothing is said about whether it makes sense."""
    chance = random.Random(seed)
    services: dict[str, list[HandlerManifest]] = {f"s{n}": [] for n in range(chance.randint(1, 8))}
    known, failures = ["t.Start"], list[str]()
    for number in range(len(services) * chance.randint(1, 5)):
        handlers = _invented(chance, number, known, failures)
        services[f"s{number % len(services)}"] += handlers
    return [_announced(name, handlers) for name, handlers in services.items()]


def _invented(chance: random.Random, number: int, known: list[str], failures: list[str]) -> list[HandlerManifest]:
    near = [*known[-8:], chance.choice(known)]
    waits_for = [[name] for name in dict.fromkeys(chance.choice(near) for _ in range(chance.choice([1, 1, 1, 2, 3])))]
    emits = [f"t.E{number}", *([f"t.F{number}"] if chance.random() < 0.5 else [])]
    step = _handler(f"h{number}", waits_for=waits_for, emits=emits)
    if chance.random() < 0.1:
        step = step.model_copy(update={"kind": "deadline", "awaits": [chance.choice(known)], "within_s": 60.0})
    known.append(emits[0])
    failures += emits[1:]
    found = [step]
    if failures and chance.random() < 0.5:
        causes = sorted({chance.choice(failures), chance.choice([*failures, *known[-3:]])})
        undone = _handler(f"c{number}", kind="compensation", causes=causes, original=[emits[0]], emits=[f"t.U{number}"])
        known.append(f"t.U{number}")
        found.append(undone)
    if chance.random() < 0.1:
        found.append(_handler(f"o{number}", kind="otherwise", guards=step.name, emits=[f"t.F{number}"]))
    return found


def _handler(name: str, **fields: object) -> HandlerManifest:
    emits = fields.get("emits", [])
    assert isinstance(emits, list)
    outcomes = [[EmissionManifest(types=[each])] for each in emits]
    return HandlerManifest.model_validate({"name": name, "outcomes": outcomes, **fields})


def _announced(service: str, handlers: list[HandlerManifest]) -> Manifest:
    named = {name for each in handlers for name in (*each.emits, *each.causes, *each.awaits)}
    named |= {name for each in handlers for types in each.waits_for for name in types}
    sagas = [SagaManifest(name="invented", starts="t.Start", completes=["t.E1"])] if service == "s0" else []
    events = {name: EventManifest(topic="t", failure=name.startswith("t.F")) for name in sorted(named | {"t.Start"})}
    return Manifest(service=service, service_version="1", handlers=handlers, sagas=sagas, events=events)


def scenes() -> Iterator[tuple[str, list[Manifest]]]:
    """Every choreography above, by a name for the test's own."""
    yield from ((name, graph(name)) for name in GRAPHS)
    yield "all examples", [manifest for name in GRAPHS for manifest in graph(name)]
    yield "everything", everything()
    yield "pay alone", [manifest for manifest in everything() if manifest.service == "pay"]
    yield "hostile", hostile()
    yield "tangled", tangled()
    yield "star", star(9)
    yield "funnel", funnel()
    yield "long name", [_announced("a-service-of-a-name-" * 8, [_handler("only", waits_for=[["t.Start"]])])]
    yield "nothing", []


def example(name: str) -> Choreography:
    return Choreography(graph(name))
