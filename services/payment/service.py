"""Handlers of payment: capture, and its undoing.

A rejected address may overtake the capture, so `refund` takes `PaymentCaptured | None`: a capture that has run is
refunded, one that hasn't is cancelled and its key made unusable, and `PaymentRefunded` carries the undoing on to the
stock in both cases. No shipment exists beside `AddressRejected` (it waits for the address), so refunding on it at once
is still the reverse of what was done; after a shipment the refund waits for `ShipmentCancelled`.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

from choreo import Context, Service

from ..events import (
    AddressRejected,
    InventoryReserved,
    OrderPlaced,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    ShipmentCancelled,
    ShipmentFailed,
)
from .till import Till

CARD_LIMIT = Decimal("75.00")

payments = Service("payments")


@payments.provides
def till() -> Iterator[Till]:
    with closing(Till(Path(os.environ.get("SERVICES_DATA", "data")) / "payment.db")) as opened:
        yield opened


@payments.handles
def capture(
    order: OrderPlaced, _stock: InventoryReserved, ctx: Context, till: Till
) -> PaymentCaptured | PaymentDeclined:
    if order.total > CARD_LIMIT:
        return PaymentDeclined(order_id=order.order_id, reason=f"{order.total} is above the card's limit")
    if not till.charge(ctx.idempotency_key, order.order_id, order.total):
        return PaymentDeclined(order_id=order.order_id, reason="this payment was voided before")
    return PaymentCaptured(order_id=order.order_id, amount=order.total, receipt=ctx.idempotency_key)


@payments.compensates
def refund(
    cause: AddressRejected | ShipmentFailed | ShipmentCancelled,
    _captured: PaymentCaptured | None,
    ctx: Context,
    till: Till,
) -> PaymentRefunded:
    # What was charged is asked of the till, not of the event: a crash between a charge and its commit leaves a charge
    # without an event, and that has to go back too.
    return PaymentRefunded(order_id=cause.order_id, amount=till.void(ctx.undoes_key, cause.order_id))
