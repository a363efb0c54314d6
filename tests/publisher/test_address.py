import uuid

import pytest

from choreo.errors import DeclarationError
from choreo.publisher.address import Where, identify, rights_of
from choreo.service import declarations
from tests.publisher.shop import ManagerApproved, OrderConfirmed, OrderPlaced, TripRequested, orders, trips

URL = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")
ORDERS = rights_of(declarations(orders))
BOTH = rights_of(declarations(orders, trips))
ORDER = OrderPlaced(order_id="17")
APPROVED = ManagerApproved(by="me")
SAGA_ID = "0b1a9d51-0a10-5c0a-9d2d-0d7a2e9f0a11"


def test_r01_a_start_with_a_business_key_has_the_ids_of_the_wire_format():
    identity = identify(ORDERS, ORDER, {})
    saga_id = uuid.uuid5(URL, "choreo:saga:order:17")
    assert identity.saga_id == str(saga_id)
    assert identity.event_id == str(uuid.uuid5(saga_id, "start"))
    assert (identity.saga_type, identity.business_key, identity.source) == ("order", "17", "/orders")
    assert identify(ORDERS, ORDER, {"saga": "order", "key": "17", "saga_id": str(saga_id)}) == identity


def test_r01_a_generation_repeats_a_saga():
    second = identify(ORDERS, ORDER, {"generation": 2})
    assert second.saga_id == str(uuid.uuid5(URL, "choreo:saga:order:17:2"))
    assert identify(ORDERS, ORDER, {"generation": 1}) == identify(ORDERS, ORDER, {})


def test_r01_without_a_key_a_saga_id_is_a_uuid7():
    first, second = (identify(BOTH, TripRequested(city="Oslo"), {}) for _ in range(2))
    assert uuid.UUID(first.saga_id).version == 7
    assert first.saga_id != second.saga_id


def test_a_keyless_saga_may_be_given_its_id_or_a_key():
    chosen = identify(BOTH, TripRequested(city="Oslo"), {"saga_id": SAGA_ID.upper()})
    assert chosen.saga_id == SAGA_ID
    keyed = identify(BOTH, TripRequested(city="Oslo"), {"key": "t-1"})
    assert keyed.saga_id == str(uuid.uuid5(URL, "choreo:saga:trip:t-1"))


def test_an_event_goes_into_a_running_saga_by_id_or_key():
    by_id = identify(ORDERS, APPROVED, {"saga_id": SAGA_ID, "branch": "/ab:0.2", "event_id": "click-1"})
    assert (by_id.saga_id, by_id.branch, by_id.event_id) == (SAGA_ID, "/ab:0.2", "click-1")
    by_key = identify(ORDERS, APPROVED, {"key": "17"})
    assert by_key.saga_id == identify(ORDERS, ORDER, {}).saga_id
    assert (by_key.saga_type, by_key.business_key, uuid.UUID(by_key.event_id).version) == ("order", "17", 7)
    assert identify(BOTH, APPROVED, {"key": "17", "saga": "order"}).saga_id == by_key.saga_id


@pytest.mark.parametrize(
    ("event", "where", "said"),
    [
        (OrderConfirmed(order_id="17"), {}, "emitted by orders.confirm, in a handler"),
        (TripRequested(city="Oslo"), {}, "publish ManagerApproved, ManagerRejected, OrderPlaced"),
        (APPROVED, {}, "saga_id= or key="),
        (APPROVED, {"saga_id": SAGA_ID, "key": "17"}, "one of them"),
        (APPROVED, {"saga_id": "17"}, "is not a UUID"),
        (APPROVED, {"saga_id": SAGA_ID, "generation": 2}, "one generation already"),
        (APPROVED, {"key": ""}, "is empty"),
        (APPROVED, {"key": "17", "generation": 0}, "counted from 1"),
        (APPROVED, {"saga_id": SAGA_ID, "event_id": "x" * 65}, "1 to 64 bytes"),
        (APPROVED, {"saga_id": SAGA_ID, "connection": object()}, "SqlStore"),
        (ORDER, {"key": "18"}, "is '17', and key='18'"),
        (ORDER, {"saga_id": SAGA_ID}, "starts saga"),
        (ORDER, {"saga": "trip"}, "starts order, not trip"),
        (ORDER, {"branch": "/a:0.1"}, "no branch"),
        (OrderPlaced(order_id=""), {}, "OrderPlaced.order_id is empty"),
    ],
)
def test_what_cannot_be_is_told(event: OrderPlaced, where: Where, said: str):
    with pytest.raises(DeclarationError) as caught:
        identify(ORDERS, event, where)
    assert said in str(caught.value)


def test_a_key_needs_its_saga_type_where_several_could_be_meant():
    with pytest.raises(DeclarationError, match=r"needs saga=.*order, trip"):
        identify(BOTH, APPROVED, {"key": "17"})


def test_a_generation_without_a_key_is_refused():
    with pytest.raises(DeclarationError, match="has none"):
        identify(BOTH, TripRequested(city="Oslo"), {"generation": 2})
