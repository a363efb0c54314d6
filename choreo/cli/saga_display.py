"""Sagas as a terminal shows them.

How one saga, a list and the counts look lives here; where they come from does not. `sagas` prints these once, or
again and again.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from choreo.cli.output import moment, span, styled
from choreo.event import short
from choreo.tracker import Lag, SagaStep, SagaView
from choreo.tracker.views import NoteView

DIM = "bright_black"
DASH = "-"
ENDED = "ended"
LAST_CHARS_MAX = 60
WIDE_COLUMNS = 120


def saga(view: SagaView, *, payloads: bool = False) -> RenderableType:
    """Return one saga: who it is and how it stands, its steps, its history, and the reasons it failed for."""
    parts: list[RenderableType] = [_header(view)]
    if view.reasons:
        parts += _section("reasons", _reasons(view))
    if view.violations:
        parts += _section("violations", *(Text(f"‼ {each}", style="red") for each in view.violations))
    parts += _section("steps", _steps(view) if view.steps else Text("none yet", style=DIM))
    parts += _section("history", _history(view, payloads=payloads))
    return Group(*parts)


def _section(title: str, *parts: RenderableType) -> list[RenderableType]:
    return [Text(""), Text(title, style="bold"), *(Padding(part, (0, 0, 0, 2)) for part in parts)]


def _header(view: SagaView) -> RenderableType:
    title = Text.assemble(styled(view.state), "  ", (view.saga_type or "saga of unknown type", "bold"))
    if view.business_key:
        title.append(f"  {view.business_key}", style="bold")
    for flag in sorted(view.flags):
        title.append("  ")
        title.append_text(styled(flag))
    lines: list[RenderableType] = [title]
    took = span((view.updated_at - view.started_at).total_seconds())
    verb = "took" if view.at_rest else "so far"
    lines.append(Text(f"{view.saga_id}   started {moment(view.started_at)}   {verb} {took}", style=DIM))
    if view.waiting_for:
        lines.append(Text.assemble(("waiting for ", "cyan"), "; ".join(view.waiting_for)))
    return Group(*lines)


def _reasons(view: SagaView) -> RenderableType:
    table = _grid()
    for reason in view.reasons:
        table.add_row(Text(f"✘ {short(reason.event)}", style="red"), Text(reason.text), _dim(_clock(reason.at)))
    return table


def _steps(view: SagaView) -> RenderableType:
    table = _grid("status", "step", "result", "took", "tries", "undoing")
    branched = any(step.branch for step in view.steps)
    failures = {reason.event for reason in view.reasons}
    for step in view.steps:
        name = Text(f"{step.service}.{step.name}")
        if branched and step.branch:
            name.append(f"  {step.branch}", style=DIM)
        result = _dim(_events(step.action)) if step.result is None else Text(_events(step.result) or "nothing")
        if step.result in failures:
            result.stylize("red")
        took = (step.executed_at - step.since).total_seconds() if step.executed_at and step.since else None
        table.add_row(
            styled(step.status),
            name,
            result,
            _dim(span(took) if took is not None else ""),
            _dim(str(step.attempts) if step.attempts > 1 else ""),
            _undoing(step),
        )
        if step.error:
            table.add_row("", "", Text(step.error, style="red" if step.status in {"parked", "failed"} else DIM))
    return table


def _undoing(step: SagaStep) -> Text:
    if step.compensated_at is not None:
        return Text(f"↩ {step.compensation} at {_clock(step.compensated_at)}", style="yellow")
    return _dim(f"by {step.compensation}" if step.compensation else "")


def _history(view: SagaView, *, payloads: bool) -> RenderableType:
    table = _grid("at", "since start", "event", "from", "because of")
    names = {event.event_id: short(event.type) for event in view.events}
    failures = {reason.event for reason in view.reasons}
    # An end says nothing that the event which ended the saga does not.
    notes = [each for each in view.notes if each.kind != ENDED]
    for event in view.events:
        name = Text(short(event.type), style="red" if event.type in failures else "")
        if event.compensates_id:
            undone = names.get(event.compensates_id)
            name = Text(f"{name.plain} ↩{f' {undone}' if undone else ''}", style="yellow")
        causes = event.causes or ((event.causation_id,) if event.causation_id else ())
        while notes and notes[0].at < event.at:
            _note(table, view, notes.pop(0))
        table.add_row(
            _clock(event.at),
            _dim(f"+{span((event.at - view.started_at).total_seconds())}"),
            name,
            Text(event.source.strip("/").replace("/", ".") or DASH),
            _dim(" + ".join(names.get(each, each) for each in causes) or "from outside"),
        )
        if payloads:
            table.add_row("", "", _dim(payload(event.payload)))
    for each in notes:
        _note(table, view, each)
    return table


def _note(table: Table, view: SagaView, note: NoteView) -> None:
    """Add a line of the journal, which is no event."""
    since = span((note.at - view.started_at).total_seconds())
    place = ".".join(part for part in (note.service, note.handler) if part)
    why = note.error or note.reason
    if note.actor:
        # A repair is shown with who asked for it; of one that was refused, both reasons matter.
        why = f"{note.actor}: {note.reason}" + (f" ({note.error})" if note.error else "")
    table.add_row(_dim(_clock(note.at)), _dim(f"+{since}"), styled(note.kind), _dim(place), _dim(why))


def payload(fields: Mapping[str, Any] | None) -> str:
    """Return an event's fields on one line; they are of any type that JSON has."""
    if fields is None:
        return "(its schema is not known yet)"
    return "  ".join(f"{name}={json.dumps(value, ensure_ascii=False, default=str)}" for name, value in fields.items())


