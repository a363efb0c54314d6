"""What people declare: read right, or refused with every mistake at once."""

import contextlib
import functools
import re
from collections.abc import AsyncIterator, Awaitable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Optional, Protocol, Union

import pytest

from choreo.errors import DeclarationError, HandlerSignatureError
from choreo.event import Event, Failure
from choreo.handler import Handler, Kind, Role
from choreo.retry import Retry
from choreo.saga import Saga
from choreo.service import CODES, Context, Later, Service, State, declarations
from choreo.service import mistakes as check
from tests import mistakes
from tests.mistakes import Cancelled, Captured, Confirmed, Declined, Gateway, Placed, Refunded, Rejected, Till, Voided


def read(function, **options) -> Handler:
    service = Service("payments")
    service.provides(gateway)
    service.handles(**options)(function)
    return declarations(service)[0].handlers[0]


def gateway() -> Gateway:
    return Gateway()


def told(*services: Service) -> list[str]:
    return [problem.code for problem in check(*services)]


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_mistake_is_told_by_its_code_with_a_place_and_a_fix(code):
    services = [*mistakes.MISTAKES[code](), mistakes.outside()]
    problems = check(*services)
    assert [problem.code for problem in problems] == [code]
    assert re.fullmatch(r"tests/mistakes.py:\d+", problems[0].place)
    assert problems[0].fix[0].isupper()
    assert len(problems[0].fix) > 5
    with pytest.raises(DeclarationError) as caught:
        declarations(*services)
    assert caught.value.problems == problems


def test_all_mistakes_are_told_at_once():
    service = Service("payments")

    @service.handles
    def capture(placed: Placed): ...

    @service.handles
    def notify(nobody) -> None: ...

    service.owns(Saga("order", starts=Placed, completes=Confirmed, key="oder_id"))
    with pytest.raises(DeclarationError) as caught:
        declarations(service)
    assert [problem.code for problem in caught.value.problems] == ["CH001", "CH002", "CH005", "CH042"]
    assert "Did you mean order_id?" in str(caught.value)


def test_a_mistake_in_one_signature_alone_is_a_handler_signature_error():
    with pytest.raises(HandlerSignatureError):
        declarations(*mistakes.MISTAKES["CH001"]())


def test_a_misspelt_event_is_guessed():
    [problem] = check(*mistakes.MISTAKES["CH003"]())
    assert "Plaecd" in problem.message
    assert problem.fix == "Did you mean Placed?"


def test_what_cannot_be_read_is_not_said_to_be_missing():
    service = Service("payments")

    @service.handles
    def capture(placed: "Nowhere") -> Captured: ...  # noqa: F821

    @service.compensates
    def refund(cause: Rejected, captured: Captured) -> Refunded: ...

    with pytest.raises(DeclarationError) as caught:
        declarations(service)
    assert [problem.code for problem in caught.value.problems] == ["CH003"]


def test_no_message_is_longer_than_a_person_reads():
    for code in CODES:
        for problem in check(*mistakes.MISTAKES[code]()):
            assert len(problem.message) < 160, problem


def test_decorators_return_the_function_itself():
    service = Service("payments")

    def capture(placed: Placed) -> Captured:
        return Captured()

    assert service.handles(capture) is capture
    assert service.handles(name="again")(capture) is capture
    assert service.compensates(capture) is capture
    assert service.otherwise("x")(capture) is capture
    assert service.deadline(Captured, within=timedelta(1))(capture) is capture
    assert service.provides(capture) is capture
    assert service.provides(per="step")(capture) is capture


