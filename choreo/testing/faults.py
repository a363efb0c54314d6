"""What goes wrong with the services of a scenario, and when.

The faults that a test asked for, and the moments at which those and a plan's strike, live here; which ones chance
brings does not (`plan`), nor what becomes of a service that is struck (`members`). Members ask at every step of an
event's way, and call handlers through this.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

from choreo.event import Event
from choreo.handler import Handler
from choreo.service import Declaration, Later
from choreo.testing.group import Trouble
from choreo.testing.plan import Plan, identity
from choreo.testing.points import AT_HANDLERS, Blow, Died, Point, TransientFault
from choreo.transport import Outgoing, Record

LATER = timedelta(days=1)
"""How long an event is put off that a test lets a handler return in a `Later`."""


@dataclass(slots=True, kw_only=True)
class Order:
    """A fault that a test asked for.

    Attributes:
        service: Whom it strikes.
        times: How often it is still to strike.
        handler: At which handler's call, or in a batch that it was called in; "" for any.
        point: Where the process dies; None where the handler raises.
        error: What the handler raises.
        after: It raises when it has run.
        answer: What the handler returns, without being called.
    """

    service: str
    times: int
    handler: str = ""
    point: Point | None = None
    error: Exception | None = None
    after: bool = False
    answer: tuple[Event, ...] | None = None


@dataclass(slots=True)
class _Batch:
    """What a service is doing, as far as faults ask."""

    service: str = ""
    places: Sequence[str] = ()
    death: tuple[str, Point] | None = None
    called: set[str] = field(default_factory=set)
    suffered: list[str] = field(default_factory=list)


class Faults:
    """The faults of one scenario."""

    def __init__(self) -> None:
        self.plan: Plan | None = None
        """What chance brings beside what is asked for."""
        self._orders: list[Order] = []
        self._twice: Counter[str] = Counter()
        self._tries: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._batch = _Batch()

    def ask(self, order: Order) -> None:
        """Have a fault strike as soon as it can."""
        self._orders.append(order)

    def ask_twice(self, kind: type[Event], times: int) -> None:
        """Have the next events of a type come twice."""
        self._twice[kind.__choreo_type__] += times

    @property
    def suffered(self) -> Sequence[str]:
        """What has struck in this batch, in words."""
        return self._batch.suffered

    def begin(self, service: str, records: Sequence[Record], now: datetime) -> None:
        """Begin with a batch."""
        ids = [identity(each) for each in records] or [f"timer {now.isoformat()}"]
        self._tries.update(f"{service} {each}" for each in ids)
        # Told by each record that is in it: the same one is struck where others are left out.
        places = [f"{service} {each} {self._tries[f'{service} {each}']}" for each in ids]
        self._batch = _Batch(service, places)
        if self.plan is not None:
            self._batch.death = self.plan.death(places)

    def commit(self) -> Blow | None:
        """Return what happens to the commit of this batch."""
        batch, plan = self._batch, self.plan
        order = self._ordered(
            lambda each: each.point not in {None, *AT_HANDLERS} and each.handler in {"", *batch.called}
        )
        if order is not None and order.point is not None:
            self._suffer(f"dies {order.point}")
            return Blow(order.point)
        if plan is None:
            return None
        if batch.death is not None:
            name, point = batch.death
            # No handler was called that it could have struck at.
            point = Point.BEFORE_COMMIT if point in AT_HANDLERS else point
            self._suffer(f"dies {point}", name)
            return Blow(point, plan.reached(name))
        trouble = plan.trouble(batch.places)
        if trouble is None:
            return None
        name, blow = trouble
        self._suffer("has its commit aborted" if blow.what is Trouble.ABORTED else "is not told of its commit", name)
        return blow

    def copy(self, outgoing: Outgoing, *, outside: bool) -> int | None:
        """Return how many deliveries later a record comes a second time; None where it does not."""
        kind = next((value for name, value in outgoing.headers if name == "ce_type"), b"").decode(errors="replace")
        if self._twice[kind]:
            self._twice[kind] -= 1
            return 0
        found = self.plan.copy(kind, outgoing, outside=outside) if self.plan is not None else None
        if found is None or self.plan is None:
            return None
        self.plan.strike(found[0], f"{kind} comes twice")
        return found[1]

    def delay(self, service: str, record: Record) -> timedelta | None:
        """Return for how long a service does not get what it would read next; None where nothing is late."""
        found = self.plan.delay(service, record) if self.plan is not None else None
        if found is None or self.plan is None:
            return None
        self.plan.strike(found[0], f"{record.topic} is late for {service} by {found[1]}")
        return found[1]

    def batch_max(self, service: str, record: Record) -> int:
        """Return how many records a service reads at once, this one first."""
        return self.plan.batch_max(service, record) if self.plan is not None else 1

    def disturbed(self, declaration: Declaration) -> Declaration:
        """Return a service whose handlers may be struck when they are called."""
        guarded = {each.guards for each in declaration.handlers if each.guards}
        handlers = [
            replace(each, function=self._wrapped(declaration.name, each, final=each.name not in guarded))
            for each in declaration.handlers
        ]
        return replace(declaration, handlers=tuple(handlers))

    def _wrapped(self, service: str, handler: Handler, *, final: bool) -> Callable[..., Any]:  # Any handler at all.
        function = self._answering(handler)

        def plain(*arguments: Any) -> Any:
            with self._around(service, handler, arguments, final=final):
                return function(*arguments)

        async def awaited(*arguments: Any) -> Any:
            with self._around(service, handler, arguments, final=final):
                return await function(*arguments)

        def yielding(*arguments: Any) -> Iterator[Any]:
            with self._around(service, handler, arguments, final=final):
                yield from function(*arguments)

        async def streaming(*arguments: Any) -> AsyncIterator[Any]:
            with self._around(service, handler, arguments, final=final):
                async for each in function(*arguments):
                    yield each

        if handler.generator:
            return streaming if handler.asynchronous else yielding
        return awaited if handler.asynchronous else plain

    def _answering(self, handler: Handler) -> Callable[..., Any]:
        """Return a handler's function, which is not called where a test said what it returns."""
        function = handler.function

        def plain(*arguments: Any) -> Any:
            answer = self._answer(handler)
            return function(*arguments) if answer is None else _returned(handler, answer)

        async def awaited(*arguments: Any) -> Any:
            answer = self._answer(handler)
            return await function(*arguments) if answer is None else _returned(handler, answer)

        def yielding(*arguments: Any) -> Iterator[Any]:
            answer = self._answer(handler)
            yield from function(*arguments) if answer is None else answer

        async def streaming(*arguments: Any) -> AsyncIterator[Any]:
            answer = self._answer(handler)
            for each in answer or ():
                yield each
            if answer is None:
                async for each in function(*arguments):
                    yield each

        if handler.generator:
            return streaming if handler.asynchronous else yielding
        return awaited if handler.asynchronous else plain

    def _answer(self, handler: Handler) -> tuple[Event, ...] | None:
        order = self._ordered(lambda each: each.answer is not None and each.handler == handler.name)
        return order.answer if order is not None else None

    @contextmanager
    def _around(self, service: str, handler: Handler, arguments: Sequence[object], *, final: bool) -> Iterator[None]:
        """Call a handler within this: it raises in place of it, or once it has run."""
        # Told apart where chance has a say alone: it takes a while.
        step = _step(service, handler, arguments) if self.plan is not None and self.plan.rates["fail"] else ""
        self._batch.called.add(handler.name)
        self._die(handler, Point.BEFORE_HANDLER)
        error, after = self._failure(handler, step, final=final) or (None, False)
        if error is not None and not after:
            self._failed[step] += 1
            raise error
        try:
            yield
        except Exception:
            self._failed[step] += 1
            raise
        self._die(handler, Point.AFTER_HANDLER)
        if error is not None:
            self._failed[step] += 1
            raise error

    def _die(self, handler: Handler, point: Point) -> None:
        """Raise where the process is to die at this handler."""
        order = self._ordered(lambda each: each.point is point and each.handler in {"", handler.name})
        death = self._batch.death
        if order is None and (death is None or death[1] is not point):
            return
        name = death[0] if order is None and death is not None else ""
        self._suffer(f"dies {point.value.replace('the handler', handler.name)}", name)
        raise Died

    def _failure(self, handler: Handler, step: str, *, final: bool) -> tuple[Exception, bool] | None:
        """Return what a handler is to raise, and whether it has run by then."""
        order = self._ordered(lambda each: each.error is not None and each.handler in {"", handler.name})
        if order is not None and order.error is not None:
            self._suffer(f"{handler.name} raises {type(order.error).__name__}{' when it has run' * order.after}")
            return order.error, order.after
        error = TransientFault(f"{handler.step} was made to fail")
        # A step is not to park because of chance: its last attempt is its own, unless something answers for it.
        spare = handler.retry.attempts - final if handler.retry.applies_to(error) or not final else 0
        if self.plan is None or self._failed[step] >= spare:
            return None
        found = self.plan.failure(step, self._failed[step])
        if found is None:
            return None
        name, after = found
        self._suffer(f"{handler.name} raises{' when it has run' * after}", name)
        return error, after

    def _ordered(self, matches: Callable[[Order], bool]) -> Order | None:
        """Return the first fault that was asked for and is to strike now."""
        service = self._batch.service
        order = next((each for each in self._orders if each.service == service and matches(each)), None)
        if order is not None:
            order.times -= 1
            if not order.times:
                self._orders.remove(order)
        return order

    def _suffer(self, told: str, name: str = "") -> None:
        self._batch.suffered.append(told)
        if name and self.plan is not None:
            self.plan.strike(name, f"{self._batch.service} {told}")


def _returned(handler: Handler, answer: tuple[Event, ...]) -> object:
    """Return these events as the handler's hint has them."""
    delayed = {kind for outcome in handler.outcomes for each in outcome if each.later for kind in each.types}
    given = [Later(each, after=LATER) if type(each) in delayed else each for each in answer]
    branches = [each for each in given if type(each) in handler.opens]
    if branches:
        return (branches, *(each for each in given if type(each) not in handler.opens))
    return tuple(given)


def _step(service: str, handler: Handler, arguments: Sequence[object]) -> str:
    """Return what tells a step from others of its handler: the events that it is given."""
    digest = blake2b(digest_size=8)
    for each in arguments:
        for event in each if isinstance(each, list) else [each]:
            if isinstance(event, Event):
                digest.update(event.model_dump_json().encode())
    return f"{service} {handler.name} {digest.hexdigest()}"
