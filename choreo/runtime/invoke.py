"""Calling one handler: its arguments, its attempts, its result.

How a call becomes Python arguments, how often it is tried and how what it returns becomes a list of events live
here; which calls are made does not. The engine makes one `Invoker` a handler and awaits it for every call that
`plan` allows.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any, cast

from choreo.errors import HandlerFailed, RetriesExhausted
from choreo.event import Event
from choreo.handler import Handler, Role
from choreo.memory import Memory
from choreo.runtime.resources import Resources
from choreo.service import Context, State
from choreo.step import Call
from choreo.step.plan import step_key
from choreo.step.reactions import Rules

Sleep = Callable[[float], Awaitable[None]]
_EVENTS = frozenset({Role.EVENT, Role.CAUSE, Role.ORIGINAL})
_log = logging.getLogger("choreo")


class Invoker:
    """One handler, ready to be called.

    Args:
        rules: The service, compiled.
        handler: The handler.
        resources: What it may ask for; open.
        sleep: Waits between attempts; virtual under test.
        now: The clock.
    """

    def __init__(
        self, rules: Rules, handler: Handler, resources: Resources, sleep: Sleep, now: Callable[[], datetime]
    ) -> None:
        self._rules = rules
        self._handler = handler
        self._resources = resources
        self._sleep = sleep
        self._now = now
        roles = [parameter.role for parameter in handler.parameters]
        wanted = [parameter.types[0] for parameter in handler.parameters if parameter.role is Role.RESOURCE]
        self._plain = all(role in _EVENTS for role in roles) and not handler.generator
        self._state_type = next(
            (parameter.types[0] for parameter in handler.parameters if parameter.role is Role.STATE), None
        )
        self._per_step = any(resources.lives_a_step(kind) for kind in wanted)
        self._step = f"{rules.service}.{handler.name}"

    async def __call__(self, memory: Memory, call: Call) -> Sequence[Event]:
        """Return what the handler emitted, trying again in place as its policy says.

        Raises:
            RetriesExhausted: If the last attempt failed; the step is to be parked.
        """
        attempt = 1
        while True:
            try:
                if not self._plain:
                    return await self._attempt(memory, call, attempt)
                # The common case, kept short: events in, one value out.
                returned = self._handler.function(*[None if each is None else each.event for each in call.events])
                return self._listed(await returned if self._handler.asynchronous else returned)
            except (Exception, SystemExit) as error:
                delay = self._delay(call, attempt, error)
                if delay is None:
                    raise RetriesExhausted(
                        f"{self._step} raised {type(error).__name__} on attempt {attempt}: {error}",
                        service=self._rules.service,
                        saga_id=call.ready.saga_id,
                        event_id=call.ready.event_id,
                    ) from error
                _log.warning(
                    "%s failed on attempt %d for saga %s, again in %.3f s: %r",
                    self._step,
                    attempt,
                    call.ready.saga_id,
                    delay,
                    error,
                )
                await self._sleep(delay)
                attempt += 1

    def _delay(self, call: Call, attempt: int, error: BaseException) -> float | None:
        retry = self._handler.retry
        if not isinstance(error, Exception) or not retry.applies_to(error):
            return None
        return retry.delay_after(attempt, f"{call.ready.saga_id}:{call.trigger}")

    async def _attempt(self, memory: Memory, call: Call, attempt: int) -> Sequence[Event]:
        async with AsyncExitStack() as stack:
            found = await self._resources.for_step(stack) if self._per_step else None
            state = self._state(memory)
            arguments = self._arguments(call, attempt, found, state)
            emitted = await self._result(self._handler.function(*arguments))
        if state is not None:
            memory.state = state.model_dump_json().encode()
        return emitted

    def _arguments(self, call: Call, attempt: int, found: dict[type, Any] | None, state: State | None) -> list[object]:
        events = iter(call.events)
        arguments: list[object] = []
        for parameter in self._handler.parameters:
            if parameter.role in _EVENTS:
                envelope = next(events)
                arguments.append(None if envelope is None else envelope.event)
            elif parameter.role is Role.CONTEXT:
                arguments.append(self._context(call, attempt))
            elif parameter.role is Role.STATE:
                arguments.append(state)
            else:
                kind = parameter.types[0]
                arguments.append(self._resources.get(kind) if found is None else found[kind])
        return arguments

    def _context(self, call: Call, attempt: int) -> Context:
        ready = call.ready
        key = step_key(self._rules, ready.saga_id, self._handler.name, call.branch, call.trigger)
        path = tuple(dict.fromkeys(step for each in call.causes for step in each.path))
        return Context(
            saga_id=ready.saga_id,
            saga_type=ready.saga_type,
            business_key=ready.business_key,
            step=self._step,
            causes=call.causes,
            hop=ready.hop,
            branch=call.branch,
            completed_steps=path[-32:],
            idempotency_key=key,
            undoes_key=call.undoes_key,
            attempt=attempt,
            now=self._now(),
            log=logging.LoggerAdapter(_log, {"saga_id": ready.saga_id, "step": self._step}),
        )

    def _state(self, memory: Memory) -> State | None:
        if self._state_type is None:
            return None
        kind = cast("type[State]", self._state_type)
        return kind.model_validate_json(memory.state) if memory.state else kind()

    async def _result(self, returned: Any) -> Sequence[Event]:  # Whatever a handler returns, before it is checked.
        if self._handler.generator:
            if self._handler.asynchronous:
                return [event async for event in cast("AsyncIterator[Event]", returned)]
            return list(cast("Iterator[Event]", returned))
        return self._listed(await returned if self._handler.asynchronous else returned)

    def _listed(self, returned: object) -> Sequence[Event]:
        """Return what a handler returned as a list of events."""
        if returned is None:
            return ()
        if isinstance(returned, Event):
            return (returned,)
        if isinstance(returned, tuple):
            return [event for event in returned if event is not None]
        raise HandlerFailed(
            f"{self._step} returned a {type(returned).__name__}; return an event, a tuple of events or None",
            service=self._rules.service,
        )
