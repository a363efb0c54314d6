"""What goes wrong with the services of a scenario, and when.

The faults that a test asked for, and the moments at which those and a plan's strike, live here; which ones a seed
brings does not (`fault_plan`), nor what becomes of a service that is struck (`simulated_service`). Services ask at
every step of an event's way, and call handlers through this.
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
from choreo.testing.fault_plan import AT_HANDLERS, FaultPlan, Interruption, Point, identity
from choreo.testing.history import header
from choreo.testing.memory_transport import CommitTrouble
from choreo.transport import Outgoing, Record

LATER = timedelta(days=1)
"""How long an event is put off that a test lets a handler return in a `Later`."""


class TransientFault(Exception):
    """What a handler is made to raise that has done nothing wrong: its next attempt may succeed."""


class ProcessDied(BaseException):
    """The process is dead: nothing in it goes on, and no handler catches it."""


@dataclass(slots=True)
class RequestedFault:
    """A fault, or an answer in place of a handler's own, that a test asked for.

    Attributes:
        service: Whom it strikes.
        handler: At which handler's call, or in a batch that it was called in; "" for any.
        times: How often it is still to strike.
        point: Where the process dies; None where the handler raises.
        error: What the handler raises.
        after: It raises when it has run.
        answer: What the handler returns, without being called.
    """

    service: str
    handler: str
    times: int = 1
    point: Point | None = None
    error: Exception | None = None
    after: bool = False
    answer: tuple[Event, ...] | None = None


@dataclass(slots=True)
class _CurrentBatch:
    """What a service is doing, as far as faults depend on it."""

    service: str = ""
    places: Sequence[str] = ()
    death: tuple[str, Point | None] = ("", None)
    called: set[str] = field(default_factory=set)
    suffered: list[str] = field(default_factory=list)


class FaultInjection:
    """The faults of one scenario: what a test asks for, and what a plan brings beside it."""

    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan
        self.requested: list[RequestedFault] = []
        """What a test asked for and is still to strike: each as soon as it can."""
        self.twice: Counter[str] = Counter()
        """How many events of a type, by its name, are still to come twice because a test asked for it."""
        self._tries: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._batch = _CurrentBatch()

    @property
    def suffered(self) -> Sequence[str]:
        """What has struck in this batch, in words."""
        return self._batch.suffered

    def begin(self, service: str, records: Sequence[Record], now: datetime) -> None:
        """Begin with a batch."""
        ids = [identity(record) for record in records] or [f"timer {now.isoformat()}"]
        self._tries.update(f"{service} {each}" for each in ids)
        # Named by each record in the batch: the same one is struck where others are left out.
        places = [f"{service} {each} {self._tries[f'{service} {each}']}" for each in ids]
        self._batch = _CurrentBatch(service, places, self.plan.death(places) or ("", None))

    def commit(self) -> Interruption | None:
        """Return what happens to the commit of this batch."""
        batch = self._batch
        fault = self._take(lambda each: each.point not in {None, *AT_HANDLERS} and each.handler in {"", *batch.called})
        if fault is not None and fault.point is not None:
            self._suffer(f"dies {fault.point}")
            return Interruption(fault.point)
        name, point = batch.death
        if point is not None:
            # No handler was called that it could have struck at.
            point = Point.BEFORE_COMMIT if point in AT_HANDLERS else point
            self._suffer(f"dies {point}", name)
            return Interruption(point, self.plan.reached(name))
        if (trouble := self.plan.trouble(batch.places)) is None:
            return None
        name, interruption = trouble
        aborted = interruption.cause is CommitTrouble.ABORTED
        self._suffer("has its commit aborted" if aborted else "is not told of its commit", name)
        return interruption

    def copy(self, outgoing: Outgoing, *, outside: bool) -> int | None:
        """Return how many deliveries later a record comes a second time; None where it does not."""
        type_name = header(outgoing, "ce_type")
        if self.twice[type_name]:
            self.twice[type_name] -= 1
            return 0
        return self.plan.copy(outgoing, outside=outside)

    def disturbed(self, declaration: Declaration) -> Declaration:
        """Return a service whose handlers may be struck when they are called."""
        guarded = {handler.guards for handler in declaration.handlers if handler.guards}
        handlers = [
            replace(handler, function=self._wrapped(declaration.name, handler, final=handler.name not in guarded))
            for handler in declaration.handlers
        ]
        return replace(declaration, handlers=tuple(handlers))

    def _wrapped(self, service: str, handler: Handler, *, final: bool) -> Callable[..., Any]:  # Any handler at all.
        """Return a function that is struck, or answers, where that was asked for, and is the handler's otherwise."""
        function = handler.function

        def plain(*arguments: Any) -> Any:
            with self._struck(service, handler, arguments, final=final) as answer:
                returned = function(*arguments) if answer is None else answer
                return list(returned) if handler.generator else returned

        async def awaited(*arguments: Any) -> Any:
            with self._struck(service, handler, arguments, final=final) as answer:
                return await function(*arguments) if answer is None else answer

        async def streaming(*arguments: Any) -> AsyncIterator[Any]:
            with self._struck(service, handler, arguments, final=final) as answer:
                for event in answer or ():
                    yield event
                if answer is None:
                    async for event in function(*arguments):
                        yield event

        if not handler.asynchronous:
            return plain
        return streaming if handler.generator else awaited

    @contextmanager
    def _struck(
        self, service: str, handler: Handler, arguments: Sequence[object], *, final: bool
    ) -> Iterator[tuple[Any, ...] | None]:
        """Call a handler within this, or return the answer that it gives: it raises before that, or after it."""
        # Named only where a plan may fail it, for naming a step takes a while.
        step = _step(service, handler, arguments) if self.plan.rates["fail"] else ""
        self._batch.called.add(handler.name)
        self._die(handler, Point.BEFORE_HANDLER)
        error, after = self._failure(handler, step, final=final) or (None, False)
        try:
            if error is not None and not after:
                raise error  # noqa: TRY301 - it counts as what the handler raises does.
            fault = self._take(lambda each: each.answer is not None and each.handler == handler.name)
            yield _returned(handler, fault.answer) if fault is not None and fault.answer is not None else None
            self._die(handler, Point.AFTER_HANDLER)
            if error is not None:
                raise error  # noqa: TRY301
        except Exception:
            self._failed[step] += 1
            raise

    def _die(self, handler: Handler, point: Point) -> None:
        """Raise where the process is to die at this handler."""
        fault = self._take(lambda each: each.point is point and each.handler in {"", handler.name})
        name, planned = self._batch.death if fault is None else ("", point)
        if planned is point:
            self._suffer(f"dies {point.value.replace('the handler', handler.name)}", name)
            raise ProcessDied

    def _failure(self, handler: Handler, step: str, *, final: bool) -> tuple[Exception, bool] | None:
        """Return what a handler is to raise, and whether it has run by then."""
        fault = self._take(lambda each: each.error is not None and each.handler in {"", handler.name})
        if fault is not None and fault.error is not None:
            self._suffer(f"{handler.name} raises {type(fault.error).__name__}{' when it has run' * fault.after}")
            return fault.error, fault.after
        error = TransientFault(f"{handler.step} was made to fail")
        # A plan never parks a step: it leaves its last attempt alone, unless an `otherwise` answers for it.
        spare = handler.retry.attempts - final if handler.retry.applies_to(error) or not final else 0
        if self._failed[step] >= spare:
            return None
        if (drawn := self.plan.failure(step, self._failed[step])) is None:
            return None
        name, after = drawn
        self._suffer(f"{handler.name} raises{' when it has run' * after}", name)
        return error, after

    def _take(self, matches: Callable[[RequestedFault], bool]) -> RequestedFault | None:
        """Return the first fault that was asked for and strikes now."""
        service = self._batch.service
        fault = next((each for each in self.requested if each.service == service and matches(each)), None)
        if fault is not None:
            fault.times -= 1
            if not fault.times:
                self.requested.remove(fault)
        return fault

    def _suffer(self, words: str, name: str = "") -> None:
        self._batch.suffered.append(words)
        if name:
            self.plan.struck[name] = f"{self._batch.service} {words}"


def _returned(handler: Handler, answer: tuple[Event, ...]) -> tuple[Any, ...]:
    """Return these events as the handler's hint has them."""
    if handler.generator:
        return answer
    delayed = {kind for outcome in handler.outcomes for each in outcome if each.later for kind in each.types}
    given = [Later(event, after=LATER) if type(event) in delayed else event for event in answer]
    branches = [event for event in given if type(event) in handler.opens]
    if branches:
        return (branches, *(event for event in given if type(event) not in handler.opens))
    return tuple(given)


def _step(service: str, handler: Handler, arguments: Sequence[object]) -> str:
    """Return what tells a step from others of its handler: the events that it is given."""
    digest = blake2b(digest_size=8)
    for argument in arguments:
        for event in argument if isinstance(argument, list) else [argument]:
            if isinstance(event, Event):
                digest.update(event.model_dump_json().encode())
    return f"{service} {handler.name} {digest.hexdigest()}"
