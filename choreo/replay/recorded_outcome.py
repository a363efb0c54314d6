"""Recorded outcomes, in place of handlers that must not run.

Which handlers are called, and what one that is not called is assumed to do, live here: a replay has no effect on the
world outside. What follows from an outcome is the core's business. `rerun` makes one `RecordedOutcome` a handler and
saga.
"""

import builtins
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from choreo.clock import EPOCH
from choreo.errors import HandlerFailed
from choreo.event import Event
from choreo.handler import Handler, Role
from choreo.memory import Memory
from choreo.replay.replayed_step import ReplayedStep, ReplayedSteps, StepKey, StepOutput
from choreo.runtime.invoker import AttemptFailed
from choreo.scope import fork
from choreo.service import Declaration, Later
from choreo.step import Branch, Emitted, Run

_EVENTS = frozenset({Role.EVENT, Role.CAUSE, Role.ORIGINAL, Role.BRANCHES})
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)


def not_called(
    declaration: Declaration, replaced: Collection[type], named: Collection[str], *, masked: bool
) -> dict[str, str]:
    """Return the handlers that are not to be called, and why.

    Args:
        declaration: The service.
        replaced: Resources that the caller replaces.
        named: Steps, `service.handler`, that are not to be called whatever they take.
        masked: Sensitive fields are not recorded.
    """
    found: dict[str, str] = {}
    for each in declaration.handlers:
        uses = [kind.__name__ for kind in _types(each, Role.RESOURCE) if kind not in replaced]
        hidden = [kind.__name__ for kind in _types(each, *_EVENTS) if masked and kind.__choreo_sensitive__]
        if uses:
            found[each.name] = f"it uses {', '.join(uses)}"
        elif each.step in named:
            found[each.name] = "it was named"
        elif hidden:
            found[each.name] = f"{', '.join(hidden)} has sensitive fields, which are not recorded"
    state = [each for each in declaration.handlers if [*_types(each, Role.STATE)]]
    if lost := next((each.name for each in state if each.name in found), ""):
        for each in state:
            found.setdefault(each.name, f"it shares a State with {lost}")
    return found


def _types(handler: Handler, *roles: Role) -> Iterator[type[Any]]:
    for each in handler.parameters:
        if each.role in roles:
            yield from each.types


@dataclass(slots=True, kw_only=True)
class RecordedOutcome:
    """Replaces one handler: gives what was recorded of it, failures first.

    Attributes:
        gone: Handlers that are recorded and that today's code lacks: one of them may be this one's former name.
        now: The recorded clock.
        unknown: Gets the steps of which nothing is recorded, with the handler of each.
    """

    handler: Handler
    steps: ReplayedSteps
    gone: Collection[str]
    now: Callable[[], datetime]
    unknown: dict[StepKey, str]
    _failed: dict[StepKey, int] = field(init=False, default_factory=dict)

    async def __call__(self, memory: Memory, run: Run) -> Emitted:  # noqa: ARG002 - as a handler is called.
        """Return what the step emitted.

        Raises:
            AttemptFailed: As it did then.
        """
        key = run.key
        step = self.steps.get(key) or self._renamed(key)
        otherwise = bool(run.handler.guards)
        failures = [each for each in step.failures if each.otherwise is otherwise] if step is not None else []
        ran = step is not None and step.ran and step.given_up is otherwise
        attempt = self._failed.get(key, 0)
        if failures and (attempt < len(failures) or not ran):
            self._failed[key] = attempt + 1
            # One that never succeeded is taken to fail for ever.
            failure = failures[min(attempt, len(failures) - 1)]
            # It gave up early then: nothing else would have helped.
            final = failure.spent and run.attempt < self.handler.retry.attempts
            raise AttemptFailed(_error(failure.error, self.handler), final=final)
        if step is None or not ran or any(each.event is None for each in step.outputs.values()):
            self.unknown[key] = self.handler.name
            return ()
        return self._emitted(run.key[1], step.outputs)

    def _renamed(self, key: StepKey) -> ReplayedStep | None:
        """Return the step for the same trigger of a handler that is gone and emitted events of these types."""
        emits = {each.__choreo_type__ for each in self.handler.emits}
        for name in self.gone:
            step = self.steps.get((name, *key[1:]))
            if step is not None and {each.seen.type for each in step.outputs.values()} <= emits:
                return step
        return None

    def _emitted(self, branch: str, outputs: Mapping[int, StepOutput]) -> Emitted:
        """Return what it returned; what was dropped or cancelled then is delayed for ever, to keep its index."""
        emitted: list[Event | Later[Event] | Branch] = []
        for index in range(max(outputs, default=-1) + 1):
            output = outputs.get(index)
            event = (output or next(iter(outputs.values()))).event
            assert event is not None
            if output is None:
                emitted.append(Later(event, at=_NEVER))
                continue
            opened = fork(output.seen.branch) if output.seen.branch != branch else None
            if opened is not None and opened.outer == branch:
                emitted.append(Branch(event, opened.path, opened.of))
            elif self.handler.later and (at := EPOCH + timedelta(milliseconds=output.seen.at_us // 1000)) > self.now():
                # Rounded down to what timers count in: it is due no later than it came.
                emitted.append(Later(event, at=at))
            else:
                emitted.append(event)
        return emitted


def _error(text: str, handler: Handler) -> Exception:
    """Return the exception that `Kind: message` names, as far as today's code knows it: the policy is to judge it."""
    name, _, message = text.partition(": ")
    named = [each for each in (*handler.retry.never, *handler.retry.on) if each.__name__ == name]
    kind = next(iter(named), getattr(builtins, name, None))
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(message)
        except TypeError:
            pass  # It wants more than a message.
    return HandlerFailed(text, service=handler.service)
