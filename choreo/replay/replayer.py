"""Recorded sagas run through today's code: which of them it would treat otherwise.

Running every saga through every service, and looking for the order of arrivals that explains what is recorded, lives
here; what counts as a difference does not (`difference`). The command line and tests call it, as a guard before
deploys.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from choreo.codec import Schemas
from choreo.errors import SchemaError, UndecodableRecord
from choreo.event import Envelope, short
from choreo.handler import Kind
from choreo.replay.arrival_order import ArrivalOrder, order_of
from choreo.replay.difference import Change, Difference, ServiceComparison, difference_in
from choreo.replay.recorded_saga import EVENTS_MAX, RecordedSaga, Recording, emitted_by
from choreo.replay.replayed_step import ReplayedSteps, StepOutput, steps_of
from choreo.replay.rerun import CurrentCode
from choreo.service import Service, declarations
from choreo.tracker.rows import NoteRow

ORDERS_MAX = 100
"""Orders that are tried, a service and saga, to find one that explains what is recorded."""


class SagaReplay(NamedTuple):
    """One saga, and what today's code would do otherwise."""

    saga: RecordedSaga
    differences: list[Difference]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    """What a replay found.

    Attributes:
        sagas: In the order of the recording.
        services: Whose code was run.
        uncalled: Steps, `service.handler`, that were not called and are assumed to do what is recorded; and why.
    """

    sagas: list[SagaReplay]
    services: list[str]
    uncalled: dict[str, str] = field(default_factory=dict)


def replay(
    services: Iterable[Service],
    recorded: Recording,
    *,
    replace: Mapping[type, object] | None = None,
    uncalled: Collection[str] = (),
) -> list[Difference]:
    """Return what today's code would do otherwise than recorded; nothing is the answer to hope for.

    Every service is given what it was given then, in that order and at that time. A handler that takes nothing but
    events, `Context` and `State` is called. One that uses a resource is not, unless it is replaced: what it
    did then counts as what it does. Nothing is emitted and no provider runs. The same arguments give the same answer.

    Args:
        services: Today's code.
        recorded: Sagas, from `recorded(…)`.
        replace: Resources to use instead, by their provided types; handlers whose resources are all here are called,
            too, possibly several times.
        uncalled: Further steps that are not to be called, `service.handler`: those that reach the outside world by
            other ways than their resources.

    Raises:
        DeclarationError: If the services cannot run as declared, all mistakes at once.
    """
    report = replayed(services, recorded, replace=replace, uncalled=uncalled)
    return [each for saga in report.sagas for each in saga.differences]


def replayed(
    services: Iterable[Service],
    recorded: Recording,
    *,
    replace: Mapping[type, object] | None = None,
    uncalled: Collection[str] = (),
) -> ReplayReport:
    """Return what `replay` returns, saga by saga, with what was not called.

    Raises:
        DeclarationError: If the services cannot run as declared, all mistakes at once.
    """
    schemas = Schemas()
    resources = dict(replace or {})
    current = [CurrentCode(each, schemas, recorded, resources, uncalled) for each in declarations(*services)]
    for manifest in recorded.manifests:
        for schema in manifest.schemas.values():
            # If one contradicts today's, its events cannot be read, which is reported for each of them.
            with suppress(SchemaError):
                schemas.add(schema)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_report(current, recorded))
    # A loop cannot run within a loop.
    with ThreadPoolExecutor(1, thread_name_prefix="replay") as thread:
        return thread.submit(asyncio.run, _report(current, recorded)).result()


async def _report(current: Collection[CurrentCode], recorded: Recording) -> ReplayReport:
    """Run every saga through every service."""
    try:
        sagas = [SagaReplay(saga, await _differences(saga, current, recorded)) for saga in recorded.sagas]
    finally:
        for code in current:
            code.close()
    uncalled = {f"{code.declaration.name}.{name}": why for code in current for name, why in code.uncalled.items()}
    return ReplayReport(sagas=sagas, services=[code.declaration.name for code in current], uncalled=uncalled)


