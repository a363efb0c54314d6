"""One recorded saga and one service of today.

Looking for an order in which what came explains what is recorded lives here, and telling what no order explains; what
counts as a difference does not (`comparison`). `guard` makes one for each saga and service.
"""

from choreo.errors import UndecodableRecord
from choreo.event import Envelope, short
from choreo.handler import Kind
from choreo.replay.comparison import Change, Difference, Sides, differences
from choreo.replay.order import Order, order_of
from choreo.replay.recording import RecordedEvent, RecordedSaga, Recording, own
from choreo.replay.rerun import Today, output_of
from choreo.replay.steps import Output, Traces, steps_of
from choreo.tracker.seen import Noted

ORDERS_MAX = 100
"""Orders that are tried, a service and saga, to find one that explains what is recorded."""


class Case:
    """One saga and one service.

    Args:
        today: The service.
        saga: What is recorded.
        recorded: The recording that it is of.
    """

    def __init__(self, today: Today, saga: RecordedSaga, recorded: Recording) -> None:
        self._today = today
        self._saga = saga
        self._service = service = today.declaration.name
        self._deadlines = today.deadlines | {each.name for each in recorded.handlers_of(service, Kind.DEADLINE)}
        self._guards = {each.name: each.guards for each in recorded.handlers_of(service, Kind.OTHERWISE)}
        self._guards |= {each.name: each.guards for each in today.declaration.handlers if each.guards}
        self._types = {each.seen.event_id: each.seen.type for each in saga.events}
        self._branches = {each.seen.event_id: each.seen.branch for each in saga.events}
        self._inputs: dict[tuple[str, int, int], Envelope] = {}
        self._found: dict[str, Difference] = {}
        emitted: dict[str, Output] = {}
        for each in sorted(saga.events, key=_at_us):
            if own(each.seen, service):
                output = output_of(today, each)
                emitted.setdefault(output.event_id, output)
                if output.problem:
                    self._unreadable(output.event_id, output.problem)
            elif each.seen.type in today.reads:
                try:
                    envelope = today.rules.codec.read(each.record)
                except UndecodableRecord as error:
                    self._unreadable(each.seen.event_id, str(error))
                else:
                    assert envelope is not None
                    self._inputs[each.record[:3]] = envelope
        notes = [each for each in saga.notes if each.service == service]
        self._then = steps_of(self._traces([*emitted.values()], notes))

    async def differences(self) -> list[Difference]:
        """Return what today's code would do otherwise, in the order that explains most of what is recorded."""
        order = order_of(self._saga, self._service, self._today.reads, self._deadlines)
        found = await self._differences(order)
        tried, better = 0, True
        while found and better:
            better = False
            for other in order.others({event_id for each in found for event_id in each.about}):
                if tried == ORDERS_MAX:
                    break
                tried += 1
                fewer = await self._differences(other)
                if len(fewer) < len(found):
                    found, order, better = fewer, other, True
                    break
        # What an event that cannot be read would have led to goes without saying.
        return [*self._found.values(), *(each for each in found if self._found.keys().isdisjoint(each.about))]

    async def _differences(self, order: Order) -> list[Difference]:
        result = await self._today.take(self._saga, order, self._inputs, self._then)
        new = {each.event_id: each for each in result.outputs}
        sides = Sides(
            saga=self._saga,
            service=self._service,
            then=self._then,
            now=steps_of(self._traces(result.outputs, result.notes)),
            handlers=self._today.rules.handlers.keys(),
            compensations=self._today.compensations,
            types={event_id: each.type for event_id, each in new.items()} | self._types,
            unknown=result.unknown,
            uncalled=self._today.uncalled,
            due=result.due,
        )
        return differences(sides)

    def _traces(self, outputs: list[Output], notes: list[Noted]) -> Traces:
        return Traces(
            service=self._service,
            saga_id=self._saga.saga_id,
            outputs=outputs,
            notes=notes,
            guards=self._guards,
            branches={each.event_id: each.branch for each in outputs} | self._branches,
        )

    def _unreadable(self, event_id: str, why: str) -> None:
        name = short(self._types[event_id])
        text = f"{name} cannot be read by today's models of {self._service}: {why}"
        self._found[event_id] = unreadable(self._saga, text, service=self._service, event_id=event_id)


def _at_us(event: RecordedEvent) -> int:
    return event.seen.at_us


def unreadable(saga: RecordedSaga, text: str, *, service: str = "", event_id: str = "") -> Difference:
    """Return that something cannot be read, or a whole saga not be replayed."""
    return Difference(
        saga_id=saga.saga_id,
        saga_type=saga.saga_type,
        business_key=saga.business_key,
        service=service,
        change=Change.UNREADABLE,
        text=text,
        event_id=event_id,
    )
