"""In which order a service took what came for it.

Kafka keeps the order within a partition and none between topics, so the order is worked out here: from the partitions,
from what follows from what, from what the service itself left behind, and from the times; and, where these leave it
open, the other orders that it may have been. What is done in that order does not live here (`rerun`). Pure.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise
from operator import attrgetter
from typing import NamedTuple

from choreo.memory import HOP_MAX
from choreo.replay.recording import RecordedEvent, RecordedSaga, own
from choreo.replay.steps import REFUSED
from choreo.tracker.seen import ENDED, Noted, Seen, fold_events, in_order, parents, place

NEAR_US = 1_000_000
"""Of two that came from different topics within so many microseconds, either may have been taken first."""
ASKED = frozenset({"resumed", "resolved"})
"""Notes of a command that was obeyed."""


class What(Enum):
    """What a service takes."""

    EVENT = auto()
    END = auto()
    COMMAND = auto()
    TIMERS = auto()


class Item(NamedTuple):
    """One thing that a service took.

    Attributes:
        at_us: When, as far as that is known: at the latest when it left something behind, else when it was written.
        lane: Items of one lane are taken in their order; "" for none.
        event: Of an event.
        note: Of a command: what the service noted about it.
    """

    what: What
    at_us: int
    lane: str
    event: RecordedEvent | None = None
    note: Noted | None = None

    @property
    def event_id(self) -> str:
        """The event's id, "" for anything else."""
        return self.event.seen.event_id if self.event is not None else ""


@dataclass(frozen=True, slots=True)
class Order:
    """Items in an order that they may have been taken in.

    Attributes:
        taken: Places in `items`.
        needs: Of every item those that come before it in any case, a bit each.
    """

    items: tuple[Item, ...]
    taken: tuple[int, ...]
    needs: tuple[int, ...]

    def __iter__(self) -> Iterator[Item]:
        return (self.items[each] for each in self.taken)

    def others(self, about: Collection[str]) -> Iterator["Order"]:
        """Yield orders in which something came on the other side of one of these events, or of what is no event.

        Args:
            about: Event ids.
        """
        for at, pivot in enumerate(self.taken):
            if self.items[pivot].what is What.EVENT and self.items[pivot].event_id not in about:
                continue
            for other_at, other in enumerate(self.taken):
                near = abs(self.items[pivot].at_us - self.items[other].at_us) <= NEAR_US
                if other != pivot and near:
                    moved = self._behind(other_at, at) if other_at < at else self._before(other_at, at)
                    if moved is not None:
                        yield Order(self.items, moved, self.needs)

    def _behind(self, moved: int, pivot: int) -> tuple[int, ...] | None:
        """Return the order with one item, and what needs it, behind another; None where that cannot be."""
        between = self.taken[moved : pivot + 1]
        late = [between[0]]
        for each in between[1:]:
            if any(self.needs[each] >> other & 1 for other in late):
                late.append(each)
        if between[-1] in late:
            return None
        early = [each for each in between if each not in late]
        return (*self.taken[:moved], *early, *late, *self.taken[pivot + 1 :])

    def _before(self, moved: int, pivot: int) -> tuple[int, ...] | None:
        """Return the order with one item, and what it needs, before another; None where that cannot be."""
        between = self.taken[pivot : moved + 1]
        early = [each for each in between if each == between[-1] or self.needs[between[-1]] >> each & 1]
        if between[0] in early:
            return None
        late = [each for each in between if each not in early]
        return (*self.taken[:pivot], *early, *late, *self.taken[moved + 1 :])


def order_of(saga: RecordedSaga, service: str, types: Collection[str], deadlines: Collection[str]) -> Order:
    """Return the order in which a service most likely took what came for it.

    Args:
        saga: What is recorded.
        service: The service.
        types: What it reads today.
        deadlines: Handlers of its that are or were deadlines.
    """
    traces = _traces(saga, service)
    first: dict[str, int] = {}
    for trace in traces:
        if trace.handler not in deadlines and trace.kind not in ASKED:
            first[trace.ready] = min(trace.at_us, first.get(trace.ready, trace.at_us))
    known = in_order(fold_events(each.seen for each in saga.events))
    written = _written(known)
    items = [
        Item(What.EVENT, first.get(seen.event_id, written[seen.event_id]), f"{seen.topic}/{seen.partition}", each)
        for each in saga.events
        if (seen := each.seen).type in types
    ]
    place_of = {item.event_id: at for at, item in reversed([*enumerate(items)])}
    items += [Item(What.END, each.at_us, each.topic) for each in saga.notes if each.kind == ENDED]
    lines: dict[tuple[str, int], list[int]] = {}
    for trace in traces:
        at = place_of.get(trace.ready, -1)
        if trace.kind in ASKED:
            at = len(items)
            items.append(Item(What.COMMAND, trace.at_us, "", note=trace.note))
        elif at < 0 or trace.handler in deadlines or trace.at_us > first[trace.ready]:
            # Not when its event came, but when it was due.
            due = len(items)
            items.append(Item(What.TIMERS, trace.at_us, ""))
            if at >= 0:
                lines["due", due] = [at, due]
            at = due
        lines.setdefault((trace.topic, trace.partition), []).append(at)
    return _sorted(items, _needs(known, service, items, place_of, lines.values()))