@pytest.mark.parametrize(
    ("hint", "emits"),
    [
        (Captured, [Captured]),
        (None, []),
        (Captured | Declined, [Captured, Declined]),
        (Captured | None, [Captured]),
        (Optional[Captured], [Captured]),  # noqa: UP045
        (Union[Captured, Declined], [Captured, Declined]),  # noqa: UP007
        (tuple[Captured, Refunded], [Captured, Refunded]),
        (tuple[Captured, Refunded] | Declined, [Captured, Refunded, Declined]),
        (tuple[Captured | None, Refunded], [Captured, Refunded]),
        (tuple[Captured, ...], [Captured]),
        (list[Captured], [Captured]),
        (Later[Captured], [Captured]),
        (tuple[Later[Captured], Declined], [Captured, Declined]),
        (Iterator[Captured | Refunded], [Captured, Refunded]),
        (Awaitable[Captured], [Captured]),
        (Annotated[Captured, "x"] | Declined, [Captured, Declined]),
    ],
    ids=str,
)
def test_the_return_hint_says_what_is_emitted(hint, emits):
    def capture(placed: Placed): ...

    capture.__annotations__["return"] = hint
    handler = read(capture)
    assert list(handler.emits) == emits
    assert handler.fan_out == (hint == list[Captured])
    assert handler.later == ("Later" in str(hint))
    assert handler.generator == ("Iterator" in str(hint))
    assert handler.asynchronous == ("Awaitable" in str(hint))


def test_generators_and_coroutines_are_told_apart():
    async def capture(placed: Placed) -> Captured:
        return Captured()

    async def stream(placed: Placed) -> AsyncIterator[Captured]:
        yield Captured()

    def lazy(placed: Placed) -> Iterator[Captured]:
        yield Captured()

    found = [(one.asynchronous, one.generator) for one in map(read, (capture, stream, lazy))]
    assert found == [(True, False), (True, True), (False, True)]


def test_a_decorated_function_is_read_through_its_wrapper():
    def traced(function):
        @functools.wraps(function)
        def wrapper(*args):
            return function(*args)

        return wrapper

    @traced
    def capture(placed: Placed, ctx: Context) -> Captured:
        return Captured()

    handler = read(capture)
    assert handler.name == "capture"
    assert [each.role for each in handler.parameters] == [Role.EVENT, Role.CONTEXT]


def test_parameters_are_matched_by_annotation():
    class Cart(State):
        items: int = 0

    def capture(
        ctx: Context, placed: Placed, state: Cart, gateway: Gateway, other: Captured | Declined, limit: int = 3
    ) -> Refunded: ...

    handler = read(capture)
    assert [(each.name, each.role, each.types) for each in handler.parameters] == [
        ("ctx", Role.CONTEXT, (Context,)),
        ("placed", Role.EVENT, (Placed,)),
        ("state", Role.STATE, (Cart,)),
        ("gateway", Role.RESOURCE, (Gateway,)),
        ("other", Role.EVENT, (Captured, Declined)),
    ]
    assert handler.waits_for == (frozenset({Placed}), frozenset({Captured, Declined}))


def test_annotations_may_be_strings_and_name_local_events():
    class Local(Event, topic="local"):
        pass

    def capture(local: "Local", gateway: "Gateway") -> "Local | list[Captured]": ...

    service = Service("payments")
    service.provides(gateway)
    service.handles(capture)
    [handler] = declarations(service)[0].handlers
    assert handler.emits == (Local, Captured)
    assert handler.parameters[0].types == (Local,)


def test_the_same_function_may_serve_two_services():
    def capture(placed: Placed) -> Captured: ...

    one, two = Service("one"), Service("two")
    one.handles(capture)
    two.handles(name="take")(capture)
    assert [each.handlers[0].step for each in declarations(one, two)] == ["one.capture", "two.take"]


def test_options_come_through():
    retry = Retry(attempts=2)

    def capture(placed: Placed) -> Captured: ...

    handler = read(capture, name="take", retry=retry, timeout_s=3, thread=True, unless=Rejected | Declined)
    assert (handler.name, handler.retry, handler.timeout_s, handler.thread) == ("take", retry, 3, True)
    assert handler.unless == {Rejected, Declined}
    assert re.fullmatch(r"tests/test_service.py:\d+", handler.place)


