"""What a picture of a choreography shows, whichever form it takes.

The kinds of events, steps and arrows, the column of each step and the order of all of them live here; boxes, lines and
characters do not. Two choreographies of the same handlers give the same picture, in whatever order their services were
named.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from graphlib import TopologicalSorter

from choreo.choreography import NOTHING, Choreography, Node
from choreo.event import short
from choreo.handler import Kind


class EventKind(StrEnum):
    """What an event is to its saga: the first of these that it is."""

    START = "start"
    COMPLETES = "completes"
    FAILS = "fails"
    FAILURE = "failure"
    UNDOING = "undoing"
    FACT = "fact"


class ArrowKind(StrEnum):
    """What one thing does to the other.

    Members:
        TAKES: The event sets the step going.
        EMITS: The step may emit the event.
        CAUSES: The event sets the compensation going.
        UNDOES: The compensation undoes the event.
        STOPS: The step does not run where the event came first.
        STANDS_IN: The step's place is taken by the other, once its retries are spent.
    """

    TAKES = "takes"
    EMITS = "emits"
    CAUSES = "causes"
    UNDOES = "undoes"
    STOPS = "stops"
    STANDS_IN = "stands-in"


@dataclass(frozen=True, slots=True)
class Arrow:
    """One arrow between an event and a step, or between two steps."""

    kind: ArrowKind  # What it says.
    source: str  # Full name of an event, or `service.handler`.
    target: str  # The same.
    note: str = ""  # What else there is to say, in a word or two; "" for nothing.

    @property
    def from_step(self) -> bool:
        """Return whether it begins at a step, not at an event."""
        return self.kind in {ArrowKind.EMITS, ArrowKind.UNDOES, ArrowKind.STANDS_IN}

    @property
    def to_step(self) -> bool:
        """Return whether it ends at a step, not at an event."""
        return self.kind not in {ArrowKind.EMITS, ArrowKind.UNDOES}


@dataclass(frozen=True, slots=True)
class Origin:
    """Events that no handler emits: where they come from."""

    service: str  # Who publishes them; "" where nobody that is known does.
    events: tuple[str, ...]
    by: str = ""  # Who decides there; "" where that is not said.
    starts: bool = False  # They start sagas.


class Picture:
    """A choreography, in the order in which it is drawn."""

    def __init__(self, choreography: Choreography) -> None:
        self.choreography = choreography
        self.columns: Mapping[str, int] = columns(choreography)
        self.steps: tuple[Node, ...] = tuple(
            sorted(
                choreography.nodes,
                key=lambda step: (self.columns[step.name], kind_of(step) is Kind.COMPENSATION, step.name),
            )
        )
        self._short = Counter(short(name) for name in self._named())

    @cached_property
    def services(self) -> tuple[str, ...]:
        """Return the services, those that a saga reaches first before the others."""
        nearest = dict.fromkeys(self.choreography.services, len(self.steps) + 1)
        for step in self.steps:
            nearest[step.service] = min(nearest[step.service], self.columns[step.name])
        for source in self.origins:
            nearest[source.service] = -1 if source.starts else nearest.get(source.service, 0)
        return tuple(sorted((each for each in nearest if each), key=lambda name: (nearest[name], name)))

    @cached_property
    def events(self) -> tuple[str, ...]:
        """Return the full names of all events, in the order in which a saga reaches them."""
        reached = [name for source in self.origins for name in source.events]
        reached += [name for step in self.steps for name in step.handler.emits]
        return tuple(dict.fromkeys([*reached, *sorted(self._named())]))

    @cached_property
    def origins(self) -> tuple[Origin, ...]:
        """Return where the events come from that no handler emits: starts, people's decisions, what is not known."""
        found: dict[tuple[str, str, bool], list[str]] = {}
        for owned in self.choreography.sagas.values():
            found.setdefault((owned.owner, "", True), []).append(owned.starts)
        for name in sorted(self._named()):
            for service, by in self.choreography.publishers(name).items():
                found.setdefault((service, by, False), []).append(name)
            if self._from_elsewhere(name):
                found.setdefault(("", "", False), []).append(name)
        return tuple(
            Origin(service, tuple(sorted(set(names))), by, starts)
            for (service, by, starts), names in sorted(found.items(), key=lambda each: (not each[0][2], each[0]))
        )

    @cached_property
    def arrows(self) -> tuple[Arrow, ...]:
        """Return every arrow, step by step."""
        return tuple(arrow for step in self.steps for arrow in dict.fromkeys(self._arrows(step)))

    def label(self, event: str) -> str:
        """Return what people call an event: its class name, or its full name where two events share that."""
        name = short(event)
        return name if self._short[name] == 1 else event

    def kind(self, event: str) -> EventKind:
        """Return what an event is to its saga."""
        sagas = self.choreography.sagas.values()
        producers = self.choreography.producers(event)
        if any(saga.starts == event for saga in sagas):
            return EventKind.START
        if any(event in saga.completes for saga in sagas):
            return EventKind.COMPLETES
        if any(event in saga.fails for saga in sagas):
            return EventKind.FAILS
        if event in self.choreography.failing:
            return EventKind.FAILURE
        if producers and all(kind_of(step) is Kind.COMPENSATION for step in producers):
            return EventKind.UNDOING
        return EventKind.FACT

    def look(self, arrow: Arrow) -> str:
        """Return how an arrow is drawn: `failure`, `undoing`, `stops`, or `fact`."""
        if arrow.kind is ArrowKind.STOPS:
            return "stops"
        if arrow.kind is ArrowKind.UNDOES:
            return "undoing"
        if arrow.kind is ArrowKind.STANDS_IN:
            return "failure"
        return self.event_look(arrow.target if arrow.kind is ArrowKind.EMITS else arrow.source)

    def event_look(self, event: str) -> str:
        """Return how an event's own arrows are drawn: `failure`, `undoing` or `fact`."""
        if event in self.choreography.failing:
            return "failure"
        return "undoing" if self.kind(event) is EventKind.UNDOING else "fact"

    def home(self, event: str) -> str:
        """Return the one service that an event comes from; "" where that is nobody, or several."""
        found = {step.service for step in self.choreography.producers(event)}
        found |= {source.service for source in self.origins if event in source.events}
        return found.pop() if len(found) == 1 else ""

    def lane(self, service: str) -> tuple[list[str], list[Node]]:
        """Return a service's events and steps; of "" the events that come from nobody, or from several."""
        events = [event for event in self.events if self.home(event) == service]
        return events, [step for step in self.steps if step.service == service]

    def takers(self, event: str) -> tuple[Node, ...]:
        """Return the steps that an event sets going, or is one of the events for, in the order of the picture."""
        return tuple(self._takers.get(event, ()))

    @cached_property
    def _takers(self) -> Mapping[str, list[Node]]:
        found: dict[str, list[Node]] = {}
        for step in self.steps:
            waits_for = NOTHING.union(*step.waits_for) if step.guarded is None else NOTHING
            for event in step.causes if kind_of(step) is Kind.COMPENSATION else waits_for:
                found.setdefault(event, []).append(step)
        return found

    def host(self, step: Node) -> Node | None:
        """Return the step that another one belongs to: the one of its service that it undoes or stands in for."""
        if kind_of(step) is not Kind.COMPENSATION:
            return step.guarded
        undone = (each for name in step.handler.original for each in self.choreography.producers(name))
        column = self.columns[step.name]
        beside = [each for each in undone if each.service == step.service and self.columns[each.name] == column]
        return min(beside, key=lambda each: each.name, default=None)

    def _named(self) -> set[str]:
        named = {name for step in self.choreography.nodes for name in (*step.reads, *step.takes, *step.handler.emits)}
        return named.union(self.choreography.events)

    def _from_elsewhere(self, event: str) -> bool:
        known = self.choreography.producers(event) or self.choreography.publishers(event)
        return not known and all(saga.starts != event for saga in self.choreography.sagas.values())

    def _arrows(self, step: Node) -> Iterable[Arrow]:
        handler, name = step.handler, step.name
        guarded = step.guarded
        if guarded is not None:
            yield Arrow(ArrowKind.STANDS_IN, guarded.name, name, "gives up")
        else:
            for place, types in enumerate(handler.waits_for):
                note = "one from each branch" if place == handler.gathers else ""
                yield from (Arrow(ArrowKind.TAKES, each, name, note) for each in sorted(types))
        yield from (Arrow(ArrowKind.CAUSES, each, name) for each in sorted(handler.causes))
        yield from (Arrow(ArrowKind.UNDOES, name, each, "undoes") for each in sorted(handler.original))
        yield from (Arrow(ArrowKind.STOPS, each, name, "stops") for each in sorted({*handler.awaits, *handler.unless}))
        opens, later = step.opens, step.delays
        for each in handler.emits:
            note = "opens branches" if each in opens else "later" if each in later else ""
            yield Arrow(ArrowKind.EMITS, name, each, note)


