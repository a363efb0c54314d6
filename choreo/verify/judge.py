"""What must never be, and what must be in the end.

States of the model are put before the invariants here (`choreo.invariants`), with what the tracker would show of them;
what an invariant demands does not live here. I6, that effects add up, is asked of the effects that the model knows: a
step's, until something commits it or undoes it. Pure.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from choreo.event import Envelope
from choreo.invariants import Breach, Evidence, agreed, ended, single
from choreo.invariants import judge as judge_whole
from choreo.memory import Memory, Status
from choreo.records import ENDS, JOURNAL
from choreo.tracker.projection import project
from choreo.tracker.row_decoder import note_row
from choreo.tracker.rows import ENDED, EventRow, NoteRow
from choreo.transport import Record
from choreo.verify.model_state import OUTSIDE, Action, ModelState
from choreo.verify.saga_model import SagaModel

_OPEN = {"I2": single, "I3": ended, "I5": agreed}
"""What must be true of a saga that waits for a person, too."""


class Judge:
    """The invariants, asked of one model."""

    def __init__(self, model: SagaModel) -> None:
        self._model = model
        self._choreography = model.choreography
        self._judged: set[tuple[tuple[int, ...], int, int]] = set()
        self._ends = frozenset(kind.__choreo_type__ for kind in (*model.saga.completes, *model.saga.fails))

    def on_the_way(self, before: ModelState, action: Action) -> Breach | None:
        """Return what an action did that nothing may ever do."""
        move = action.move
        if move is None or action.crash:
            return None
        service = self._model.actors[action.service].name
        if move.parked and not any(each.failed for each in move.attempts):
            return Breach("I4", f"{service} sets aside a step that has not failed: {move.parked}")
        if move.unread:
            return Breach("I4", f"{service} cannot take what comes, and puts it into its dead letters")
        if twice := self._model.committed_twice(before, move):
            return Breach("I2", f"{service} commits {twice.type} again: its step has run twice")
        return None

    def at_rest(
        self, state: ModelState, actions: Sequence[tuple[Action, ModelState]], way: Callable[[], Iterable[Action]]
    ) -> Breach | None:
        """Return what is wrong where nothing is left to do, or nothing but to wait for people outside.

        A state from which `actions` lead on is not judged; `way` tells what led to it.
        """
        model = self._model
        if any(action.service < len(model.actors) for action, _ in actions):
            return None
        if any(model.matters(after, action) for action, after in actions):
            return None  # People outside may still publish something that matters.
        if (settled := (state.memories, state.history, state.loose)) in self._judged:
            return None
        memories = model.remembered(state)
        evidence = self._evidence(memories, model.history(state), way())
        if any(memory.fences[key].status is Status.PARKED for memory in memories.values() for key in memory.waiting):
            found = [Breach(name, text) for name, ask in _OPEN.items() for text in ask(self._choreography, evidence)]
        else:
            found = [*judge_whole(self._choreography, evidence), *self._left(state)]
        if not found:
            self._judged.add(settled)
        return found[0] if found else None

    def _left(self, state: ModelState) -> Iterator[Breach]:
        for name in self._model.register.steps(state.loose):
            yield Breach("I6", f"the saga is over, and what {name} did before a crash or an error is not undone")

    def _evidence(self, memories: dict[str, Memory], events: list[Envelope], way: Iterable[Action]) -> Evidence:
        notes = dict(note for action in way if action.move and not action.crash for note in action.move.notes)
        noted = [self._noted(place, note_id, body) for place, (note_id, body) in enumerate(notes.items())]
        noted += [_ended(each) for each in events if each.type in self._ends]
        view = project(self._choreography, self._model.saga_id, map(_seen, range(len(events)), events), noted)
        return Evidence(events=events, notes=view.notes, memories=memories, view=view)

    def _noted(self, place: int, note_id: str, body: bytes) -> NoteRow:
        record = Record(JOURNAL, 0, place, self._model.saga_id.encode(), body, [("ce_id", note_id.encode())], 0)
        return note_row(record)


def _seen(place: int, envelope: Envelope) -> EventRow:
    return EventRow(
        saga_id=envelope.saga_id,
        event_id=envelope.event_id,
        type=envelope.type,
        topic=envelope.event.__choreo_topic__,
        partition=0,
        offset=place,
        source=envelope.source if envelope.source != OUTSIDE else "",
        causation_id=envelope.causation_id,
        causes=",".join(envelope.causes),
        compensates_id=envelope.compensates_id,
        branch=envelope.branch,
        hop=envelope.hop,
        saga_type=envelope.saga_type,
        business_key=envelope.business_key,
        digest=envelope.body,
    )


def _ended(event: Envelope) -> NoteRow:
    note_id = f"{ENDED}:{event.event_id}"
    return NoteRow(event.saga_id, note_id, ENDED, ENDS, 0, 0, event_type=event.type, event_id=event.event_id)
