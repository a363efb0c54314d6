"""A shop of four services, small enough to be read beside a test: order, stock, money, parcel."""

from collections.abc import AsyncIterator

from choreo import Context, Event, Failure, Retry, Saga, Service, State


class OrderPlaced(Event, topic="orders"):
    order_id: str
    total: int = 1


class OrderConfirmed(Event, topic="orders"):
    order_id: str


class OrderCancelled(Event, topic="orders"):
    order_id: str


class InventoryReserved(Event, topic="inventory"):
    order_id: str


class InventoryReleased(Event, topic="inventory"):
    order_id: str


class PaymentCaptured(Event, topic="payments"):
    order_id: str
    attempt: int = 1


class PaymentDeclined(Failure, topic="payments"):
    order_id: str


class ShipmentCreated(Event, topic="shipping"):
    order_id: str


class Gateway:
    """Takes money; a test makes it refuse, or break."""

    opened = 0

    def __init__(self, limit: int = 100, breaks: int = 0) -> None:
        self.limit = limit
        self.breaks = breaks

    async def capture(self, total: int) -> bool:
        if self.breaks:
            self.breaks -= 1
            raise ConnectionError("the line is dead")
        return total <= self.limit


class Tally(State):
    calls: int = 0


orders = Service("orders")
orders.owns(
    Saga("order-fulfilment", starts=OrderPlaced, completes=OrderConfirmed, fails=OrderCancelled, key="order_id")
)
inventory = Service("inventory")
payments = Service("payments")
shipping = Service("shipping")


@orders.handles
def confirm(_paid: PaymentCaptured, shipped: ShipmentCreated) -> OrderConfirmed:
    return OrderConfirmed(order_id=shipped.order_id)


@orders.handles
def cancel(cause: PaymentDeclined) -> OrderCancelled:
    return OrderCancelled(order_id=cause.order_id)


@inventory.handles
def reserve(order: OrderPlaced) -> InventoryReserved:
    return InventoryReserved(order_id=order.order_id)


@inventory.compensates
def release(_cause: PaymentDeclined, reserved: InventoryReserved) -> InventoryReleased:
    return InventoryReleased(order_id=reserved.order_id)


@payments.provides
async def gateway() -> AsyncIterator[Gateway]:
    Gateway.opened += 1
    yield Gateway()
    Gateway.opened -= 1


@payments.handles(retry=Retry(attempts=3, delay_s=60, delay_s_max=600))
async def capture(
    order: OrderPlaced, reserved: InventoryReserved, ctx: Context, tally: Tally, gateway: Gateway
) -> PaymentCaptured | PaymentDeclined:
    tally.calls += 1
    if await gateway.capture(order.total):
        return PaymentCaptured(order_id=reserved.order_id, attempt=ctx.attempt)
    return PaymentDeclined(order_id=order.order_id, reason="over the limit")


@shipping.handles
def ship(paid: PaymentCaptured) -> ShipmentCreated:
    return ShipmentCreated(order_id=paid.order_id)


ALL = (orders, inventory, payments, shipping)
