"""What a service did then and what today's code does, compared.

Every kind of difference, with its words for people, is found here from the steps of both (`replayed_step`). Sensitive
fields are compared and never shown. `replayer` calls this for each service and saga, and for each possible order of
arrivals. Pure.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from pydantic import BaseModel

from choreo.codec import HIDDEN
from choreo.event import Event, short
from choreo.replay.recorded_saga import RecordedSaga
from choreo.replay.replayed_step import ReplayedStep, ReplayedSteps, ReplayStatus, StepOutput
from choreo.replay.rerun import CurrentCode, RerunResult
from choreo.schema import avro_schema, sensitive_fields

CLOCK_SLACK = timedelta(seconds=1)
"""A handler's own now is recorded only to when its step was done: times that are nearer than this are the same."""
CHARS_MAX = 200
NOTHING = "nothing"


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


class FieldChange(NamedTuple):
    """One field that differs.

    Attributes:
        path: Such as `lines[0].quantity`.
        then: Its recorded value, as text; `***` for a sensitive one.
        now: What today's code makes of it, likewise.
    """

    path: str
    then: str
    now: str

    def __str__(self) -> str:
        """Return it on one line."""
        return f"{self.path}: {self.then} → {self.now}"


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
        parts = [self.text, *map(str, self.fields), *([self.fix] if self.fix else [])]
        return f"{self.saga_type or 'saga'} {self.business_key or self.saga_id}: {'; '.join(parts)}"


