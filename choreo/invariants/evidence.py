"""The evidence on one saga.

What invariants judge by lives here, with the questions that more than one of them asks of it; what is right and wrong
does not. Simulations and the model checker gather it. `emitter`, `step_of` and `trigger_of` are the oracle's own copies
of rule 2.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from choreo.choreography import Choreography, Node, SagaType
from choreo.event import Envelope, short
from choreo.memory import Memory
from choreo.saga import SagaState
from choreo.scope import fork
from choreo.tracker.views import NoteView, SagaView


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that is left of one saga, once everything in the topics has been read.

    Attributes:
        events: What was committed, in that order, copies too: of those from outside and, where there are no
            transactions, of any; another copy is a breach.
        notes: What the journal says, ends among it (`kind` "ended", with the event that ended the saga).
        memories: What each service remembers, by name; one that is missing remembers nothing. None where they are not
            known, or may have been dropped.
        view: The tracker's answer; None where it is not known.
        states: The states that the tracker has shown, in time.
        copies: A handler's event may be committed more than once, the same each time.
    """

    events: Sequence[Envelope]
    notes: Sequence[NoteView] = ()
    memories: Mapping[str, Memory] | None = None
    view: SagaView | None = None
    states: Sequence[SagaState] = ()
    copies: bool = False


def once(events: Iterable[Envelope]) -> dict[str, Envelope]:
    """Return each event once, the first of its copies, by id."""
    found: dict[str, Envelope] = {}
    for each in events:
        found.setdefault(each.event_id, each)
    return found


def saga_of(graph: Choreography, events: Iterable[Envelope]) -> SagaType | None:
    """Return the saga type of the start among these events; None where there is none."""
    starts = (graph.started_by(each.type) for each in events if not each.causation_id)
    return next((each for each in starts if each is not None), None)


def ends(saga: SagaType, event: Envelope) -> bool:
    """Return whether an event ends its saga."""
    return event.type in saga.completes or event.type in saga.fails


def aborts(graph: Choreography, event: Envelope) -> bool:
    """Return whether an event is a failure."""
    known = graph.events.get(event.type)
    return known is not None and known.failure


def emitter(event: Envelope) -> tuple[str, str]:
    """Return the service and handler that an event says it comes from; ("", "") from outside."""
    parts = event.source.split("/")
    return (parts[1], parts[2]) if len(parts) == 3 and not parts[0] else ("", "")  # noqa: PLR2004 - "/service/handler"


def step_of(graph: Choreography, event: Envelope) -> Node | None:
    """Return the handler whose step emitted an event: of an `otherwise`, the one that it stands for."""
    service, name = emitter(event)
    handlers = {each.handler.name: each for each in graph.handlers(service)} if service else {}
    found = handlers.get(name)
    return handlers.get(found.handler.guards, found) if found is not None else None


def trigger_of(step: Node, event: Envelope, branch: str, events: Mapping[str, Envelope]) -> str:
    """Return what a step of this branch ran for, from an event that it emitted (rule 2)."""
    handler = step.handler
    if handler.kind == "compensation":
        return event.compensates_id
    if handler.gathers is None:
        return "" if len(handler.waits_for) > 1 else event.causation_id
    for cause in (*event.causes, event.causation_id):
        at = fork(events[cause].branch) if cause in events else None
        if at is not None and at.outer == branch and events[cause].type in handler.waits_for[handler.gathers]:
            return at.key
    return ""


def undone(graph: Choreography, evidence: Evidence) -> dict[str, list[str]]:
    """Return the compensations that have run, by what they undid: an event, or a step's idempotency key (rule 14)."""
    undoers = {each.name for each in graph.nodes if each.handler.kind == "compensation"}
    found: dict[str, dict[str, None]] = {}
    for each in evidence.events:
        if each.compensates_id:
            found.setdefault(each.compensates_id, {})[".".join(emitter(each))] = None
    for note in evidence.notes:
        if note.kind in {"completed", "resolved"} and (name := f"{note.service}.{note.handler}") in undoers:
            found.setdefault(note.trigger, {})[name] = None
    return {trigger: list(names) for trigger, names in found.items()}


def named(event: Envelope) -> str:
    """Return an event's short name, with its branch."""
    return f"{short(event.type)} in {event.branch}" if event.branch else short(event.type)