def test_a_compensation_takes_cause_original_and_extras_in_that_order():
    service = Service("payments")

    @service.handles
    def capture(placed: Placed) -> Captured: ...

    @service.compensates
    def refund(ctx: Context, cause: Rejected | Declined, captured: Captured | None, placed: Placed) -> Refunded: ...

    _, undo = declarations(service)[0].handlers
    assert undo.kind is Kind.COMPENSATION
    assert undo.causes == {Rejected, Declined}
    assert undo.original == {Captured}
    assert undo.original_optional
    assert undo.extras == (frozenset({Placed}),)
    assert undo.waits_for == ()
    assert [each.role for each in undo.parameters] == [Role.CONTEXT, Role.CAUSE, Role.ORIGINAL, Role.EVENT]


@pytest.mark.parametrize("by_name", [True, False])
def test_otherwise_takes_the_handler_or_its_name(by_name):
    service = Service("payments")

    @service.handles(name="take")
    def capture(placed: Placed, gateway: Gateway) -> Captured: ...

    service.provides(gateway)

    @service.otherwise("take" if by_name else capture)
    def gave_up(placed: Placed, error: Exception) -> Declined: ...

    _, handler = declarations(service)[0].handlers
    assert handler.guards == "take"
    assert [each.role for each in handler.parameters] == [Role.EVENT, Role.ERROR]


def test_a_deadline_may_count_by_a_function_of_its_trigger():
    service = Service("orders")

    @service.deadline(Confirmed | Cancelled, within=lambda placed: timedelta(1), after_abort=True)
    def overdue(placed: Placed) -> Declined: ...

    found = declarations(service)[0]
    [handler] = found.handlers
    assert handler.awaits == {Confirmed, Cancelled}
    assert handler.after_abort
    assert callable(handler.within)
    assert found.consumes == {Placed, Confirmed, Cancelled}


class Mistyped(State):
    pass


class Port(Protocol):
    def pay(self) -> None: ...


class Bank(Port):
    def pay(self) -> None: ...


def test_providers_come_behind_those_they_ask_for():
    service = Service("payments")

    @service.provides
    async def till(gateway: Gateway, bank: Bank) -> AsyncIterator[Till]:
        yield Till()

    @service.provides(per="service")
    def the_gateway(bank: Port) -> Gateway: ...

    @service.provides
    @contextlib.contextmanager
    def bank() -> Iterator[Bank]:
        yield Bank()

    @service.handles
    def capture(placed: Placed, port: Port, till: Till) -> Captured: ...

    found = declarations(service)[0]
    assert [each.type for each in found.providers] == [Bank, Gateway, Till]
    assert [each.generator for each in found.providers] == [True, False, True]
    assert [each.requires for each in found.providers] == [(), (Bank,), (Gateway, Bank)]
    assert found.provider(Till).asynchronous
    assert [each.types for each in found.handlers[0].parameters] == [(Placed,), (Bank,), (Till,)]


@pytest.mark.parametrize("hint", [{}, [Gateway], Annotated[Gateway, []], None, Context, Placed, Mistyped], ids=str)
def test_what_is_no_resource_is_refused(hint):
    service = Service("payments")

    def provide(): ...

    provide.__annotations__["return"] = hint
    service.provides(provide)
    assert told(service) == ["CH050"]


@pytest.mark.parametrize(
    "decorated", [print, len, 5, "capture", object(), functools.partial(print)], ids=lambda each: type(each).__name__
)
def test_decorators_never_raise_whatever_they_decorate(decorated):
    service = Service("payments")
    for decorate in (service.handles, service.compensates, service.otherwise(decorated), service.provides):
        assert decorate(decorated) is decorated
    service.publishes(decorated)
    assert set(told(service)) == {"CH013", "CH025"}


def test_two_resources_of_one_class_are_told_apart_by_annotated():
    service = Service("payments")

    @service.provides
    def north() -> Annotated[Gateway, "north"]: ...

    @service.provides
    def south() -> Annotated[Gateway, "south"]: ...

    @service.handles
    def capture(placed: Placed, gateway: Annotated[Gateway, "south"]) -> Captured: ...

    assert declarations(service)[0].handlers[0].parameters[1].types == (Annotated[Gateway, "south"],)


