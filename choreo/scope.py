"""Where an event counts, and who it and its step are.

Branches, the scope of an event (R7, R12), the identity of a step and the name of its emitter (R2) live here; what is
done about an event does not, nor is any memory touched. `step`, the tracker and all who read records ask here. A branch
is the text that a fan-out gives to each of its paths, nested by `/`; the root is "".
"""

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple, Protocol, TypeVar

from choreo.event import emitted_id

KEY_CHARS = 8  # How much of a fan-out step's idempotency key stands in the names of its branches.
_INNERMOST = re.compile(r"(.*)/([0-9a-f]{8}):(\d{1,9})\.(\d{1,9})", re.DOTALL)
_SOURCE = re.compile(r"/([^/]*)/([^/]*)")


class Scoped(Protocol):
    """An event in any form: an envelope, what a memory keeps of it, or a row of the tracker's store."""

    @property
    def type(self) -> str:
        """Avro full name."""

    @property
    def branch(self) -> str:
        """The branch it is in."""

    @property
    def compensates_id(self) -> str:
        """The original that it undoes, "" where it undoes none."""


_Scoped = TypeVar("_Scoped", bound=Scoped)


class Fork(NamedTuple):
    """Where a branch comes from."""

    outer: str  # The branch that the fan-out ran in.
    key: str  # The beginning of the fan-out step's idempotency key.
    path: int  # Which of its paths, from 0.
    of: int  # How many there are.


def covers(outer: str, inner: str) -> bool:
    """Return whether something in branch `outer` counts in branch `inner`: in itself and in every branch inside it."""
    return not outer or outer == inner or inner.startswith(outer + "/")


def related(one: str, other: str) -> bool:
    """Return whether one branch lies inside the other, in either direction: the reach of a compensation's event."""
    return covers(one, other) or covers(other, one)


def reaches(event: Scoped, branch: str, failures: Collection[str]) -> bool:
    """Return whether an event counts in a branch (R7): one of the failures, which abort a saga, does in all of them."""
    if event.type in failures:
        return True
    return related(event.branch, branch) if event.compensates_id else covers(event.branch, branch)


def opened(outer: str, key: str, path: int, of: int) -> str:
    """Return the branch of one path of a fan-out: what `Fork` says, of the step's whole idempotency key."""
    return f"{outer}/{key[:KEY_CHARS]}:{path}.{of}"


def fork(branch: str) -> Fork | None:
    """Return where the innermost fan-out of a branch is; None at the root, and for what no fan-out has named."""
    found = _INNERMOST.fullmatch(branch)
    if found is None:
        return None
    path, of = int(found[3]), int(found[4])
    return Fork(found[1], found[2], path, of) if path < of else None


def by_fan_out(events: Iterable[_Scoped], types: Collection[str]) -> dict[Fork, dict[int, _Scoped]]:
    """Return what fan-ins of these types have to gather: by fan-out (the fork of its path 0), an event by path.

    It is the first one of each path, in the order in which the events are given.
    """
    gathered: dict[Fork, dict[int, _Scoped]] = {}
    for event in events:
        opened_by = fork(event.branch) if event.type in types else None
        if opened_by is not None:
            gathered.setdefault(opened_by._replace(path=0), {}).setdefault(opened_by.path, event)
    return gathered


def step_key(saga_id: str, step: str, branch: str, trigger: str) -> str:
    """Return the idempotency key of a step, `service.handler` (WIRE: the event_id formula with index `effect`).

    Beside handler and branch, the trigger makes it this step (R2): the id of the event it answers; "" of a join;
    `fan_in_trigger` of a fan-in; of a compensation the id of the event that it undoes or, with `None`, the idempotency
    key of the step.
    """
    return emitted_id(saga_id, step, branch, trigger, "effect")


def fan_in_trigger(branch: str, gathers: Collection[str], causes: Iterable[Scoped]) -> str:
    """Return the trigger of a fan-in that ran in a branch: the key of the fan-out that it gathers.

    One of the causes says it, as far as they are known, of a type that it gathers from each path; "" where none does.
    """
    forks = (fork(cause.branch) for cause in causes if cause.type in gathers)
    return next((found.key for found in forks if found is not None and found.outer == branch), "")


def source_of(service: str, handler: str) -> str:
    """Return what the events of a handler name as their `ce_source`."""
    return f"/{service}/{handler}"


def emitter(source: str) -> tuple[str, str]:
    """Return the service and handler that a `ce_source` names; ("", "") where it names none."""
    found = _SOURCE.fullmatch(source)
    return (found[1], found[2]) if found is not None else ("", "")
