"""In which order a service processed the records of a saga.

Kafka keeps the order within a partition and none between topics, so the order is inferred here: from the partitions,
from causes and effects, from what the service itself wrote, and from the times; and, where these leave it open, the
other possible orders. Processing them again does not live here (`rerun`). Pure.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise
from typing import NamedTuple

from choreo.memory import HOP_MAX
from choreo.replay.recorded_saga import RecordedEvent, RecordedSaga, emitted_by
from choreo.replay.replayed_step import REFUSED
from choreo.scope import emitter
from choreo.tracker.rows import ENDED, EventRow, NoteRow, fold_events, in_order, parents, place

NEAR_US = 1_000_000
"""Of two records of different topics that are no further apart than this, either may have been processed first."""
OBEYED = frozenset({"resumed", "resolved"})
"""Notes of a command that was carried out."""


class ArrivalKind(Enum):
    """What a service processes."""

    EVENT = auto()
    END = auto()
    COMMAND = auto()
    TIMERS = auto()


class Arrival(NamedTuple):
    """One record that a service processed, or its timers that were due.

    Attributes:
        at_us: When, as far as that is known: no later than what the service wrote about it, else when it was written.
        lane: Arrivals of one lane keep their order; "" for none.
        event: Of an event.
        note: Of a command: what the service noted about it.
    """

    kind: ArrivalKind
    at_us: int
    lane: str
    event: RecordedEvent | None = None
    note: NoteRow | None = None

    @property
    def event_id(self) -> str:
        """The event's id, "" for anything else."""
        return self.event.seen.event_id if self.event is not None else ""


@dataclass(frozen=True, slots=True)
class ArrivalOrder:
    """Arrivals in a possible order.

    Attributes:
        sequence: Indexes in `arrivals`.
        needs: Of every arrival all those that come before it in any case, a bit each.
    """

    arrivals: tuple[Arrival, ...]
    sequence: tuple[int, ...]
    needs: tuple[int, ...]

    def __iter__(self) -> Iterator[Arrival]:
        return (self.arrivals[each] for each in self.sequence)

    def others(self, about: Collection[str]) -> Iterator["ArrivalOrder"]:
        """Yield the orders in which one arrival changes sides with one of these events, or with what is no event."""
        for at, pivot in enumerate(self.sequence):
            if self.arrivals[pivot].kind is ArrivalKind.EVENT and self.arrivals[pivot].event_id not in about:
                continue
            for other_at, other in enumerate(self.sequence):
                near = abs(self.arrivals[pivot].at_us - self.arrivals[other].at_us) <= NEAR_US
                if other != pivot and near and (moved := self._moved(other_at, at)) is not None:
                    yield ArrivalOrder(self.arrivals, moved, self.needs)

    def _moved(self, at: int, pivot_at: int) -> tuple[int, ...] | None:
        """Return the sequence with one arrival on the other side of another; None where that cannot be.

        What needs it goes behind with it, and before with it goes what it needs.
        """
        moved, behind = self.sequence[at], at < pivot_at
        first, last = sorted((at, pivot_at))
        between = self.sequence[first : last + 1]
        along = [
            each
            for each in between
            if each == moved or (self.needs[each] >> moved if behind else self.needs[moved] >> each) & 1
        ]
        if self.sequence[pivot_at] in along:
            return None
        rest = [each for each in between if each not in along]
        turned = (*rest, *along) if behind else (*along, *rest)
        return (*self.sequence[:first], *turned, *self.sequence[last + 1 :])


def order_of(saga: RecordedSaga, service: str, types: Collection[str], deadlines: Collection[str]) -> ArrivalOrder:
    """Return the order in which a service most likely processed what came.

    Args:
        saga: What is recorded.
        service: The service.
        types: What it reads today.
        deadlines: Handlers of its that are or were deadlines.
    """
    written = _written_by(service, saga)
    first_us: dict[str, int] = {}
    for each in written:
        if each.handler not in deadlines and each.command is None:
            first_us[each.ready] = min(each.row.at_us, first_us.get(each.ready, each.row.at_us))
    events = in_order(fold_events(each.seen for each in saga.events))
    emitted_us = _emission_times(events)
    arrivals = [
        Arrival(
            ArrivalKind.EVENT,
            first_us.get(seen.event_id, emitted_us[seen.event_id]),
            f"{seen.topic}/{seen.partition}",
            each,
        )
        for each in saga.events
        if (seen := each.seen).type in types
    ]
    index_of = {arrival.event_id: index for index, arrival in reversed([*enumerate(arrivals)])}
    arrivals += [Arrival(ArrivalKind.END, each.at_us, each.topic) for each in saga.notes if each.kind == ENDED]
    lines: dict[tuple[str, int], list[int]] = {}
    for each in written:
        index = index_of.get(each.ready, -1)
        if each.command is not None:
            index = len(arrivals)
            arrivals.append(Arrival(ArrivalKind.COMMAND, each.row.at_us, "", note=each.command))
        elif index < 0 or each.handler in deadlines or each.row.at_us > first_us[each.ready]:
            # It was written when a timer was due, not when its event came.
            timers = len(arrivals)
            arrivals.append(Arrival(ArrivalKind.TIMERS, each.row.at_us, ""))
            if index >= 0:
                lines["due", timers] = [index, timers]
            index = timers
        lines.setdefault((each.row.topic, each.row.partition), []).append(index)
    return _sorted(arrivals, _needs(events, service, arrivals, index_of, lines.values()))