async def _differences(saga: RecordedSaga, current: Iterable[CurrentCode], recorded: Recording) -> list[Difference]:
    if saga.cut:
        text = f"it has more than {EVENTS_MAX} events or notes, and sagas that long are not replayed"
        return [difference_in(saga, Change.UNREADABLE, text)]
    return [each for code in current for each in await _ServiceReplay(code, saga, recorded).differences()]


class _ServiceReplay:
    """One saga in today's code of one service."""

    def __init__(self, code: CurrentCode, saga: RecordedSaga, recorded: Recording) -> None:
        self._code = code
        self._saga = saga
        self._service = service = code.declaration.name
        self._deadlines = code.deadlines | {each.name for each in recorded.handlers_of(service, Kind.DEADLINE)}
        self._guards = {each.name: each.guards for each in recorded.handlers_of(service, Kind.OTHERWISE)}
        self._guards |= {each.name: each.guards for each in code.declaration.handlers if each.guards}
        self._types = {each.seen.event_id: each.seen.type for each in saga.events}
        self._branches = {each.seen.event_id: each.seen.branch for each in saga.events}
        self._inputs: dict[tuple[str, int, int], Envelope] = {}
        self._unread: dict[str, Difference] = {}
        emitted: dict[str, StepOutput] = {}
        for each in sorted(saga.events, key=lambda event: event.seen.at_us):
            if emitted_by(service, each.seen):
                output = code.output_of(each)
                emitted.setdefault(each.seen.event_id, output)
                if output.problem:
                    self._report_unreadable(each.seen.event_id, output.problem)
            elif each.seen.type in code.reads:
                try:
                    envelope = code.rules.codec.read(each.record)
                except UndecodableRecord as error:
                    self._report_unreadable(each.seen.event_id, str(error))
                else:
                    assert envelope is not None
                    self._inputs[each.record[:3]] = envelope
        notes = [each for each in saga.notes if each.service == service]
        self._then = self._steps([*emitted.values()], notes)

    async def differences(self) -> list[Difference]:
        """Return what today's code would do otherwise, in the order that explains most of what is recorded."""
        order = order_of(self._saga, self._service, self._code.reads, self._deadlines)
        fewest = await self._differences_in(order)
        others = _others(order, fewest)
        for _ in range(ORDERS_MAX):
            if not fewest or (other := next(others, None)) is None:
                break
            found = await self._differences_in(other)
            if len(found) < len(fewest):
                fewest, others = found, _others(other, found)
        # What follows from an event that cannot be read is not reported beside it.
        return [*self._unread.values(), *(each for each in fewest if self._unread.keys().isdisjoint(each.about))]

    async def _differences_in(self, order: ArrivalOrder) -> list[Difference]:
        result = await self._code.process(self._saga, order, self._inputs, self._then)
        comparison = ServiceComparison(
            saga=self._saga,
            code=self._code,
            result=result,
            then=self._then,
            now=self._steps(result.outputs, result.notes),
            types={each.seen.event_id: each.seen.type for each in result.outputs} | self._types,
        )
        return comparison.differences()

    def _steps(self, outputs: list[StepOutput], notes: list[NoteRow]) -> ReplayedSteps:
        return steps_of(outputs, notes, self._guards, self._branches)

    def _report_unreadable(self, event_id: str, why: str) -> None:
        name = short(self._types[event_id])
        text = f"{name} cannot be read by today's models of {self._service}: {why}"
        found = difference_in(self._saga, Change.UNREADABLE, text, service=self._service, event_id=event_id)
        self._unread[event_id] = found


def _others(order: ArrivalOrder, found: Iterable[Difference]) -> Iterator[ArrivalOrder]:
    return order.others({event_id for each in found for event_id in each.about})
