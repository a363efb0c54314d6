"""What a service did then and what today's code would do, held against each other.

Every kind of difference, with its words for people, is found here from the steps of both; where the steps come from
does not matter here (`steps`). `guard` asks for each service and saga, and for each order that things may have come in.
Pure.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

from choreo.event import short
from choreo.replay.fields import FieldChange, changes
from choreo.replay.recording import RecordedSaga
from choreo.replay.steps import Fate, Output, Step, StepKey


class Change(StrEnum):
    """How today's code differs from what is recorded.

    `gone`: a step does not run any more. `anew`: a step runs that did not. `skipped`, `parked`, `retrying`: a step that
    ran is skipped, parked or tried again without end. `emits`: other event types. `body`: the same event with another
    body. `undoing`: undone for another cause, or in another order. `renamed`: a handler lost its identity.
    `unreadable`: an event, or a whole saga, that today's code cannot read.
    """

    GONE = "gone"
    ANEW = "anew"
    SKIPPED = "skipped"
    PARKED = "parked"
    RETRYING = "retrying"
    EMITS = "emits"
    BODY = "body"
    UNDOING = "undoing"
    RENAMED = "renamed"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that today's code would do otherwise.

    Attributes:
        service: Whose code; "" where the whole saga is meant.
        handler: Which handler's step; "" where no step is meant.
        branch: The step's branch, "" at the root.
        change: How it differs.
        text: The whole of it, for people.
        fix: What to type where that is known, else "".
        event_id: The event meant, "" where it is a step that is meant.
        fields: Of `body`: the fields that differ.
        about: Events that the step ran for, then and now; ids.
    """

    saga_id: str
    saga_type: str
    business_key: str
    service: str = ""
    handler: str = ""
    branch: str = ""
    change: Change
    text: str
    fix: str = ""
    event_id: str = ""
    fields: tuple[FieldChange, ...] = ()
    about: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return it on one line, with its saga."""
        told = "; ".join([self.text, *map(str, self.fields), *([self.fix] if self.fix else [])])
        return f"{self.saga_type or 'saga'} {self.business_key or self.saga_id}: {told}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """One service's steps in one saga, then and now.

    Attributes:
        handlers: Those that today's code has.
        compensations: Those of them that undo something.
        types: Type of every event of the saga, by id.
        unknown: Steps whose outcome nobody knows, and the handler of each that is not called.
        uncalled: Handlers that are not called, and why.
        due: Steps that had something left to do at the end, and when.
    """

    saga: RecordedSaga
    service: str
    then: Mapping[StepKey, Step]
    now: Mapping[StepKey, Step]
    handlers: Collection[str]
    compensations: Collection[str]
    types: Mapping[str, str]
    unknown: Mapping[StepKey, str]
    uncalled: Mapping[str, str]
    due: Mapping[StepKey, str]


def differences(sides: Sides) -> list[Difference]:
    """Return all that today's code would do otherwise, in the order of what is recorded."""
    renamed = list(_renamed(sides))
    if renamed:
        # All ids that follow are other ones, too: what else differs can be told once it is mended.
        return renamed
    found: list[Difference] = []
    for key in dict.fromkeys([*sides.then, *sides.now]):
        then, now = sides.then.get(key), sides.now.get(key)
        if then is not None and then.fate is Fate.RAN:
            found += _ran(sides, then, now)
        elif now is not None and now.fate is Fate.RAN:
            found.append(_anew(sides, then, now))
        elif now is not None and now.fate is Fate.PARKED and (then is None or then.fate is Fate.SKIPPED):
            found.append(_parked(sides, then, now))
    return found + list(_reordered(sides))


def _ran(sides: Sides, then: Step, now: Step | None) -> Iterator[Difference]:
    """Yield what has become of a step that ran."""
    did = f"{_step(sides, then)} ran then{_for(sides, then)} and emitted {_emitted(then)}"
    if now is None:
        yield _difference(sides, then, Change.GONE, f"{did}; it does not run any more{_due(sides, then)}", now)
    elif now.fate is Fate.SKIPPED:
        yield _difference(sides, then, Change.SKIPPED, f"{did}; it is skipped now: {now.why}", now)
    elif now.fate is Fate.PARKED:
        yield _difference(sides, then, Change.PARKED, f"{did}; it is parked now: {now.why}", now)
    elif now.fate is Fate.RETRYING:
        yield _difference(sides, then, Change.RETRYING, f"{did}; it still fails now: {now.why}{_due(sides, then)}", now)
    else:
        yield from _emissions(sides, then, now)


def _before(then: Step | None) -> str:
    return "then it did not run" if then is None else f"then it was {then.fate}: {then.why}"


def _parked(sides: Sides, then: Step | None, now: Step) -> Difference:
    """Return that a step is parked which was not even tried to its end."""
    text = f"{_step(sides, now)} is parked now{_for(sides, now)}: {now.why}; {_before(then)}"
    return _difference(sides, now, Change.PARKED, text, then)


def _anew(sides: Sides, then: Step | None, now: Step) -> Difference:
    """Return that a step runs which did not."""
    emits = f"; {_unknown(sides, now)}" if now.key in sides.unknown else f" and emits {_emitted(now)}"
    text = f"{_step(sides, now)} runs now{_for(sides, now)}{emits}; {_before(then)}"
    return _difference(sides, now, Change.ANEW, text, then)


