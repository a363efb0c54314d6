"""What a person's command comes to: a waiting step tried again, or taken as done.

The rules of SEMANTICS 28 live here: a command meets the fence as everything else does, so that it is safe to give twice
and the first to commit wins. The runtime hands commands over in the order of their topic. Pure.
"""

import json
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace
from pydantic import ValidationError

from choreo.errors import SchemaError
from choreo.event import Event
from choreo.memory import FenceKey
from choreo.records import Command, Note
from choreo.step.decisions import Branch, Emitted, Outcome, Reemit, Run
from choreo.step.retries import Retries
from choreo.step.saga_memory import SagaMemory
from choreo.step.settlement import Settlement


class Repair(Struct, frozen=True):
    """Carries out commands on the steps of one saga."""

    saga: SagaMemory

    def given(self, command: Command, now: datetime) -> Outcome:
        """Return what a command comes to at once, and the step to try again, if any.

        Raises:
            UndecodableRecord: If the step's events cannot be read any more.
        """
        rules, memory = self.saga.rules, self.saga.memory
        key = (command.handler, command.branch, command.trigger)
        step = memory.waiting.get(key)
        if step is None:
            fence = memory.fences.get(key)
            stands = "has not run" if fence is None else f"is {fence.status.name.lower()} already"
            return self._refused(key, command, f"the step {stands}, and nothing waits for a person here")
        anew = step._replace(attempt=0, spent=False, command_id=command.command_id)
        run = Retries(self.saga).resume(key, anew)
        if run is None:
            return self._refused(key, command, f"{rules.service} has no handler {command.handler} any more")
        if command.command == "retry":
            memory.waiting[key] = anew
            return Outcome(notes=[self._accepted("resumed", run, command)], steps=[run])
        try:
            run, emitted = self._resolved(run, command)
        except ValueError as problem:
            return self._refused(key, command, str(problem))
        outcome = Settlement(self.saga).returned(run, emitted, now)
        outcome.notes = [each for each in outcome.notes if each.kind != "completed"]
        outcome.notes.append(self._accepted("resolved", run, command)._replace(event_type=command.event_type))
        return outcome

    def _resolved(self, run: Run, command: Command) -> tuple[Run, Emitted]:
        """Return the call that a command takes as made, and what it takes it to have returned.

        Raises:
            ValueError: If the step may not emit that; the text says why.
        """
        if not command.event_type:
            return run, ()
        rules = self.saga.rules
        own, otherwise = run.handler, rules.otherwise.get(run.key[0])
        emits = {kind.__choreo_type__: (each, kind) for each in (otherwise, own) if each for kind in each.emits}
        if command.event_type not in emits:
            may = " or ".join(sorted(emits)) or "nothing"
            raise ValueError(f"{rules.service}.{run.key[0]} emits {may}, not {command.event_type}")
        handler, kind = emits[command.event_type]
        try:
            event: Event = kind.model_validate_json(json.dumps(command.payload or {}))
            rules.codec.encode(event)
        except (ValidationError, SchemaError, ValueError) as error:
            raise ValueError(f"that is no {command.event_type}: {error}") from error
        # An event that begins a branch begins one here, too: what gathers them waits for it alone.
        return replace(run, handler=handler), [Branch(event, 0, 1) if kind in handler.opens else event]

    def _accepted(self, kind: str, run: Run, command: Command) -> Note:
        return self.saga.note(kind, run, command.reason)._replace(actor=command.actor)

    def _refused(self, key: FenceKey, command: Command, why: str) -> Outcome:
        note = self.saga.note("refused", Reemit(key, command_id=command.command_id), command.reason)
        return Outcome(notes=[note._replace(error=f"{command.command}: {why}", actor=command.actor)])