def kind_of(step: Node) -> Kind:
    """Return what a step is for; what a later version calls otherwise is drawn like any step."""
    try:
        return Kind(step.handler.kind)
    except ValueError:
        return Kind.FORWARD


def columns(choreography: Choreography) -> Mapping[str, int]:
    """Return the column of each step, by `service.handler`, from 0.

    The longest way from a start decides, so a join stands right of all its events. Where events go round in a circle,
    the step that they come back to stays left.
    """
    beside = {step.name: _host(step, choreography) for step in choreography.nodes}
    # What stands in for a compensation stands where that does, so two steps lead to a host, and never more.
    hosts = {name: beside.get(host, name) for name, host in beside.items()}
    leads = _leads(choreography, hosts)
    for circling in _closing_links(leads):
        leads[circling[0]].discard(circling[1])
    found = dict.fromkeys(leads, 0)
    # What a sorter takes for what must come before is what comes after, so its order is turned round.
    for name in reversed([*TopologicalSorter(leads).static_order()]):
        for following in leads[name]:
            found[following] = max(found[following], found[name] + 1)
    return {step.name: found[hosts[step.name]] for step in choreography.nodes}


def _host(step: Node, choreography: Choreography) -> str:
    """Return the step beside which a step stands: the one that it undoes or stands in for, else itself."""
    if step.handler.kind == "compensation":
        undone = (each for name in step.handler.original for each in choreography.producers(name))
        beside = sorted(each.name for each in undone if each.handler.kind not in {"compensation", "otherwise"})
    else:
        beside = [f"{step.service}.{step.handler.guards}"] if step.handler.guards else []
    return beside[0] if beside else step.name


def _leads(choreography: Choreography, hosts: Mapping[str, str]) -> dict[str, set[str]]:
    """Return which steps stand right of which; only steps that stand beside no other are named."""
    leads: dict[str, set[str]] = {name: set() for name in hosts.values()}
    for step in choreography.nodes:
        if hosts[step.name] != step.name:
            continue
        for name in step.takes - step.original:
            for producer in choreography.producers(name):
                if hosts[producer.name] != step.name:
                    leads[hosts[producer.name]].add(step.name)
    return leads


def _closing_links(leads: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """Return the links that close a circle, walking from what nothing leads to."""
    entered = frozenset().union(*leads.values())
    closing: list[tuple[str, str]] = []
    done: set[str] = set()
    for first in sorted(leads, key=lambda name: (name in entered, name)):
        if first in done:
            continue
        path, open_names = [(first, iter(sorted(leads[first])))], {first}
        while path:
            name, rest = path[-1]
            following = next(rest, None)
            if following is None:
                path.pop()
                open_names.discard(name)
                done.add(name)
            elif following in open_names:
                closing.append((name, following))
            elif following not in done:
                path.append((following, iter(sorted(leads[following]))))
                open_names.add(following)
    return closing
