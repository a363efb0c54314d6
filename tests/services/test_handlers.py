"""Single handlers, called as the plain functions they are."""

from contextlib import closing
from decimal import Decimal

import pytest

from choreo.testing import context
from services.events import (
    AddressConfirmed,
    AddressRejected,
    InventoryReserved,
    OrderRejected,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    ShipmentCreated,
    ShipmentFailed,
)
from services.inventory import Stock
from services.inventory.service import release, reserve
from services.order.purchases import order
from services.payment import Till
from services.payment.service import capture, refund
from services.shipping import Dispatch
from services.shipping.service import cancel_shipment, create


@pytest.fixture
def till(tmp_path):
    with closing(Till(tmp_path / "payment.db")) as opened:
        yield opened


@pytest.fixture
def stock(tmp_path):
    with closing(Stock(tmp_path / "inventory.db")) as opened:
        yield opened


@pytest.fixture
def dispatch(tmp_path):
    with closing(Dispatch(tmp_path / "shipping.db")) as opened:
        yield opened


RESERVED = InventoryReserved(order_id="1-1", quantity=2)
FAILED = ShipmentFailed(order_id="1-1", reason="too heavy")


def test_r11_a_capture_that_runs_again_charges_once(till, purchase):
    ctx = context(idempotency_key="k")
    first = capture(order(1, purchase()), RESERVED, ctx, till)
    assert first == capture(order(1, purchase()), RESERVED, ctx, till)
    assert first == PaymentCaptured(order_id="1-1", amount=Decimal("29.33"), receipt="k")
    assert till.totals()[0] == Decimal("29.33")


def test_r11_a_capture_after_its_refund_is_declined(till, purchase):
    refunded = refund(AddressRejected(order_id="1-1", reason="no"), None, context(undoes_key="k"), till)
    assert refunded == PaymentRefunded(order_id="1-1", amount=Decimal("0.00"))
    late = capture(order(1, purchase()), RESERVED, context(idempotency_key="k"), till)
    assert isinstance(late, PaymentDeclined)
    assert till.totals() == (0, 0)


def test_r16_a_charge_whose_event_was_lost_is_refunded(till, purchase):
    # The process died between the charge and its commit, and the address was rejected before it ran again.
    capture(order(1, purchase()), RESERVED, context(idempotency_key="k"), till)
    refunded = refund(AddressRejected(order_id="1-1", reason="no"), None, context(undoes_key="k"), till)
    assert refunded.amount == Decimal("29.33")


def test_r11_a_refund_that_runs_again_says_the_same(till, purchase):
    captured = capture(order(1, purchase()), RESERVED, context(idempotency_key="k"), till)
    ctx = context(undoes_key="k")
    assert refund(FAILED, captured, ctx, till) == refund(FAILED, captured, ctx, till)
    assert till.totals() == (Decimal("29.33"), Decimal("29.33"))


def test_r11_a_reservation_after_its_release_is_out_of_stock(stock, purchase):
    released = release(PaymentRefunded(order_id="1-1", amount=0), None, context(undoes_key="k"), stock)
    assert released.quantity == 0
    late = reserve(order(1, purchase()), context(idempotency_key="k"), stock)
    assert (type(late).__name__, late.reason) == ("OutOfStock", "this reservation was released before")


def test_release_takes_back_what_was_reserved(stock, purchase):
    reserved = reserve(order(1, purchase(quantity="3")), context(idempotency_key="k"), stock)
    cause = PaymentDeclined(order_id="1-1", reason="too much")
    assert release(cause, reserved, context(undoes_key="k"), stock).quantity == 3
    assert stock.totals() == (3, 3)


def test_r11_a_shipment_after_its_cancelling_fails(dispatch):
    cancel_shipment(OrderRejected(order_id="1-1", reason="no"), None, context(undoes_key="k"), dispatch)
    address = AddressConfirmed(order_id="1-1", region="Ohio", po_box=False, weight_g=110)
    paid = PaymentCaptured(order_id="1-1", amount=Decimal("1.00"), receipt="r")
    assert isinstance(create(address, paid, context(idempotency_key="k"), dispatch), ShipmentFailed)
    booked = create(address, paid, context(idempotency_key="other"), dispatch)
    assert isinstance(booked, ShipmentCreated)
    assert booked == create(address, paid, context(idempotency_key="other"), dispatch)
