"""The events that every benchmark moves: three order lines, decimals and timestamps."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, Field

from choreo import Event

Money = Annotated[Decimal, Field(max_digits=12, decimal_places=2)]


class OrderLine(BaseModel):
    sku: str
    quantity: int
    price: Money


class OrderPlaced(Event, topic="bench.orders"):
    order_id: str
    customer_id: str
    lines: list[OrderLine]
    total: Money
    placed_at: datetime


class StockReserved(Event, topic="bench.inventory"):
    order_id: str
    lines: list[OrderLine]
    total: Money
    reserved_at: datetime


class PaymentCaptured(Event, topic="bench.payments"):
    order_id: str
    lines: list[OrderLine]
    total: Money
    captured_at: datetime


class ShipmentCreated(Event, topic="bench.shipping"):
    order_id: str
    lines: list[OrderLine]
    total: Money
    shipped_at: datetime


class OrderConfirmed(Event, topic="bench.confirmations"):
    order_id: str
    total: Money
    confirmed_at: datetime


def order(n: int) -> OrderPlaced:
    """Return the n-th order."""
    lines = [OrderLine(sku=f"CD-{n % 97:03d}-{i}", quantity=1 + i, price=Decimal(f"{10 + i}.99")) for i in range(3)]
    return OrderPlaced(
        order_id=f"order-{n}",
        customer_id=f"customer-{n % 2357}",
        lines=lines,
        total=Decimal("67.94"),
        placed_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=n),
    )


async def reserve(order: OrderPlaced) -> StockReserved:
    """Step 1."""
    return StockReserved(order_id=order.order_id, lines=order.lines, total=order.total, reserved_at=order.placed_at)


async def capture(stock: StockReserved) -> PaymentCaptured:
    """Step 2."""
    return PaymentCaptured(order_id=stock.order_id, lines=stock.lines, total=stock.total, captured_at=stock.reserved_at)


async def ship(paid: PaymentCaptured) -> ShipmentCreated:
    """Step 3."""
    return ShipmentCreated(order_id=paid.order_id, lines=paid.lines, total=paid.total, shipped_at=paid.captured_at)


async def confirm(shipped: ShipmentCreated) -> OrderConfirmed:
    """Step 4."""
    return OrderConfirmed(order_id=shipped.order_id, total=shipped.total, confirmed_at=shipped.shipped_at)


HANDLERS = {OrderPlaced: reserve, StockReserved: capture, PaymentCaptured: ship, ShipmentCreated: confirm}
