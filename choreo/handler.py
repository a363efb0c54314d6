"""Handlers, resolved.

The records of one handler and of its parameters are defined here. `service` reads them off type hints, `step` decides
by them, and the runtime calls their functions.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from choreo.event import Event
from choreo.retry import Retry

EventTypes = frozenset[type[Event]]
NO_EVENTS: EventTypes = frozenset()


class Kind(StrEnum):
    """What a handler is for."""

    FORWARD = "forward"
    COMPENSATION = "compensation"
    DEADLINE = "deadline"
    OTHERWISE = "otherwise"


class Role(StrEnum):
    """What is passed for a parameter."""

    EVENT = "event"
    ORIGINAL = "original"
    CAUSE = "cause"
    CONTEXT = "context"
    STATE = "state"
    RESOURCE = "resource"
    BRANCHES = "branches"
    ERROR = "error"


EVENT_ROLES = frozenset({Role.EVENT, Role.CAUSE, Role.ORIGINAL, Role.BRANCHES})


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a handler."""

    name: str  # As it is written.
    role: Role  # What is passed for it.
    # Event types that it takes (any one of them); else the one type that it asks for. A resource may be of any type.
    types: tuple[type[Any], ...] = ()
    optional: bool = False  # It may be None.


class Emission(NamedTuple):
    """One thing that a handler may return."""

    types: tuple[type[Event], ...]  # The event's type; of a list, every type that an event in it may have.
    opens: bool = False  # It is a list, which opens branches.
    later: bool = False  # It is a `Later`.


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Handler:
    """One handler of one service, read from its type hints."""

    name: str  # Its identity within the service; the function's name unless `name=` says otherwise.
    service: str  # Name of the service.
    function: Callable[..., Any]  # As it was written; called with positional arguments. Anything a person decorates.
    kind: Kind = Kind.FORWARD  # What it is for.
    parameters: tuple[Parameter, ...] = ()  # In the order of the signature.
    emits: tuple[type[Event], ...] = ()  # Every event type that its return hint names, in that order.
    # What it may return, one of them each time; () for nothing. A generator may yield other subsets, too.
    outcomes: tuple[tuple[Emission, ...], ...] = ()
    unless: EventTypes = NO_EVENTS  # A forward step does not run where one of these came first.
    retry: Retry = field(default_factory=Retry)  # What happens when it raises.
    timeout_s: float | None = None  # Longest attempt, in seconds; None for no limit.
    thread: bool = False  # It blocks, and is called off the event loop.
    fan_out: bool = False  # It may return a list, which opens branches.
    opens: EventTypes = NO_EVENTS  # Events that its hint names within a list only: each of them begins a branch.
    later: bool = False  # It may return a `Later`.
    generator: bool = False  # It yields its events.
    asynchronous: bool = False  # What it returns is awaited, or iterated asynchronously.
    place: str = ""  # `file.py:line` of the function.
    guards: str = ""  # For `otherwise`: name of the handler that it stands for.
    # For a deadline: how long after the trigger, or a function of it that says so.
    within: timedelta | Callable[..., timedelta] | None = None
    awaits: EventTypes = NO_EVENTS  # For a deadline: the events that keep it from firing.
    after_abort: bool = False  # For a deadline: it outlives a failure.

    @property
    def step(self) -> str:
        """Return the name that stands in identities and headers: `service.handler`."""
        return f"{self.service}.{self.name}"

    @property
    def within_s(self) -> float | None:
        """Return the seconds of a deadline; None where a function of the trigger says how many."""
        return self.within.total_seconds() if isinstance(self.within, timedelta) else None

    @property
    def waits_for(self) -> tuple[EventTypes, ...]:
        """Return what each event parameter of a forward step takes, in signature order; () for compensations."""
        if self.kind is Kind.COMPENSATION:
            return ()
        return self._of(Role.EVENT, Role.BRANCHES)

    @property
    def causes(self) -> EventTypes:
        """Return what sets a compensation going."""
        return NO_EVENTS.union(*self._of(Role.CAUSE))

    @property
    def original(self) -> EventTypes:
        """Return what a compensation undoes."""
        return NO_EVENTS.union(*self._of(Role.ORIGINAL))

    @property
    def original_optional(self) -> bool:
        """Return whether a compensation also runs with None, where the outcome is unknown."""
        return any(each.optional for each in self.parameters if each.role is Role.ORIGINAL)

    @property
    def extras(self) -> tuple[EventTypes, ...]:
        """Return what each further event parameter of a compensation takes, in signature order."""
        return self._of(Role.EVENT) if self.kind is Kind.COMPENSATION else ()

    @property
    def gathers(self) -> int | None:
        """Return which of `waits_for` is one event from each branch; None where it gathers nothing."""
        taken = [each.role for each in self.parameters if each.role in {Role.EVENT, Role.BRANCHES}]
        return taken.index(Role.BRANCHES) if Role.BRANCHES in taken else None

    @property
    def fan_in(self) -> bool:
        """Return whether it gathers one event from each branch."""
        return self.gathers is not None

    @property
    def uses(self) -> tuple[str, ...]:
        """Return the names of the types that it is given resources of: its ways to the outside world."""
        return tuple(each.types[0].__name__ for each in self.parameters if each.role is Role.RESOURCE)

    def _of(self, *roles: Role) -> tuple[EventTypes, ...]:
        return tuple(frozenset(each.types) for each in self.parameters if each.role in roles)