def _emissions(sides: Sides, then: Step, now: Step) -> Iterator[Difference]:
    """Yield how the events differ of a step that ran and runs."""
    if now.key in sides.unknown:
        yield from _untold(sides, then, now)
        return
    if _types(then) != _types(now):
        old, new = _emitted(then), _emitted(now)
        how = (
            f"now{_for(sides, now)}; then it emitted {old}" if old != new else f"under other ids now{_for(sides, now)}"
        )
        text = f"{_step(sides, now)} emits {new} {how}{_due(sides, now)}"
        yield _difference(sides, now, Change.EMITS, text, then)
        return
    for index, output in then.outputs.items():
        yield from _bodies(sides, then, output, now.outputs[index])
    if now.key[0] in sides.compensations and then.ready != now.ready:
        text = (
            f"{_step(sides, now)} undoes {_undone(sides, now)} for {_type(sides, now.ready)} now; then it did for "
            f"{_type(sides, then.ready)}: another order of undoing"
        )
        yield _difference(sides, now, Change.UNDOING, text, then)


def _untold(sides: Sides, then: Step, now: Step) -> Iterator[Difference]:
    """Yield why nobody knows what a step emits now that ran then."""
    if any(each.problem for each in then.outputs.values()):
        return  # That it cannot be read is told already.
    lost = sorted({short(each.type) for each in then.outputs.values() if each.event is None})
    did = f"{_step(sides, then)} emitted {_emitted(then)} then{_for(sides, then)}"
    why = f"{sides.service} does not name {', '.join(lost)} any more" if lost else f"now {_unknown(sides, now)}"
    yield _difference(sides, now, Change.EMITS, f"{did}; {why}", then)


def _unknown(sides: Sides, step: Step) -> str:
    handler = sides.unknown[step.key]
    which = "it" if handler == step.key[0] else f"{sides.service}.{handler}"
    return f"what {which} emits is not known, for it is not called: {sides.uncalled[handler]}"


def _bodies(sides: Sides, then: Step, old: Output, new: Output) -> Iterator[Difference]:
    if old.event is None or new.event is None:
        return
    fields = changes(old.event, new.event, masked=old.masked)
    if fields:
        text = f"{_step(sides, then)} emits {short(old.type)} with another body now{_for(sides, then)}"
        found = _difference(sides, then, Change.BODY, text, None)
        yield replace(found, event_id=old.event_id, fields=tuple(fields))


def _renamed(sides: Sides) -> Iterator[Difference]:
    """Yield the handlers that run for what another one ran for that is gone, and emit the like."""
    told: set[tuple[str, str]] = set()
    known = {name for name, _, _ in sides.then}
    for key, then in sides.then.items():
        name, branch, trigger = key
        if name in sides.handlers or then.fate is not Fate.RAN:
            continue
        for other, now in sides.now.items():
            same = other[1:] == (branch, trigger) and now.ready == then.ready and _emitted(then) == _emitted(now)
            if same and other[0] not in known and (name, other[0]) not in told and now.fate is Fate.RAN:
                told.add((name, other[0]))
                text = (
                    f"{sides.service}.{name} is called {other[0]} now: it emits {_emitted(now)} under other ids, and "
                    "where both versions run, a step may run twice"
                )
                found = _difference(sides, now, Change.RENAMED, text, then)
                yield replace(found, fix=f'name="{name}" keeps its identity')


def _reordered(sides: Sides) -> Iterator[Difference]:
    """Yield undoings that swap places."""
    done = [
        (then, now)
        for key, now in sides.now.items()
        # One that was tried again was done when its turn came, whatever went before.
        if key[0] in sides.compensations and now.outputs and not now.failures
        if (then := sides.then.get(key)) is not None and then.outputs and not then.failures
    ]
    for (first_then, first), (second_then, second) in pairwise(done):
        if _at_us(second_then) < _at_us(first_then):
            text = (
                f"{_step(sides, first)} undoes {_undone(sides, first)} before {_step(sides, second)} undoes "
                f"{_undone(sides, second)} now; then it did after it: another order of undoing"
            )
            yield _difference(sides, first, Change.UNDOING, text, second)


def _difference(sides: Sides, step: Step, change: Change, text: str, other: Step | None) -> Difference:
    about = dict.fromkeys([step.ready, *([other.ready] if other is not None else [])])
    return Difference(
        saga_id=sides.saga.saga_id,
        saga_type=sides.saga.saga_type,
        business_key=sides.saga.business_key,
        service=sides.service,
        handler=step.key[0],
        branch=step.key[1],
        change=change,
        text=text,
        about=tuple(each for each in about if each),
    )


def _step(sides: Sides, step: Step) -> str:
    name, branch, _ = step.key
    return f"{sides.service}.{name}" + (f" in branch {branch}" if branch else "")


def _type(sides: Sides, event_id: str) -> str:
    """Return what people call an event's type, as far as it is known."""
    return short(sides.types.get(event_id, "")) or "an event that is not recorded"


def _for(sides: Sides, step: Step) -> str:
    return f" for {_type(sides, step.ready)}" if step.ready else ""


def _undone(sides: Sides, step: Step) -> str:
    undone = next((each.compensates_id for each in step.outputs.values()), "")
    # With None, the id is that of a step that left no event.
    return short(sides.types.get(undone, "")) or "what may have been done"


def _due(sides: Sides, step: Step) -> str:
    due = sides.due.get(step.key)
    return f", for it is not due before {due}" if due else ""


def _types(step: Step) -> dict[int, str]:
    return {index: each.type for index, each in sorted(step.outputs.items())}


def _emitted(step: Step) -> str:
    return ", ".join(short(each) for each in _types(step).values()) or "nothing"


def _at_us(step: Step) -> int:
    return min(each.at_us for each in step.outputs.values())