def orders() -> Service:
    service = Service("orders")
    service.owns(Saga("order", starts=Placed, completes=Confirmed, fails=Cancelled, key="order_id"))
    service.publishes(Voided, by="a manager")

    @service.handles(unless=Rejected)
    def confirm(captured: Captured) -> Confirmed: ...

    @service.handles
    def cancel(failure: Declined) -> Cancelled: ...

    return service


def test_a_declaration_says_what_is_read_and_written():
    found = declarations(orders())[0]
    assert found.consumes == {Placed, Captured, Rejected, Declined}
    assert found.emits == {Confirmed, Cancelled}
    assert set(found.event_types) == {Placed, Captured, Rejected, Declined, Confirmed, Cancelled, Voided}
    assert found.topics_in == ("orders", "payments", "shipping")
    assert found.topics_out == ("orders", "payments")
    assert found.publishes == {Voided: "a manager"}
    assert found.state is None


def test_an_original_is_read_only_where_it_comes_from_outside():
    own = Service("payments")

    @own.handles
    def capture(placed: Placed) -> Captured: ...

    @own.compensates
    def refund(cause: Rejected, captured: Captured) -> Refunded: ...

    assert declarations(own)[0].consumes == {Placed, Rejected}
    outside = Service("payments")
    outside.publishes(Captured)
    outside.compensates(refund)
    assert declarations(outside)[0].consumes == {Captured, Rejected}


def test_the_version_is_a_digest_of_what_is_declared():
    assert declarations(orders())[0].version == declarations(orders())[0].version
    assert re.fullmatch(r"[0-9a-f]{12}", declarations(orders())[0].version)
    assert declarations(Service("orders", version="7"))[0].version == "7"
    changed = orders()

    @changed.handles
    def more(placed: Placed) -> None: ...

    assert declarations(changed)[0].version != declarations(orders())[0].version


def test_the_version_changes_with_an_event_s_fields():
    def version(kind):
        service = Service("one")

        def take(event) -> None: ...

        take.__annotations__ = {"event": kind, "return": None}
        service.handles(take)
        return declarations(service)[0].version

    one = type("Evented", (Event,), {"__module__": __name__, "__annotations__": {"n": int}}, topic="t")
    two = type("Evented", (Event,), {"__module__": __name__, "__annotations__": {"n": str}}, topic="t")
    assert version(one) != version(two)


def test_a_service_given_twice_is_read_once():
    service = orders()
    assert len(declarations(service, service)) == 1


def test_a_service_that_says_nothing_is_fine():
    found = declarations(Service("quiet"))[0]
    assert (found.handlers, found.consumes, found.topics_in) == ((), frozenset(), ())


def test_a_handler_that_is_declared_later_is_read_too():
    service = orders()
    before = len(declarations(service)[0].handlers)
    service.handles(lambda: None)
    with pytest.raises(DeclarationError):
        declarations(service)
    assert before == 2


def test_events_without_a_topic_are_told_once_each():
    class Other(Event):
        pass

    def take(one: mistakes.Abstract, other: Other) -> None: ...

    assert told(*mistakes.one(take))[:2] == ["CH007", "CH007"]
    assert "CH061" not in told(*mistakes.one(take))


def test_events_that_end_in_nothing_are_no_warning():
    assert told(mistakes.outside(), *mistakes.undoing()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"at": datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)},
        {"after": timedelta(1), "at": datetime(2026, 1, 1, tzinfo=UTC)},
        {"after": timedelta(-1)},
    ],
    ids=["none", "naive", "both", "negative"],
)
def test_later_names_one_time(arguments):
    with pytest.raises(ValueError, match="Later"):
        Later(Captured(), **arguments)


def test_codes_have_one_page_each_in_order():
    assert list(CODES) == sorted(CODES)
    named = {
        code
        for path in (Path(__file__).parent.parent / "choreo" / "service").glob("*.py")
        if path.name != "codes.py"
        for code in re.findall(r"\"(CH\d{3})\"", path.read_text())
    }
    assert named == set(CODES)


class Sent(Failure, topic="t"):
    pass


def test_a_failure_class_of_its_own_is_an_event():
    def note(sent: Sent) -> None: ...

    assert read(note).waits_for == (frozenset({Sent}),)