def sagas(views: Iterable[SagaView], now: datetime, columns: int) -> RenderableType:
    """Return a list of sagas, one a line, by their age now; a narrow one has no room for what came last."""
    titles = ("state", "type", "key", "age", "saga id", "last")
    wide = columns >= WIDE_COLUMNS
    table = _grid(*titles if wide else titles[:-1])
    for column in table.columns[:5]:
        # What came last gives way; the rest is read down the column, and copied from it.
        column.no_wrap = True
    for view in views:
        state = styled(view.state)
        for flag in sorted(view.flags):
            state.append(" ")
            state.append_text(styled(flag))
        age = _dim(span((now - view.started_at).total_seconds()))
        cells = (state, view.saga_type or DASH, view.business_key or DASH, age, _dim(view.saga_id), _last(view))
        table.add_row(*cells if wide else cells[:-1])
    return table


def _last(view: SagaView) -> Text:
    """Return what a person asks first: why it failed, what it waits for, or what came last."""
    if view.reasons:
        last = Text(f"{short(view.reasons[0].event)}: {view.reasons[0].text}")
    elif view.waiting_for:
        last = Text(f"waiting for {view.waiting_for[0]}")
    else:
        last = Text(short(view.events[-1].type) if view.events else DASH)
    last.truncate(LAST_CHARS_MAX, overflow="ellipsis")
    return last


def counts(found: Mapping[str, Mapping[Any, int]], flags: Mapping[Any, int], lag: Lag) -> RenderableType:
    """Return how many sagas are in each state, by type, and how far the tracker is behind."""
    states = list(dict.fromkeys(str(state) for numbers in found.values() for state in numbers))
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column(Text("saga type", style="bold"))
    for state in states:
        table.add_column(styled(state), justify="right")
    table.add_column(Text("all", style="bold"), justify="right")
    for kind in sorted(found):
        numbers = {str(state): number for state, number in found[kind].items()}
        cells = [Text(f"{numbers.get(state, 0):,}", style="" if numbers.get(state) else DIM) for state in states]
        table.add_row(kind or "(unknown)", *cells, f"{sum(numbers.values()):,}")
    parts: list[RenderableType] = [table if found else Text("No sagas yet.")]
    raised = [Text.assemble(styled(flag), f" {number:,}") for flag, number in flags.items() if number]
    if raised:
        parts.append(Text("   ").join(raised))
    return Group(*parts, _behind(lag))


def _behind(lag: Lag) -> Text:
    if lag.checked_at is None:
        return Text("The tracker has not looked at the topics yet.", style="yellow")
    # Every answer says how old it is: a choreography's state is inferred.
    if lag.records:
        age = f", {span(lag.seconds)}" if lag.seconds is not None else ""
        text = f"{lag.partitions} partitions, {lag.records:,} records{age} behind"
    else:
        text = f"up to date {span(lag.seconds)} ago" if lag.seconds is not None else "not caught up yet"
    for number, word in ((lag.undecodable, "cannot be read"), (lag.undecoded, "wait for their schema")):
        text += f"; {number:,} records {word}" if number else ""
    return Text(text, style=DIM)


def _grid(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(titles), header_style=DIM)
    for title in titles:
        table.add_column(title, overflow="fold", justify="right" if title in {"took", "tries", "age"} else "left")
    return table


def _clock(at: datetime) -> str:
    return at.astimezone().strftime("%H:%M:%S.%f")[:-3]


def _dim(text: str) -> Text:
    return Text(text, style=DIM)


def _events(text: str) -> str:
    """Shorten the full names in `a.B | a.C` and `a.B, a.C`."""
    return " ".join(short(word) for word in text.split(" "))
