"""Handlers of inventory: reserve, and its undoing.

Reserving follows an order; releasing follows whatever ends the money's side of it, so that stock comes back last. A
declined payment left nothing to refund and releases at once; every other failure beyond reserving reaches the payment
first, and its `PaymentRefunded` brings the release.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from choreo import Context, Service

from ..events import (
    InventoryReleased,
    InventoryReserved,
    OrderPlaced,
    OutOfStock,
    PaymentDeclined,
    PaymentRefunded,
)
from .stock import Stock

LINE_QUANTITY_MAX = 4

inventory = Service("inventory")


@inventory.provides
def stock() -> Iterator[Stock]:
    with closing(Stock(Path(os.environ.get("SERVICES_DATA", "data")) / "inventory.db")) as opened:
        yield opened


@inventory.handles
def reserve(order: OrderPlaced, ctx: Context, stock: Stock) -> InventoryReserved | OutOfStock:
    for line in order.lines:
        if line.quantity > LINE_QUANTITY_MAX:
            return OutOfStock(
                order_id=order.order_id, reason=f"{line.quantity} of {line.title}, {LINE_QUANTITY_MAX} kept"
            )
    quantity = sum(line.quantity for line in order.lines)
    if not stock.reserve(ctx.idempotency_key, order.order_id, quantity):
        return OutOfStock(order_id=order.order_id, reason="this reservation was released before")
    return InventoryReserved(order_id=order.order_id, quantity=quantity)


@inventory.compensates
def release(
    cause: PaymentDeclined | PaymentRefunded, _reserved: InventoryReserved | None, ctx: Context, stock: Stock
) -> InventoryReleased:
    quantity = stock.release(ctx.undoes_key, cause.order_id)
    return InventoryReleased(order_id=cause.order_id, quantity=quantity)
