"""Calling one handler once: its arguments, its time limit, its result.

How a call becomes Python arguments, where it runs and how what it returns becomes a list of events live here; which
calls are made does not, nor what a failed one comes to (`step`). The engine makes one `Invoker` a handler, and the
`SagaProcessor` awaits it for every `Run`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from contextvars import copy_context
from datetime import datetime
from typing import Any, cast

from choreo.errors import HandlerFailed
from choreo.event import Envelope, Event
from choreo.handler import Handler, Role
from choreo.memory import Memory
from choreo.runtime.resources import Resources
from choreo.scope import step_key
from choreo.service import Context, Later, State
from choreo.step import Argument, Branch, Emitted, Rules, Run
from choreo.step.settlement import PATH_STEPS_MAX

_EVENTS = frozenset({Role.EVENT, Role.CAUSE, Role.ORIGINAL})
_GIVEN = _EVENTS | {Role.BRANCHES}
_log = logging.getLogger("choreo")


class AttemptFailed(Exception):
    """A handler did not come to a result that counts.

    Args:
        error: What it raised, or what is wrong with what it returned.
        final: Another attempt would end likewise.
    """

    def __init__(self, error: Exception, *, final: bool = False) -> None:
        self.error = error
        self.final = final
        super().__init__(str(error))


class Invoker:
    """One handler, ready to be called.

    Args:
        rules: The service, compiled.
        handler: The handler.
        resources: What it may ask for; open.
        now: The clock.
        threads: Where it runs if it blocks.
    """

    def __init__(
        self, rules: Rules, handler: Handler, resources: Resources, now: Callable[[], datetime], threads: Executor
    ) -> None:
        self._service = rules.service
        self._handler = handler
        self._resources = resources
        self._now = now
        self._threads = threads
        roles = {each.role for each in handler.parameters}
        special = handler.generator or handler.thread or handler.timeout_s is not None or handler.guards
        self._plain = roles <= _EVENTS and not special
        self._state_type = next((each.types[0] for each in handler.parameters if each.role is Role.STATE), None)
        wanted = [each.types[0] for each in handler.parameters if each.role is Role.RESOURCE]
        self._per_step = any(resources.lives_a_step(kind) for kind in wanted)
        self._emits = rules.emits[handler.name]
        self._step = f"{rules.service}.{handler.name}"
        # An `otherwise` takes some of the events of its step, by their types.
        given = [each for each in rules.handlers.get(handler.guards, handler).parameters if each.role in _GIVEN]
        by_type = {kind: place for place, each in enumerate(given) for kind in each.types if handler.guards}
        by_name = {each.name: place for place, each in enumerate(given)}
        self._places = {
            each.name: by_type[each.types[0]] if handler.guards else by_name[each.name]
            for each in handler.parameters
            if each.role in _GIVEN
        }

    async def __call__(self, memory: Memory, run: Run) -> Emitted:
        """Return what the handler emitted.

        Raises:
            AttemptFailed: If it raised, took too long or returned what makes no sense.
        """
        try:
            if self._plain:
                # The common case, kept short: events in, one value out.
                returned = self._handler.function(*[None if each is None else each.event for each in run.events])  # type: ignore[union-attr]
                if self._handler.asynchronous:
                    returned = await returned
                if type(returned) in self._emits and not self._handler.fan_out:
                    return (returned,)
                return self._listed(returned)
            return await self._attempt(memory, run)
        except AttemptFailed:
            raise
        except Exception as error:
            raise self._failed(run, error) from error
        except SystemExit as error:
            # A handler does not end the process, and would try to again.
            text = f"{self._step} raised SystemExit({error.code!r})"
            raise self._failed(run, HandlerFailed(text, service=self._service), final=True) from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # The batch itself is given up.
            text = f"{self._step} was cancelled from within"
            raise self._failed(run, HandlerFailed(text, service=self._service)) from error

    def _failed(self, run: Run, error: Exception, *, final: bool = False) -> AttemptFailed:
        _log.warning("%s failed on attempt %d for saga %s: %r", self._step, run.attempt, run.ready.saga_id, error)
        return AttemptFailed(error, final=final)

    async def _attempt(self, memory: Memory, run: Run) -> Emitted:
        async with AsyncExitStack() as stack:
            own = await self._resources.for_step(stack) if self._per_step else None
            state = self._state(memory)
            arguments = self._arguments(run, own, state)
            try:
                async with asyncio.timeout(self._handler.timeout_s) as limit:
                    emitted = await self._result(arguments)
            except TimeoutError as error:
                if not limit.expired():
                    raise
                text = f"{self._step} took longer than timeout_s={self._handler.timeout_s:g}"
                raise TimeoutError(text) from error
        if state is not None:
            memory.state = state.model_dump_json().encode()
        return emitted

    async def _result(self, arguments: list[object]) -> Emitted:
        handler = self._handler
        if handler.thread:

            def blocking() -> Emitted:
                returned = handler.function(*arguments)
                return self._flat(list(returned)) if handler.generator else self._listed(returned)

            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, copy_context().run, blocking)
        returned = handler.function(*arguments)
        if handler.generator:
            if handler.asynchronous:
                return self._flat([event async for event in cast("AsyncIterator[Event]", returned)])
            return self._flat(list(cast("Iterator[Event]", returned)))
        return self._listed(await returned if handler.asynchronous else returned)

    def _arguments(self, run: Run, own: dict[type, Any] | None, state: State | None) -> list[object]:
        arguments: list[object] = []
        for parameter in self._handler.parameters:
            if parameter.role in _GIVEN:
                arguments.append(_event_of(run.events[self._places[parameter.name]]))
            elif parameter.role is Role.CONTEXT:
                arguments.append(self._context(run))
            elif parameter.role is Role.STATE:
                arguments.append(state)
            elif parameter.role is Role.ERROR:
                arguments.append(run.failure)
            else:
                kind = parameter.types[0]
                arguments.append(self._resources.get(kind) if own is None else own[kind])
        return arguments

    def _context(self, run: Run) -> Context:
        ready = run.ready
        name, branch, trigger = run.key
        step = f"{self._service}.{name}"
        path = tuple(dict.fromkeys(taken for each in run.causes for taken in each.path))
        return Context(
            saga_id=ready.saga_id,
            saga_type=ready.saga_type,
            business_key=ready.business_key,
            step=step,
            causes=run.causes,
            hop=ready.hop,
            branch=branch,
            completed_steps=path[-PATH_STEPS_MAX:],
            idempotency_key=step_key(ready.saga_id, step, branch, trigger),
            undoes_key=run.undoes_key,
            attempt=run.attempt,
            now=self._now(),
            log=logging.LoggerAdapter(_log, {"saga_id": ready.saga_id, "step": self._step}),
        )

    def _state(self, memory: Memory) -> State | None:
        if self._state_type is None:
            return None
        kind = cast("type[State]", self._state_type)
        return kind.model_validate_json(memory.state) if memory.state else kind()

    def _listed(self, returned: object) -> Emitted:
        """Return what a handler returned as a list of what it emits."""
        if returned is None:
            return ()
        if isinstance(returned, tuple):
            return self._flat([each for each in returned if each is not None])
        return self._flat([returned])

    def _flat(self, returned: list[object]) -> Emitted:
        emitted: list[Event | Later[Event] | Branch] = []
        for each in returned:
            if isinstance(each, Event | Later):
                if type(each) in self._handler.opens:
                    name = type(each).__name__
                    raise self._unusable(f"a {name} outside a list, and its hint says list[{name}]: return [{name}(…)]")
                emitted.append(each)
            elif isinstance(each, list) and self._handler.fan_out:
                emitted += self._branches(each, opened=any(isinstance(one, Branch) for one in emitted))
            else:
                raise self._unusable(f"a {type(each).__name__}; return an event, a tuple of events or None")
        return emitted

    def _branches(self, events: list[object], *, opened: bool) -> list[Branch]:
        if not events:
            raise self._unusable(
                "an empty list, which opens no branch, so that what gathers them would wait for ever; return None, or "
                "an event that says that there is nothing to do"
            )
        if opened:
            raise self._unusable("two lists; one step opens one set of branches")
        if strange := next((each for each in events if not isinstance(each, Event)), None):
            raise self._unusable(f"a list with a {type(strange).__name__} in it; each branch begins with an event")
        return [Branch(cast("Event", each), index, len(events)) for index, each in enumerate(events)]

    def _unusable(self, what: str) -> AttemptFailed:
        """Return the refusal of what no further attempt would mend."""
        return AttemptFailed(HandlerFailed(f"{self._step} returned {what}", service=self._service), final=True)


def _event_of(argument: Argument) -> object:
    if argument is None:
        return None
    return argument.event if isinstance(argument, Envelope) else [each.event for each in argument]
