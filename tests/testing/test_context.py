import asyncio
from datetime import UTC, datetime

from choreo.testing import context
from tests.testing.shop import Gateway, InventoryReserved, OrderPlaced, PaymentCaptured, Tally, capture


def test_a_context_has_something_sensible_everywhere():
    made = context()
    assert made.now.tzinfo is UTC
    assert made.attempt == 1
    assert made.idempotency_key != made.undoes_key
    made.log.info("a handler may log")
    assert (context().idempotency_key, context().now) == (made.idempotency_key, made.now)


def test_what_is_given_is_kept_and_the_key_follows_it():
    at = datetime(2030, 1, 1, tzinfo=UTC)
    made = context(saga_id="s", step="payments.capture", attempt=2, now=at, business_key="17")
    assert (made.saga_id, made.step, made.attempt, made.now, made.business_key) == (
        "s",
        "payments.capture",
        2,
        at,
        "17",
    )
    assert made.idempotency_key != context().idempotency_key
    assert made.idempotency_key == context(saga_id="s", step="payments.capture").idempotency_key
    assert context(idempotency_key="mine").idempotency_key == "mine"


def test_a_service_and_a_handler_name_a_step():
    assert context(service="payments", handler="refund").step == "payments.refund"
    assert context(handler="refund").step == "service.refund"


def test_one_handler_alone():
    found = asyncio.run(
        capture(OrderPlaced(order_id="17"), InventoryReserved(order_id="17"), context(attempt=2), Tally(), Gateway())
    )
    assert found == PaymentCaptured(order_id="17", attempt=2)