class _Trace(NamedTuple):
    """One record that the service wrote."""

    at_us: int
    topic: str
    partition: int
    offset: int
    ready: str
    handler: str
    kind: str = ""
    note: Noted | None = None


def _traces(saga: RecordedSaga, service: str) -> list[_Trace]:
    """Return what a service wrote, each partition's in its order."""
    found = [
        _Trace(each.at_us, *place(each), next(iter(parents(each)), ""), each.source.rpartition("/")[2])
        for each, _, _ in saga.events
        if own(each, service)
    ]
    found += [
        _Trace(each.at_us, *place(each), each.event_id, each.handler, each.kind, each)
        for each in saga.notes
        if each.service == service and each.handler and each.kind not in {ENDED, REFUSED}
    ]
    return sorted(found, key=attrgetter("topic", "partition", "offset"))


class _Needs:
    """What comes before what: once it is said, nothing contradicts it."""

    def __init__(self, count: int) -> None:
        self.found = [0] * count

    def add(self, earlier: int, later: int) -> None:
        """Say that one comes before another, unless that is said already, or the other way round."""
        if earlier == later or (self.found[earlier] >> later | self.found[later] >> earlier) & 1:
            return
        more = self.found[earlier] | 1 << earlier
        for at, known in enumerate(self.found):
            if at == later or known >> later & 1:
                self.found[at] = known | more

    def line(self, places: Iterable[int]) -> None:
        """Say that each comes before the next."""
        for earlier, later in pairwise(places):
            self.add(earlier, later)


def _needs(
    known: Sequence[Seen],
    service: str,
    items: Sequence[Item],
    place_of: Mapping[str, int],
    lines: Iterable[list[int]],
) -> tuple[int, ...]:
    """Return of every item those that came before it: what is certain first, and nothing that would contradict it.

    An event may be read before what it follows from, for they are in different topics; but not before what this service
    itself did, without which it would not be there.
    """
    needs = _Needs(len(items))
    for lane in dict.fromkeys(item.lane for item in items if item.lane):
        needs.line(at for at, item in enumerate(items) if item.lane == lane)
    done_for: dict[str, frozenset[str]] = {}
    for each in known:
        before = frozenset().union(*(done_for.get(cause, frozenset()) for cause in parents(each)))
        done_for[each.event_id] = before.union(parents(each)) if own(each, service) else before
        if each.event_id in place_of:
            for cause in done_for[each.event_id]:
                if cause in place_of:
                    needs.add(place_of[cause], place_of[each.event_id])
    for line in lines:
        needs.line(line)
    return tuple(needs.found)


def _written(known: Sequence[Seen]) -> dict[str, int]:
    """Return when each event was written: not before what it follows from, whatever the machines' clocks say."""
    written: dict[str, int] = {}
    for each in known:
        written[each.event_id] = max(each.at_us, *(written.get(cause, 0) for cause in parents(each)), 0)
    return written


def _sorted(items: Sequence[Item], needs: tuple[int, ...]) -> Order:
    """Return the items by time, as far as their needs allow."""
    left = sorted(range(len(items)), key=lambda at: (items[at].at_us, _rank(items[at]), at))
    taken: list[int] = []
    done = 0
    while left:
        ready = next(each for each in left if not needs[each] & ~done)
        left.remove(ready)
        taken.append(ready)
        done |= 1 << ready
    return Order(tuple(items), tuple(taken), needs)


def _rank(item: Item) -> int:
    """Return what is taken first of one moment: timers, for what follows them may have called them off; ends last."""
    if item.event is not None:
        return item.event.seen.hop
    return HOP_MAX if item.what is What.END else -1
