"""A shop whose services are made anew for each version: as they ran when sagas were recorded, and as they are today."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from choreo import Context, Event, Failure, Retry, Saga, Sensitive, Service
from choreo.replay import Difference, Recording, recorded
from choreo.testing import Scenario
from choreo.tracker import Follower, Store


class Line(BaseModel):
    title: str
    note: Annotated[str, Sensitive()] = ""


class Placed(Event, topic="orders"):
    order_id: str
    total: int = 5
    card: Annotated[str, Sensitive()] = "4000"


class Confirmed(Event, topic="orders"):
    order_id: str


class Cancelled(Event, topic="orders"):
    order_id: str
    reason: str = ""


class Overdue(Failure, topic="orders"):
    order_id: str


class Reserved(Event, topic="stock"):
    order_id: str
    lines: list[Line] = Field(default_factory=list)
    owner: Annotated[str, Sensitive()] = ""


class Released(Event, topic="stock"):
    order_id: str


class Captured(Event, topic="payments"):
    order_id: str
    amount: int


class Declined(Failure, topic="payments"):
    order_id: str


class Unknown(Failure, topic="payments"):
    order_id: str


class Refunded(Event, topic="payments"):
    order_id: str


class Shipped(Event, topic="shipping"):
    order_id: str


class Refused(Failure, topic="shipping"):
    order_id: str


class Gateway:
    """Takes money. One that `breaks` so many times raises first."""

    opened = 0

    def __init__(self, breaks: int = 0, fee: int = 0) -> None:
        self.breaks = breaks
        self.fee = fee
        self.calls: list[str] = []

    def take(self, key: str, amount: int) -> int:
        self.calls.append(key)
        if self.breaks:
            self.breaks -= 1
            raise ConnectionError("the line is dead")
        return amount + self.fee


def order_service() -> Service:
    orders = Service("orders")
    orders.owns(Saga("order", starts=Placed, completes=Confirmed, fails=Cancelled, key="order_id"))

    @orders.handles
    def confirm(placed: Placed, shipped: Shipped) -> Confirmed:
        return Confirmed(order_id=shipped.order_id)

    @orders.handles
    def cancel(cause: Declined | Refused | Unknown | Overdue) -> Cancelled:
        return Cancelled(order_id=cause.order_id, reason=cause.reason)

    return orders


def stock_service() -> Service:
    stock = Service("stock")

    @stock.handles
    def reserve(placed: Placed) -> Reserved:
        return Reserved(order_id=placed.order_id, lines=[Line(title="Abbey Road", note="gift")], owner="Kim")

    @stock.compensates
    def release(cause: Declined | Refunded, reserved: Reserved) -> Released:
        return Released(order_id=reserved.order_id)

    return stock


def payment_service(attempts: int = 5) -> Service:
    payments = Service("payments")

    @payments.provides
    def gateway() -> Iterator[Gateway]:
        Gateway.opened += 1
        yield Gateway()

    @payments.handles(retry=Retry(attempts=attempts, delay_s=60))
    def capture(placed: Placed, reserved: Reserved, ctx: Context, gateway: Gateway) -> Captured | Declined:
        if placed.total > 100:
            return Declined(order_id=placed.order_id, reason="too much")
        return Captured(order_id=placed.order_id, amount=gateway.take(ctx.idempotency_key, placed.total))

    @payments.otherwise(capture)
    def gave_up(placed: Placed, error: Exception) -> Unknown:
        return Unknown(order_id=placed.order_id, reason=str(error))

    @payments.compensates
    def refund(cause: Refused | Unknown | Overdue, captured: Captured | None, placed: Placed) -> Refunded:
        return Refunded(order_id=placed.order_id)

    return payments


def shipping_service() -> Service:
    shipping = Service("shipping")

    @shipping.handles
    def ship(placed: Placed, paid: Captured) -> Shipped | Refused:
        if placed.total > 50:
            return Refused(order_id=placed.order_id, reason="too heavy")
        return Shipped(order_id=paid.order_id)

    return shipping


def shop() -> tuple[Service, ...]:
    """The shop as it was when it was recorded."""
    return order_service(), stock_service(), payment_service(), shipping_service()


WELL, TOO_HEAVY, TOO_MUCH = (Placed(order_id=str(total), total=total) for total in (5, 60, 200))
"""Orders that are confirmed, refused by shipping and declined by payments."""


def record(
    *events: Event,
    services: tuple[Service, ...] = (),
    gateway: Gateway | None = None,
    drive: Callable[[Scenario], object] = Scenario.settle,
    seed: int | None = None,
    store: bool = False,
) -> Recording:
    """Return what is recorded once these have happened, in the topics or in a tracker's store."""
    services = services or shop()
    with Scenario(*services, park=True, seed=seed) as s:
        for each in services:
            if each.name == "payments":
                s.replace(each, Gateway, gateway or Gateway())
        sagas = [s.publish(event).saga_id for event in events]
        drive(s)
        if not store:
            return recorded(s.broker, saga_ids=sagas)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tracker.db"
            kept = Store(path)
            Follower(kept, s.broker).catch_up()
            kept.close()
            return recorded(f"sqlite:///{path}", saga_ids=sagas)


def told(found: list[Difference]) -> list[tuple[str, str]]:
    """Return which step differs, and how."""
    return [(f"{each.service}.{each.handler}", str(each.change)) for each in found]
