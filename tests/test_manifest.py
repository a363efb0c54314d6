"""What a service announces: stable, complete, and read tolerantly."""

import json
from datetime import timedelta
from typing import Annotated

import jsonschema
import pytest

from choreo.errors import SchemaError
from choreo.event import Event, Failure
from choreo.manifest import Manifest
from choreo.saga import Saga
from choreo.schema import Sensitive, avro_schema, fingerprint
from choreo.service import Service, declarations


class Placed(Event, topic="orders"):
    order_id: str
    card: Annotated[str, Sensitive()]


class Confirmed(Event, topic="orders"):
    pass


class Cancelled(Failure, topic="orders"):
    pass


class Captured(Event, topic="payments"):
    pass


class Refunded(Event, topic="payments"):
    pass


class Approved(Event, topic="approvals"):
    pass


def everything() -> Service:
    service = Service("shop", version="3")
    service.owns(Saga("order", starts=Placed, completes=Confirmed, fails=Cancelled, key="order_id"))
    service.publishes(Approved, by="a manager")

    @service.handles(unless=Refunded)
    def confirm(approved: Approved, captured: Captured) -> Confirmed | Cancelled: ...

    @service.handles
    def capture(placed: Placed) -> Captured: ...

    @service.compensates
    def refund(cause: Cancelled, captured: Captured | None, placed: Placed) -> Refunded: ...

    @service.otherwise(capture)
    def gave_up(placed: Placed) -> Cancelled: ...

    @service.deadline(Confirmed, within=timedelta(minutes=5), after_abort=True)
    def overdue(placed: Placed) -> Cancelled: ...

    @service.handles
    def split(confirmed: Confirmed) -> list[Approved]: ...

    @service.handles
    def gather(placed: Placed, approved: list[Approved]) -> None: ...

    return service


def test_everything_that_is_declared_is_announced():
    manifest = Manifest.of(declarations(everything())[0])
    handlers = {each.name: each for each in manifest.handlers}
    assert manifest.key == "shop@3"
    assert handlers["confirm"].waits_for == [["approvals.Approved"], ["payments.Captured"]]
    assert handlers["confirm"].emits == ["orders.Confirmed", "orders.Cancelled"]
    assert handlers["confirm"].unless == ["payments.Refunded"]
    refund = handlers["refund"]
    assert (refund.kind, refund.causes, refund.original) == (
        "compensation",
        ["orders.Cancelled"],
        ["payments.Captured"],
    )
    assert refund.original_optional
    assert (refund.extras, refund.waits_for) == ([["orders.Placed"]], [])
    assert handlers["gave_up"].guards == "capture"
    overdue = handlers["overdue"]
    assert (overdue.kind, overdue.awaits, overdue.within_s, overdue.after_abort) == (
        "deadline",
        ["orders.Confirmed"],
        300.0,
        True,
    )
    assert handlers["split"].fan_out
    gather = handlers["gather"]
    assert (gather.fan_in, gather.gathers, gather.waits_for) == (True, 1, [["orders.Placed"], ["approvals.Approved"]])
    assert (handlers["confirm"].fan_in, handlers["confirm"].gathers) == (False, None)
    assert manifest.sagas[0].model_dump() == {
        "name": "order",
        "starts": "orders.Placed",
        "completes": ["orders.Confirmed"],
        "fails": ["orders.Cancelled"],
        "key": "order_id",
    }
    assert manifest.publishes == {"approvals.Approved": "a manager"}


def test_every_event_comes_with_its_topic_and_the_writer_s_schema():
    manifest = Manifest.of(declarations(everything())[0])
    assert {name: event.topic for name, event in manifest.events.items()} == {
        "approvals.Approved": "approvals",
        "orders.Cancelled": "orders",
        "orders.Confirmed": "orders",
        "orders.Placed": "orders",
        "payments.Captured": "payments",
        "payments.Refunded": "payments",
    }
    assert [name for name, event in manifest.events.items() if event.failure] == ["orders.Cancelled"]
    placed = manifest.events["orders.Placed"]
    schema = avro_schema(Placed, "orders.Placed")
    assert placed.sensitive == ["card"]
    assert placed.fingerprint == fingerprint(schema).hex()
    assert manifest.schemas[placed.fingerprint] == schema


def test_the_same_declaration_gives_the_same_bytes():
    one = Manifest.of(declarations(everything())[0])
    assert one.to_bytes() == Manifest.of(declarations(everything())[0]).to_bytes()
    assert Manifest.from_bytes(one.to_bytes()) == one


def test_a_later_version_s_fields_are_passed_over():
    body = json.loads(Manifest.of(declarations(everything())[0]).to_bytes())
    body["novelty"] = 1
    body["handlers"][0]["novelty"] = [1]
    body["version"] = 2
    assert Manifest.from_bytes(json.dumps(body).encode()).handlers[0].name == "confirm"


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"[]", b"{}", b'{"service": 1, "service_version": "1"}', b"[" * 100_000]
)
def test_what_is_no_manifest_is_a_schema_error(data):
    with pytest.raises(SchemaError, match="not a manifest"):
        Manifest.from_bytes(data)


def test_a_manifest_is_what_its_json_schema_says():
    schema = Manifest.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(Manifest.of(declarations(everything())[0]).to_bytes()), schema)
