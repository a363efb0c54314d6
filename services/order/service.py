"""Handlers of order: the two ends of the saga.

`confirm` joins everything that completion waits for, and reviews the order once more: it confirms it or refuses it,
never both, so no failure can follow a confirmation. `cancel` follows every failure; where two failures meet in one
order it runs for each, and choreo drops what the second says, because a saga ends once. Cancelling doesn't wait for the
undoing: the customer knows at once, and the saga counts as failed only when all is undone.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from choreo import Context, Saga, Service

from ..events import (
    AddressConfirmed,
    AddressRejected,
    OrderCancelled,
    OrderConfirmed,
    OrderPlaced,
    OrderRejected,
    OutOfStock,
    PaymentCaptured,
    PaymentDeclined,
    ShipmentCreated,
    ShipmentFailed,
)
from .book import OrderBook

ACCOUNTS_AUDITED = 25
ACCOUNT_ON_HOLD = 11

orders = Service("orders")
orders.owns(
    Saga("order-fulfilment", starts=OrderPlaced, completes=OrderConfirmed, fails=OrderCancelled, key="order_id")
)


@orders.provides
def book() -> Iterator[OrderBook]:
    with closing(OrderBook(Path(os.environ.get("SERVICES_DATA", "data")) / "order.db")) as opened:
        yield opened


@orders.handles
def confirm(
    order: OrderPlaced,
    paid: PaymentCaptured,
    shipped: ShipmentCreated,
    _address: AddressConfirmed,
    ctx: Context,
    book: OrderBook,
) -> OrderConfirmed | OrderRejected:
    if int(order.customer_id) % ACCOUNTS_AUDITED == ACCOUNT_ON_HOLD:
        return OrderRejected(order_id=order.order_id, reason=f"account {order.customer_id} is on hold")
    book.end(ctx.idempotency_key, order.order_id, "confirmed")
    return OrderConfirmed(order_id=order.order_id, total=paid.amount, parcel=shipped.parcel)


@orders.handles
def cancel(
    cause: OutOfStock | PaymentDeclined | AddressRejected | ShipmentFailed | OrderRejected,
    ctx: Context,
    book: OrderBook,
) -> OrderCancelled:
    book.end(ctx.idempotency_key, cause.order_id, "cancelled")
    return OrderCancelled(order_id=cause.order_id, reason=cause.reason)