def difference_in(
    saga: RecordedSaga, change: Change, text: str, *, service: str = "", event_id: str = ""
) -> Difference:
    """Return a difference in a saga, of no step."""
    return Difference(
        saga_id=saga.saga_id,
        saga_type=saga.saga_type,
        business_key=saga.business_key,
        service=service,
        change=change,
        text=text,
        event_id=event_id,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceComparison:
    """One service's steps in one saga, then and now; the saga's event types are by id."""

    saga: RecordedSaga
    code: CurrentCode
    result: RerunResult
    then: ReplayedSteps
    now: ReplayedSteps
    types: Mapping[str, str]

    @property
    def service(self) -> str:
        """Whose steps they are."""
        return self.code.declaration.name

    def differences(self) -> list[Difference]:
        """Return all that today's code would do otherwise, in the order of what is recorded."""
        renamed = list(self._renamed())
        if renamed:
            # All ids that follow change, too: other differences can be found once the name is restored.
            return renamed
        found: list[Difference] = []
        for key in dict.fromkeys([*self.then, *self.now]):
            then, now = self.then.get(key), self.now.get(key)
            if then is not None and then.ran:
                found += self._ran(then, now)
            elif now is not None and now.ran:
                found.append(self._anew(then, now))
            elif now is None or now.status is not ReplayStatus.PARKED:
                continue
            elif then is None or then.status is ReplayStatus.SKIPPED:
                found.append(self._parked(then, now))
        return found + list(self._reordered())

    def _ran(self, then: ReplayedStep, now: ReplayedStep | None) -> Iterator[Difference]:
        """Yield how a step differs that ran."""
        did = f"{self._step(then)} ran then{self._for(then)} and emitted {then.emitted}"
        if now is None:
            yield self._difference(then, Change.GONE, f"{did}; it does not run any more{self._due(then)}", now)
        elif now.status is ReplayStatus.SKIPPED:
            yield self._difference(then, Change.SKIPPED, f"{did}; it is skipped now: {now.why}", now)
        elif now.status is ReplayStatus.PARKED:
            yield self._difference(then, Change.PARKED, f"{did}; it is parked now: {now.why}", now)
        elif now.status is ReplayStatus.RETRYING:
            yield self._difference(then, Change.RETRYING, f"{did}; it still fails now: {now.why}{self._due(then)}", now)
        else:
            yield from self._emissions(then, now)

    def _parked(self, then: ReplayedStep | None, now: ReplayedStep) -> Difference:
        """Return that a step is parked which did not run, or was skipped."""
        text = f"{self._step(now)} is parked now{self._for(now)}: {now.why}; {_before(then)}"
        return self._difference(now, Change.PARKED, text, then)

    def _anew(self, then: ReplayedStep | None, now: ReplayedStep) -> Difference:
        """Return that a step runs which did not run then."""
        emits = f"; {self._unknown(now)}" if now.key in self.result.unknown else f" and emits {now.emitted}"
        text = f"{self._step(now)} runs now{self._for(now)}{emits}; {_before(then)}"
        return self._difference(now, Change.ANEW, text, then)

    def _emissions(self, then: ReplayedStep, now: ReplayedStep) -> Iterator[Difference]:
        """Yield how the events differ of a step that ran and runs."""
        if now.key in self.result.unknown:
            yield from self._unknown_emission(then, now)
            return
        if then.types != now.types:
            old, new = then.emitted, now.emitted
            how = (
                f"now{self._for(now)}; then it emitted {old}" if old != new else f"under other ids now{self._for(now)}"
            )
            text = f"{self._step(now)} emits {new} {how}{self._due(now)}"
            yield self._difference(now, Change.EMITS, text, then)
            return
        for index, output in then.outputs.items():
            yield from self._bodies(then, output, now.outputs[index])
        if now.key[0] in self.code.compensations and then.ready != now.ready:
            text = (
                f"{self._step(now)} undoes {self._undone(now)} for {self._type(now.ready)} now; then it did for "
                f"{self._type(then.ready)}: another order of undoing"
            )
            yield self._difference(now, Change.UNDOING, text, then)

    def _unknown_emission(self, then: ReplayedStep, now: ReplayedStep) -> Iterator[Difference]:
        """Yield why it is unknown what a step emits now that ran then."""
        if any(each.problem for each in then.outputs.values()):
            return  # That it cannot be read is reported already.
        lost = sorted({short(each.seen.type) for each in then.outputs.values() if each.event is None})
        did = f"{self._step(then)} emitted {then.emitted} then{self._for(then)}"
        why = f"{self.service} does not name {', '.join(lost)} any more" if lost else f"now {self._unknown(now)}"
        yield self._difference(now, Change.EMITS, f"{did}; {why}", then)

    def _unknown(self, step: ReplayedStep) -> str:
        handler = self.result.unknown[step.key]
        which = "it" if handler == step.key[0] else f"{self.service}.{handler}"
        return f"what {which} emits is not known, for it is not called: {self.code.uncalled[handler]}"

    def _bodies(self, then: ReplayedStep, old: StepOutput, new: StepOutput) -> Iterator[Difference]:
        if old.event is None or new.event is None:
            return
        fields = field_changes(old.event, new.event, masked=old.masked)
        if fields:
            text = f"{self._step(then)} emits {short(old.seen.type)} with another body now{self._for(then)}"
            found = self._difference(then, Change.BODY, text, None)
            yield replace(found, event_id=old.seen.event_id, fields=tuple(fields))

    def _renamed(self) -> Iterator[Difference]:
        """Yield the handlers that do what a handler did that is gone: for the same event, with the same types."""
        reported: set[tuple[str, str]] = set()
        known = {name for name, _, _ in self.then}
        for key, then in self.then.items():
            name, branch, trigger = key
            if name in self.code.rules.handlers or not then.ran:
                continue
            for other, now in self.now.items():
                same = other[1:] == (branch, trigger) and now.ready == then.ready and then.emitted == now.emitted
                if same and other[0] not in known and (name, other[0]) not in reported and now.ran:
                    reported.add((name, other[0]))
                    text = (
                        f"{self.service}.{name} is called {other[0]} now: it emits {now.emitted} under other ids, and "
                        "where both versions run, a step may run twice"
                    )
                    found = self._difference(now, Change.RENAMED, text, then)
                    yield replace(found, fix=f'name="{name}" keeps its identity')

    def _reordered(self) -> Iterator[Difference]:
        """Yield compensations that run in another order."""
        done = [
            (then, now)
            for key, now in self.now.items()
            # One that was tried again was done when its turn came, whatever went before.
            if key[0] in self.code.compensations and now.outputs and not now.failures
            if (then := self.then.get(key)) is not None and then.outputs and not then.failures
        ]
        for (first_then, first), (second_then, second) in pairwise(done):
            if second_then.at_us < first_then.at_us:
                text = (
                    f"{self._step(first)} undoes {self._undone(first)} before {self._step(second)} undoes "
                    f"{self._undone(second)} now; then it did after it: another order of undoing"
                )
                yield self._difference(first, Change.UNDOING, text, second)

    def _difference(self, step: ReplayedStep, change: Change, text: str, other: ReplayedStep | None) -> Difference:
        about = dict.fromkeys([step.ready, *([other.ready] if other is not None else [])])
        return replace(
            difference_in(self.saga, change, text, service=self.service),
            handler=step.key[0],
            branch=step.key[1],
            about=tuple(each for each in about if each),
        )

    def _step(self, step: ReplayedStep) -> str:
        name, branch, _ = step.key
        return f"{self.service}.{name}" + (f" in branch {branch}" if branch else "")

    def _type(self, event_id: str) -> str:
        """Return what people call an event's type, as far as it is known."""
        return short(self.types.get(event_id, "")) or "an event that is not recorded"

    def _for(self, step: ReplayedStep) -> str:
        return f" for {self._type(step.ready)}" if step.ready else ""

    def _undone(self, step: ReplayedStep) -> str:
        undone = next((each.seen.compensates_id for each in step.outputs.values()), "")
        # With None, the id is that of a step that left no event.
        return short(self.types.get(undone, "")) or "what may have been done"

    def _due(self, step: ReplayedStep) -> str:
        due = self.result.due.get(step.key)
        return f", for it is not due before {due}" if due else ""


def _before(then: ReplayedStep | None) -> str:
    return "then it did not run" if then is None else f"then it was {then.status}: {then.why}"


def field_changes(then: Event, now: Event, *, masked: bool) -> list[FieldChange]:
    """Return the fields in which two events of one type differ, sensitive ones not if placeholders stand for them."""
    kind = type(now)
    hidden = frozenset(sensitive_fields(avro_schema(kind, kind.__choreo_type__)))
    return [
        FieldChange(path, HIDDEN, HIDDEN) if secret else FieldChange(path, _shown(old), _shown(new))
        for path, old, new, secret in _differing(then, now, "", "", hidden)
        if not (secret and masked)
    ]


_MISSING = object()


def _differing(
    then: object, now: object, path: str, place: str, hidden: frozenset[str]
) -> Iterator[tuple[str, object, object, bool]]:
    """Yield (path, then, now, whether it is sensitive); `place` is the path as schemas say it, without indexes."""
    if place in hidden:
        if then != now:
            yield path, then, now, True
    elif isinstance(then, BaseModel) and type(then) is type(now):
        for name in type(then).model_fields:
            here, there = (f"{path}.{name}", f"{place}.{name}") if path else (name, name)
            yield from _differing(getattr(then, name), getattr(now, name), here, there, hidden)
    elif isinstance(then, list) and isinstance(now, list):
        for index in range(max(len(then), len(now))):
            old, new = (each[index] if index < len(each) else _MISSING for each in (then, now))
            yield from _differing(old, new, f"{path}[{index}]", place, hidden)
    elif isinstance(then, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*then, *now]):
            yield from _differing(then.get(key, _MISSING), now.get(key, _MISSING), f"{path}[{key}]", place, hidden)
    elif not _same(then, now):
        yield path, then, now, False


def _same(then: object, now: object) -> bool:
    if isinstance(then, datetime) and isinstance(now, datetime):
        return abs(then - now) <= CLOCK_SLACK
    return type(then) is type(now) and then == now


def _shown(value: object) -> str:
    if value is _MISSING:
        return NOTHING
    if isinstance(value, BaseModel):
        # Fields in it may be sensitive.
        return f"a {type(value).__name__}"
    if isinstance(value, list | dict):
        return f"{len(value)} of them"
    text = repr(value) if isinstance(value, str | bytes) else str(value)
    return text if len(text) <= CHARS_MAX else f"{text[:CHARS_MAX]}…"
