"""What services that run already say differently of one saga, end or event."""

from choreo.checks import check_manifests
from choreo.event import Event
from choreo.manifest import EventManifest, Manifest, SagaManifest
from choreo.saga import Saga
from choreo.service import Service, declarations
from tests.checks.graphs import Manifests, altered, codes, graph, outcome, told

ORDER = graph("order")


def owning(saga: SagaManifest) -> Manifests:
    """Return the order example, with inventory owning a saga type, too."""
    return [each.model_copy(update={"sagas": [saga]}) if each.service == "inventory" else each for each in ORDER]


def saying(service: str, name: str, **fields: object) -> Manifests:
    """Return the order example, with one service saying something else of an event."""
    return [
        each.model_copy(update={"events": each.events | {name: each.events[name].model_copy(update=fields)}})
        if each.service == service
        else each
        for each in ORDER
    ]  # fmt: skip


def test_a_saga_type_has_one_owner():
    again = SagaManifest(name="order-fulfilment", starts="inventory.Counted", completes=["inventory.InventoryReserved"])
    assert told(owning(again), "CH044") == ["saga type order-fulfilment is owned by orders and again by inventory"]


def test_an_event_starts_one_saga_type():
    other = SagaManifest(name="stock", starts="orders.OrderPlaced", completes=["inventory.InventoryReserved"])
    assert told(owning(other), "CH043") == ["OrderPlaced starts order-fulfilment and stock"]


def test_only_its_owner_ends_a_saga():
    ended = altered(
        ORDER,
        "notifications.send_confirmation",
        emits=["orders.OrderCancelled"],
        outcomes=[outcome("orders.OrderCancelled")],
    )
    assert told(ended, "CH045") == [
        "notifications.send_confirmation emits OrderCancelled, which ends order-fulfilment, owned by orders"
    ]
    assert "CH045" not in codes(ORDER)


def test_an_event_has_one_topic():
    [message] = told(saying("orders", "payments.PaymentCaptured", topic="money"), "CH119")
    assert message == "payments.PaymentCaptured is not the same to orders and payments: its topic is money and payments"


def test_an_event_is_a_failure_to_all_or_to_none():
    [message] = told(saying("inventory", "payments.PaymentDeclined", failure=False), "CH119")
    assert message.endswith("only one of them takes it for a failure")


def test_a_schema_that_nobody_has_is_another_one():
    assert "CH119" in codes(saying("orders", "payments.PaymentCaptured", fingerprint="00"))


def version(one: type[Event]) -> Manifest:
    service = Service(f"of-{one.__qualname__.partition('.')[0].lower()}")

    @service.handles
    def take(event: one) -> None: ...  # type: ignore[valid-type]

    return Manifest.of(declarations(service)[0])


class Old(Event, topic="parts", name="parts.Sent"):
    part: str


class New(Event, topic="parts", name="parts.Sent"):
    part: str
    weight_g: int = 0


class Strange(Event, topic="parts", name="parts.Sent"):
    part: int


def test_versions_that_can_read_each_other_agree():
    assert "CH119" not in codes([version(Old), version(New)])


def test_versions_that_cannot_do_not():
    [message] = told([version(Old), version(Strange)], "CH119")
    assert message == (
        "parts.Sent is not the same to of-old and of-strange: Sent.part: written as string, read as long"
    )


def test_of_several_versions_of_one_service_the_last_counts():
    [orders] = [each for each in ORDER if each.service == "orders"]
    told_before = orders.events["payments.PaymentCaptured"].model_copy(update={"topic": "money"})
    before = orders.model_copy(
        update={"service_version": "0", "events": orders.events | {"payments.PaymentCaptured": told_before}}
    )
    assert check_manifests([before, *ORDER]) == []


def test_what_a_service_that_is_no_python_announces_is_read():
    """It may leave out whatever it does not know of: events that it names need not be described."""
    foreign = Manifest(
        service="foreign",
        service_version="1",
        handlers=[],
        sagas=[SagaManifest(name="foreign", starts="f.Start", completes=["f.Done"])],
        events={"f.Start": EventManifest(topic="f")},
    )
    assert codes([foreign]) == {"CH073"}


def test_an_event_that_ends_sagas_of_two_services_is_an_end_of_both():
    class Begun(Event, topic="left"):
        pass

    class Opened(Event, topic="right"):
        pass

    class Done(Event, topic="both"):
        pass

    left, right = Service("left"), Service("right")
    left.owns(Saga("one", starts=Begun, completes=Done))
    right.owns(Saga("other", starts=Opened, completes=Done))

    @left.handles
    def finish(_begun: Begun) -> Done:
        return Done()

    @right.handles
    def close(_opened: Opened) -> Done:
        return Done()

    manifests = [Manifest.of(each) for service in (left, right) for each in declarations(service)]

    assert told(manifests, "CH045") == [
        "left.finish emits Done, which ends other, owned by right",
        "right.close emits Done, which ends one, owned by left",
    ]
