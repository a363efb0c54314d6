"""What a person's command comes to: a waiting step tried again, or taken as done.

The rules of SEMANTICS 28 live here: a command meets the fence as everything else does, so that it is safe to give twice
and the first to commit wins. `runtime` hands commands over in the order of their topic. Pure.
"""

import json
from datetime import datetime

from pydantic import ValidationError

from choreo.command import Command
from choreo.errors import SchemaError, UndecodableRecord
from choreo.event import Event
from choreo.memory import Memory
from choreo.service import Later
from choreo.step.call import Branch, Call, Note, Outcome
from choreo.step.failing import note, resume
from choreo.step.reactions import Rules
from choreo.step.recording import key_of
from choreo.step.settle import settle


def repair(rules: Rules, memory: Memory, saga_id: str, command: Command, now: datetime) -> tuple[Call | None, Outcome]:
    """Return the step to take, if any, and what a command comes to at once.

    Raises:
        UndecodableRecord: If the step's events cannot be read any more.
    """
    key = (command.handler, command.branch, command.trigger)
    step = memory.waiting.get(key)
    if step is None:
        fence = memory.fences.get(key)
        stands = "has not run" if fence is None else f"is {fence.status.name.lower()} already"
        return None, _refused(rules, saga_id, command, f"the step {stands}, and nothing waits for a person here")
    memory.waiting[key] = step._replace(attempt=0, spent=False, command_id=command.command_id)
    try:
        call = resume(rules, memory, saga_id, key)
    except UndecodableRecord:
        memory.waiting[key] = step
        raise
    if call is None:
        memory.waiting[key] = step
        return None, _refused(rules, saga_id, command, f"{rules.service} has no handler {command.handler} any more")
    if command.command == "retry":
        return call, Outcome(notes=[_told(rules, call, "resumed", command)])
    event, problem = _event(rules, call, command)
    if problem:
        memory.waiting[key] = step
        return None, _refused(rules, saga_id, command, problem)
    emitted: list[Event | Later[Event] | Branch] = []
    if event is not None:
        # An event that begins a branch begins one here, too: what gathers them waits for it alone.
        emitted.append(Branch(event, 0, 1) if type(event) in call.handler.opens else event)
    outcome = settle(rules, memory, call, emitted, now)
    outcome.notes = [each for each in outcome.notes if each.kind != "completed"]
    outcome.notes.append(_told(rules, call, "resolved", command)._replace(event_type=command.event_type))
    return None, outcome


def _event(rules: Rules, call: Call, command: Command) -> tuple[Event | None, str]:
    """Return the event that a step is to be taken to have emitted, or why it cannot be that."""
    if not command.event_type:
        return None, ""
    otherwise = rules.otherwise.get(call.name)
    for handler in (call.handler, otherwise):
        kind = (
            next((each for each in handler.emits if each.__choreo_type__ == command.event_type), None)
            if handler
            else None
        )
        if kind is None or handler is None:
            continue
        try:
            event = kind.model_validate_json(json.dumps(command.payload or {}))
            rules.codec.encode(event)
        except (ValidationError, SchemaError, ValueError) as error:
            return None, f"that is no {command.event_type}: {error}"
        if handler is otherwise:
            call.handler, call.stands_for = handler, call.name
        return event, ""
    may = sorted(each.__choreo_type__ for each in (*call.handler.emits, *(otherwise.emits if otherwise else ())))
    return None, f"{rules.service}.{call.name} emits {' or '.join(may) or 'nothing'}, not {command.event_type}"


def _told(rules: Rules, call: Call, kind: str, command: Command) -> Note:
    return note(rules, call, kind, reason=command.reason)._replace(actor=command.actor)


def _refused(rules: Rules, saga_id: str, command: Command, why: str) -> Outcome:
    key = key_of(rules, saga_id, command.handler, command.branch, command.trigger)
    return Outcome(
        notes=[
            Note(
                "refused",
                command.handler,
                command.branch,
                command.trigger,
                key,
                reason=command.reason,
                error=f"{command.command}: {why}",
                actor=command.actor,
                command_id=command.command_id,
            )
        ]
    )
