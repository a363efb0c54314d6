"""One service, or more, for every code that a mistake in a declaration can have; each has that mistake and no other."""

# ruff: noqa: F821
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from choreo.event import Event, Failure
from choreo.saga import Saga
from choreo.service import Context, Service, State


class Placed(Event, topic="orders"):
    order_id: str


class Confirmed(Event, topic="orders"):
    pass


class Cancelled(Event, topic="orders"):
    pass


class Captured(Event, topic="payments"):
    pass


class Refunded(Event, topic="payments"):
    pass


class Voided(Event, topic="payments"):
    pass


class Declined(Failure, topic="payments"):
    pass


class Rejected(Failure, topic="shipping"):
    pass


class Abstract(Event):
    pass


class Misplaced(Event, topic="choreo.journal"):
    pass


class Cartful(State):
    items: int = 0


class Basket(State):
    items: int = 0


class Hungry(State):
    food: int


class Gateway:
    pass


class Till:
    pass


Mistake = Callable[[], list[Service]]
MISTAKES: dict[str, Mistake] = {}


def mistake(code: str) -> Callable[[Mistake], Mistake]:
    def keep(function: Mistake) -> Mistake:
        MISTAKES[code] = function
        return function

    return keep


def outside() -> Service:
    """Whatever the others need to have come from somewhere."""
    service = Service("world")
    service.publishes(Placed, Captured, Rejected, by="anybody")

    @service.handles
    def watch(event: Placed | Captured | Rejected) -> None: ...

    return service


def one(function: Callable[..., Any], **options: Any) -> list[Service]:
    service = Service("payments")
    service.handles(**options)(function)
    return [service]


@mistake("CH001")
def no_return_hint():
    def capture(placed: Placed): ...

    return one(capture)


@mistake("CH002")
def no_parameter_hint():
    def capture(placed: Placed, gateway) -> Captured: ...

    return one(capture)


@mistake("CH003")
def unknown_name():
    def capture(placed: "Plaecd") -> Captured: ...

    return one(capture)


@mistake("CH004")
def nobody_provides():
    def capture(placed: Placed, gateway: Gateway) -> Captured: ...

    return one(capture)


@mistake("CH005")
def no_event():
    def capture(ctx: Context) -> Captured: ...

    return one(capture)


@mistake("CH006")
def returns_no_event():
    def capture(placed: Placed) -> Captured | str: ...

    return one(capture)


@mistake("CH007")
def no_topic():
    def capture(placed: Placed) -> Abstract: ...

    return one(capture)


@mistake("CH008")
def by_keyword():
    def capture(placed: Placed, *, ctx: Context) -> Captured: ...

    return one(capture)


@mistake("CH009")
def mixed():
    def capture(placed: Placed | Gateway, captured: Captured) -> Refunded: ...

    return one(capture)


@mistake("CH010")
def optional_event():
    def capture(placed: Placed | None) -> Captured: ...

    return one(capture)


@mistake("CH011")
def twice_in_a_join():
    def capture(placed: Placed, again: Placed | Captured) -> Refunded: ...

    return one(capture)


@mistake("CH012")
def misnamed():
    class Shipped(Event, topic="shipping"):
        pass

    class Shippped(Event, topic="shipping"):
        pass

    service, other = Service("shipping"), Service("orders")

    @service.handles
    def ship(captured: Captured) -> Shippped: ...

    @other.handles
    def confirm(shipped: Shipped) -> Confirmed: ...

    return [service, other]


@mistake("CH013")
def not_a_function():
    return one(Gateway())  # type: ignore[arg-type]


@mistake("CH014")
def silent_generator():
    def capture(placed: Placed) -> Captured:
        yield Captured()

    return one(capture)


@mistake("CH015")
def unusable_name():
    def capture(placed: Placed) -> Captured: ...

    return one(capture, name="cap/ture")


@mistake("CH016")
def unless_no_event():
    def capture(placed: Placed) -> Captured: ...

    return one(capture, unless=Gateway)


@mistake("CH017")
def no_time():
    def capture(placed: Placed) -> Captured: ...

    return one(capture, timeout_s=0)


@mistake("CH018")
def thread_and_async():
    async def capture(placed: Placed) -> Captured: ...

    return one(capture, thread=True)


@mistake("CH020")
def unusable_service_name():
    return [Service("Order Service")]


@mistake("CH021")
def two_of_one_name():
    service = Service("payments")

    @service.handles
    def capture(placed: Placed) -> Captured: ...

    @service.handles(name="capture")
    def capture_again(placed: Placed) -> Captured: ...

    return [service]


@mistake("CH022")
def two_states():
    def capture(placed: Placed, cart: Cartful, basket: Basket) -> Captured: ...

    return one(capture)


@mistake("CH023")
def no_default():
    def capture(placed: Placed, state: Hungry) -> Captured: ...

    return one(capture)


@mistake("CH024")
def reserved_topic():
    def capture(placed: Placed) -> Misplaced: ...

    return one(capture)


@mistake("CH025")
def publishes_no_event():
    service = Service("payments")
    service.publishes(Gateway)  # type: ignore[arg-type]
    return [service]


def owner(**fields: Any) -> Service:
    service = Service("orders")
    service.owns(Saga("order", **{"starts": Placed, "completes": Confirmed, "fails": Cancelled} | fields))

    @service.handles
    def confirm(placed: Placed) -> Confirmed | Cancelled: ...

    return service


@mistake("CH026")
def end_from_outside():
    service = owner()
    service.publishes(Cancelled)
    listening = Service("listening")

    @listening.handles
    def listen(cancelled: Cancelled) -> None: ...

    return [service, listening]