class _WrittenRecord(NamedTuple):
    """One record that the service wrote, the event that it was written for, and by which handler."""

    row: EventRow | NoteRow
    ready: str
    handler: str

    @property
    def command(self) -> NoteRow | None:
        """The note of a command that was carried out."""
        return self.row if isinstance(self.row, NoteRow) and self.row.kind in OBEYED else None


def _written_by(service: str, saga: RecordedSaga) -> list[_WrittenRecord]:
    """Return what a service wrote, each partition in its order."""
    written = [
        _WrittenRecord(each, next(iter(parents(each)), ""), emitter(each.source)[1])
        for each, _, _ in saga.events
        if emitted_by(service, each)
    ]
    written += [
        _WrittenRecord(each, each.event_id, each.handler)
        for each in saga.notes
        if each.service == service and each.handler and each.kind not in {ENDED, REFUSED}
    ]
    return sorted(written, key=lambda each: place(each.row))


class _Constraints:
    """What comes before what, a bit each; a later constraint never contradicts an earlier one."""

    def __init__(self, count: int) -> None:
        self.before = [0] * count

    def add(self, earlier: int, later: int) -> None:
        """Put one before another, unless their order is known already."""
        if earlier == later or (self.before[earlier] >> later | self.before[later] >> earlier) & 1:
            return
        more = self.before[earlier] | 1 << earlier
        for index, known in enumerate(self.before):
            if index == later or known >> later & 1:
                self.before[index] = known | more

    def line(self, indexes: Iterable[int]) -> None:
        """Put each before the next."""
        for earlier, later in pairwise(indexes):
            self.add(earlier, later)


def _needs(
    events: Sequence[EventRow],
    service: str,
    arrivals: Sequence[Arrival],
    index_of: Mapping[str, int],
    lines: Iterable[list[int]],
) -> tuple[int, ...]:
    """Return of every arrival those that came before it: what is certain first, and nothing that contradicts it.

    An event may be read before its cause, for they are in different topics; but not before what this service itself
    did, without which it would not exist.
    """
    constraints = _Constraints(len(arrivals))
    for lane in dict.fromkeys(each.lane for each in arrivals if each.lane):
        constraints.line(index for index, each in enumerate(arrivals) if each.lane == lane)
    processed_for: dict[str, frozenset[str]] = {}
    for each in events:
        before = frozenset().union(*(processed_for.get(cause, frozenset()) for cause in parents(each)))
        processed_for[each.event_id] = before.union(parents(each)) if emitted_by(service, each) else before
        if each.event_id in index_of:
            for cause in processed_for[each.event_id]:
                if cause in index_of:
                    constraints.add(index_of[cause], index_of[each.event_id])
    for line in lines:
        constraints.line(line)
    return tuple(constraints.before)


def _emission_times(events: Sequence[EventRow]) -> dict[str, int]:
    """Return when each event was emitted: not before its causes, whatever the machines' clocks say."""
    emitted_us: dict[str, int] = {}
    for each in events:
        emitted_us[each.event_id] = max(each.at_us, *(emitted_us.get(cause, 0) for cause in parents(each)), 0)
    return emitted_us


def _sorted(arrivals: Sequence[Arrival], needs: tuple[int, ...]) -> ArrivalOrder:
    """Return the arrivals by time, as far as their needs allow."""
    left = sorted(range(len(arrivals)), key=lambda index: (arrivals[index].at_us, _rank(arrivals[index]), index))
    sequence: list[int] = []
    done = 0
    while left:
        ready = next(each for each in left if not needs[each] & ~done)
        left.remove(ready)
        sequence.append(ready)
        done |= 1 << ready
    return ArrivalOrder(tuple(arrivals), tuple(sequence), needs)


def _rank(arrival: Arrival) -> int:
    """Return what comes first of one moment: timers, for what follows may have cancelled them; ends come last."""
    if arrival.event is not None:
        return arrival.event.seen.hop
    return HOP_MAX if arrival.kind is ArrivalKind.END else -1
