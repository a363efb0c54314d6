"""The public API as type checkers see it: mypy and pyright read this file strictly, nobody runs it."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, assert_type

from choreo import Context, Event, Failure, Later, Problem, Retry, Saga, SagaState, Sensitive, Service, State, check


class Placed(Event, topic="orders"):
    order_id: str
    card: Annotated[str, Sensitive()]


class Confirmed(Event, topic="orders"):
    pass


class Cancelled(Event, topic="orders", name="orders.WasCancelled"):
    pass


class Captured(Event, topic="payments"):
    pass


class Declined(Failure, topic="payments"):
    pass


class Refunded(Event, topic="payments"):
    pass


class Cart(State):
    items: int = 0


class Gateway:
    pass


orders = Service("orders")
payments = Service("payments", version="1")

assert_type(orders.name, str)
orders.owns(Saga("order", starts=Placed, completes=Confirmed, fails=Cancelled | Declined, key="order_id"))
payments.publishes(Captured, Refunded, by="a manager")


@payments.provides
async def gateway() -> AsyncIterator[Gateway]:
    yield Gateway()


@payments.provides(per="step")
def till(gateway: Gateway) -> int:
    return 1


@payments.handles(retry=Retry(attempts=5, never=(ValueError,)), timeout_s=10, unless=Declined | Refunded, name="take")
async def capture(placed: Placed, ctx: Context, cart: Cart, gateway: Gateway) -> Captured | Declined:
    assert_type(ctx.idempotency_key, str)
    assert_type(ctx.now, datetime)
    assert_type(ctx.completed_steps, tuple[str, ...])
    ctx.log.info("captured")
    cart.items += 1
    return Captured()


@payments.otherwise(capture)
def gave_up(placed: Placed, error: Exception) -> Declined:
    return Declined(reason=str(error))


@payments.otherwise("take")
def gave_up_again(placed: Placed) -> Declined:
    return Declined(reason="again")


@payments.compensates
def refund(cause: Declined, captured: Captured | None, ctx: Context) -> Refunded:
    return Refunded()


@payments.compensates(name="refund-later", thread=True)
def refund_later(cause: Declined, captured: Captured) -> Refunded:
    return Refunded()


@orders.deadline(Confirmed | Cancelled, within=timedelta(minutes=5))
def overdue(placed: Placed) -> Declined:
    return Declined(reason="overdue")


@orders.handles
def remind(placed: Placed) -> Later[Cancelled]:
    return Later(Cancelled(), after=timedelta(days=1), unless=Confirmed | Declined)


@orders.handles
def confirm(captured: Captured) -> Confirmed:
    return Confirmed()


# What is decorated stays what it was: callable in a plain unit test, with its types.
assert_type(confirm(Captured()), Confirmed)
assert_type(remind(Placed(order_id="17", card="4711")), Later[Cancelled])
assert_type(gave_up(Placed(order_id="17", card="4711"), ValueError()), Declined)
plain: Callable[[Placed], Declined] = overdue
assert_type(Later(Captured(), at=datetime(2026, 1, 1, tzinfo=UTC)).event, Captured)
assert_type(check(orders, payments), list[Problem])
assert_type(SagaState("failed"), SagaState)

# What must not pass; without the complaint, the checkers complain of the comment.
Saga("order", starts=Placed)  # type: ignore[call-arg]
payments.provides(per="day")  # type: ignore[call-overload]
payments.handles("capture")  # type: ignore[call-overload]
orders.deadline(Confirmed)  # type: ignore[call-arg]
confirm(Placed(order_id="17", card="4711"))  # type: ignore[arg-type]