def undoing(*functions: Callable[..., Any]) -> list[Service]:
    service = Service("payments")

    @service.handles
    def capture(placed: Placed) -> Captured | Declined: ...

    for function in functions:
        service.compensates(function)
    return [service]


@mistake("CH030")
def no_original():
    def refund(cause: Rejected) -> Refunded: ...

    return undoing(refund)


@mistake("CH031")
def two_originals():
    def refund(cause: Rejected, original: Captured | Declined) -> Refunded: ...

    return undoing(refund)


@mistake("CH032")
def foreign_original():
    def refund(cause: Rejected, original: Confirmed) -> Refunded: ...

    return undoing(refund)


@mistake("CH033")
def undoing_an_undoing():
    def refund(cause: Rejected, original: Captured) -> Refunded: ...

    def undo_refund(cause: Rejected, original: Refunded) -> Voided: ...

    return undoing(refund, undo_refund)


@mistake("CH034")
def two_emit_the_optional():
    service = Service("payments")

    @service.handles
    def capture(placed: Placed) -> Captured: ...

    @service.handles
    def capture_late(placed: Placed) -> Captured: ...

    @service.compensates
    def refund(cause: Rejected, captured: Captured | None) -> Refunded: ...

    return [service]


@mistake("CH035")
def caused_by_itself():
    def refund(cause: Rejected | Refunded, captured: Captured) -> Refunded: ...

    return undoing(refund)


@mistake("CH036")
def unless_and_compensation():
    service = Service("payments")

    @service.handles(unless=Rejected)
    def capture(placed: Placed) -> Captured: ...

    @service.compensates
    def refund(cause: Rejected, captured: Captured) -> Refunded: ...

    return [service]


@mistake("CH037")
def otherwise_nobody():
    [service] = undoing()

    @service.otherwise("captur")
    def gave_up(placed: Placed, error: Exception) -> Declined: ...

    return [service]


@mistake("CH038")
def otherwise_takes_more():
    [service] = undoing()

    @service.otherwise("capture")
    def gave_up(rejected: Rejected) -> Declined: ...

    return [service]


@mistake("CH039")
def deadline_without_time():
    [service] = undoing()

    @service.deadline(Captured, within=timedelta(0))
    def overdue(placed: Placed) -> Declined: ...

    return [service]


@mistake("CH040")
def start_is_no_event():
    service = Service("orders")
    service.owns(Saga("order", starts=Gateway, completes=Confirmed))  # type: ignore[arg-type]
    return [service]


@mistake("CH041")
def never_completes():
    return [owner(completes=None)]


@mistake("CH042")
def key_is_no_field():
    return [owner(key="orderid")]


@mistake("CH043")
def starts_two():
    service = owner()
    service.owns(Saga("purchase", starts=Placed, completes=Confirmed))
    return [service]


@mistake("CH044")
def two_owners():
    other = Service("purchases")
    other.owns(Saga("order", starts=Captured, completes=Refunded))

    @other.handles
    def confirm(captured: Captured) -> Refunded: ...

    return [owner(), other]


@mistake("CH045")
def ended_by_another():
    def capture(placed: Placed) -> Cancelled: ...

    return [owner(), *one(capture)]


@mistake("CH046")
def unusable_saga_name():
    service = Service("orders")
    service.owns(Saga("order, please", starts=Placed, completes=Confirmed))

    @service.handles
    def confirm(placed: Placed) -> Confirmed: ...

    return [service]


@mistake("CH047")
def completes_and_fails():
    return [owner(fails=Confirmed)]


def providing(*functions: Callable[..., Any]) -> list[Service]:
    service = Service("payments")
    for function in functions:
        service.provides(function)
    return [service]


@mistake("CH050")
def provides_nothing():
    def gateway(): ...

    return providing(gateway)


@mistake("CH051")
def provided_twice():
    def gateway() -> Gateway: ...

    def another() -> Gateway: ...

    return providing(gateway, another)


@mistake("CH052")
def circle():
    def gateway(till: Till) -> Gateway: ...

    def till(gateway: Gateway) -> Till: ...

    return providing(gateway, till)


@mistake("CH053")
def provider_asks_in_vain():
    def gateway(till: Till) -> Gateway: ...

    return providing(gateway)


@mistake("CH054")
def lives_too_long():
    service = Service("payments")

    @service.provides(per="step")
    def till() -> Till: ...

    @service.provides
    def gateway(till: Till) -> Gateway: ...

    return [service]


@mistake("CH055")
def per_day():
    service = Service("payments")

    @service.provides(per="day")  # type: ignore[call-overload]
    def till() -> Till: ...

    return [service]


@mistake("CH060")
def two_services():
    return [Service("payments"), Service("payments")]


@mistake("CH061")
def two_classes():
    Again = type("Again", (Event,), {"__module__": __name__}, topic="payments", name="payments.Captured")  # noqa: N806

    def capture(placed: Placed) -> Captured: ...

    def notify(placed: Placed) -> None: ...

    notify.__annotations__["return"] = Again
    service = Service("notes")
    service.handles(notify)
    return [*one(capture), service]


@mistake("CH062")
def gathers_nothing():
    def complete(captured: list[Captured]) -> Refunded: ...

    return one(complete)


@mistake("CH070")
def nobody_emits():
    def capture(cancelled: Cancelled) -> Captured: ...

    return one(capture)


@mistake("CH071")
def nobody_handles():
    service = Service("payments")
    service.publishes(Voided)
    return [service]


@mistake("CH072")
def strange_cause():
    def refund(cause: Placed, captured: Captured) -> Refunded: ...

    return undoing(refund)


@mistake("CH073")
def never_completed():
    service = Service("orders")
    service.owns(Saga("order", starts=Placed, completes=Confirmed))
    return [service]
