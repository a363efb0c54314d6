"""All services together, from what they announced."""

from choreo.choreography import Choreography
from choreo.event import Event, Failure
from choreo.manifest import Manifest
from choreo.saga import Saga
from choreo.service import Service, declarations


class Placed(Event, topic="orders"):
    pass


class Confirmed(Event, topic="orders"):
    pass


class Cancelled(Event, topic="orders"):
    pass


class Reserved(Event, topic="inventory"):
    pass


class Released(Event, topic="inventory"):
    pass


class Captured(Event, topic="payments"):
    pass


class Declined(Failure, topic="payments"):
    pass


class Approved(Event, topic="approvals"):
    pass


class Enrolled(Event, topic="newsletter"):
    pass


class Welcomed(Event, topic="newsletter"):
    pass


def announced(service: Service) -> Manifest:
    return Manifest.of(declarations(service)[0])


def orders() -> Manifest:
    service = Service("orders")
    service.owns(Saga("order", starts=Placed, completes=Confirmed, fails=Cancelled))

    @service.handles
    def confirm(captured: Captured, reserved: Reserved) -> Confirmed: ...

    @service.handles
    def cancel(declined: Declined) -> Cancelled: ...

    return announced(service)


def inventory(version: str = "1", event: type[Event] = Placed) -> Manifest:
    service = Service("inventory", version=version)

    def reserve(placed) -> Reserved: ...

    reserve.__annotations__ = {"placed": event, "return": Reserved}
    service.handles(reserve)

    @service.compensates
    def release(cause: Declined, reserved: Reserved) -> Released: ...

    return announced(service)


def payments() -> Manifest:
    service = Service("payments")

    @service.handles
    def capture(reserved: Reserved) -> Captured | Declined: ...

    return announced(service)


def newsletter() -> Manifest:
    service = Service("newsletter")
    service.owns(Saga("enrolment", starts=Enrolled, completes=Welcomed))

    @service.handles
    def welcome(enrolled: Enrolled) -> Welcomed: ...

    return announced(service)


def shop() -> Choreography:
    return Choreography([orders(), inventory(), payments(), newsletter()])


def readers(graph: Choreography, event_type: str) -> list[str]:
    return names(node for node in graph.nodes if event_type in node.reads)


def names(steps) -> list[str]:
    return [step.name for step in steps]


def test_who_emits_and_who_reads_an_event():
    graph = shop()
    assert names(graph.producers("inventory.Reserved")) == ["inventory.reserve"]
    assert readers(graph, "inventory.Reserved") == ["orders.confirm", "payments.capture"]
    assert readers(graph, "payments.Declined") == ["orders.cancel", "inventory.release"]
    assert graph.producers("nobody.Knows") == ()
    assert readers(graph, "nobody.Knows") == []
    assert graph.topics == ("inventory", "newsletter", "orders", "payments")
    assert graph.events["payments.Declined"].failure
    assert names(graph.handlers("payments")) == ["payments.capture"]


def test_compensations_by_what_they_undo_and_by_what_causes_them():
    graph = shop()
    assert names(graph.compensations_of("inventory.Reserved")) == ["inventory.release"]
    assert names(graph.caused_by("payments.Declined")) == ["inventory.release"]
    assert graph.compensations_of("payments.Captured") == ()


def test_saga_types_by_start_and_by_owner():
    graph = shop()
    assert graph.started_by("orders.Placed").name == "order"
    assert graph.started_by("inventory.Reserved") is None
    assert graph.sagas["order"].owner == "orders"
    assert "unheard-of" not in graph.sagas


def test_what_follows_from_a_start():
    graph = shop()
    assert graph.events_of("order") == {
        "orders.Placed",
        "inventory.Reserved",
        "orders.Confirmed",
        "payments.Captured",
        "payments.Declined",
        "inventory.Released",
        "orders.Cancelled",
    }
    assert graph.events_of("enrolment") == {"newsletter.Enrolled", "newsletter.Welcomed"}
    assert graph.events_of("unheard-of") == frozenset()


def test_which_services_a_saga_type_concerns():
    graph = shop()
    assert {each for each in graph.services if graph.concerns(each, "order")} == {"orders", "inventory", "payments"}
    assert {each for each in graph.services if graph.concerns(each, "enrolment")} == {"newsletter"}
    assert not graph.concerns("payments", "enrolment")
    assert graph.concerns("payments", "order")


def test_what_stands_in_for_a_step_is_followed_though_it_takes_no_event():
    payments, mailing = Service("payments"), Service("mailing")

    @payments.handles
    def capture(placed: Placed) -> Captured: ...

    @payments.otherwise(capture)
    def give_up(error: Exception) -> Declined: ...

    @mailing.handles
    def tell(declined: Declined) -> Welcomed: ...

    graph = Choreography([orders(), announced(payments), announced(mailing)])
    assert graph.concerns("mailing", "order")
    assert graph.events_of("order") >= {"payments.Declined", "orders.Cancelled", "newsletter.Welcomed"}


def test_what_is_not_announced_may_concern_anybody():
    graph = shop()
    assert graph.concerns("payments", "unheard-of")
    assert graph.concerns("unheard-of", "order")


def test_an_event_from_outside_may_come_into_any_saga():
    service = Service("approvals")
    service.publishes(Approved, by="a manager")
    listening = Service("listening")

    @listening.handles
    def listen(approved: Approved) -> None: ...

    graph = Choreography([orders(), announced(service), announced(listening)])
    assert graph.concerns("listening", "order")
    assert graph.publishers("approvals.Approved") == {"approvals": "a manager"}
    assert graph.publishers("orders.Placed") == {}


def test_versions_are_merged_and_the_last_one_says_what_a_handler_does():
    graph = Choreography([inventory("1", Enrolled), inventory("2")])
    [reserve, release] = graph.handlers("inventory")
    assert reserve.handler.waits_for == [["orders.Placed"]]
    assert release.name == "inventory.release"
    assert "newsletter.Enrolled" in graph.events


def test_a_cycle_of_events_ends():
    service = Service("loop")
    service.owns(Saga("loop", starts=Placed, completes=Confirmed))

    @service.handles
    def back(reserved: Reserved | Placed) -> Released: ...

    @service.handles
    def forth(released: Released) -> Reserved: ...

    events = Choreography([announced(service)]).events_of("loop")
    assert events == {"orders.Placed", "inventory.Reserved", "inventory.Released"}


def test_nothing_announced_is_an_empty_graph():
    graph = Choreography([])
    assert (graph.services, graph.topics, graph.nodes) == (frozenset(), (), ())
