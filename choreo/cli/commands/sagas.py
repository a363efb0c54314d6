"""`choreo sagas list|show|watch|stats`: where sagas stand.

Arguments and watching live here; how sagas look is `saga_display`'s, and what they are is the tracker's. Nothing here
talks to a broker.
"""

import sys
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from pydantic import TypeAdapter, ValidationError
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from choreo.cli import saga_display
from choreo.cli.command_group import EXIT_PROBLEMS
from choreo.cli.output import console, json_option, moment, note, print_json
from choreo.cli.tracker_store import existing_saga, find_saga, open_tracker, store_option, type_option
from choreo.settings import read_span
from choreo.tracker import SagaView, Tracker, plain

LOOK_S = 0.5
RECENT_SAGAS = 15

_timeout = click.option("--timeout", "timeout_s", type=click.FloatRange(min=0), help="Give up after so many seconds.")


def _span(text: str) -> timedelta:
    try:
        return TypeAdapter(timedelta).validate_python(read_span(text))
    except ValidationError:
        raise click.BadParameter(f"{text!r} is no length of time such as 90s, 5m or 2d") from None


@click.group()
def sagas() -> None:
    """See where sagas stand, from the tracker's store."""


@sagas.command("list")
@click.option("--type", help="Sagas of this type only.")
@click.option(
    "--state",
    type=click.Choice(["started", "pending", "compensating", "completed", "failed"]),
    help="Sagas in this state only.",
)
@click.option(
    "--flag", type=click.Choice(["parked", "stuck", "violation", "differs"]), help="Sagas with this flag only."
)
@click.option("--older-than", type=_span, metavar="SPAN", help="Started longer ago than this, such as 5m.")
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@click.option("--after", metavar="CURSOR", help="Where the page before ended.")
@store_option
@json_option
def list_sagas(store: str | None, as_json: bool, **filters: Any) -> None:  # The arguments of `Tracker.sagas`.
    """List sagas, the one that started last first."""
    with closing(open_tracker(store)) as tracker:
        try:
            page = tracker.sagas(**filters)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    if as_json:
        print_json({"items": plain(page.items), "next": page.next})
        return
    if not page.items:
        note("No such sagas.")
        return
    out = console()
    out.print(saga_display.sagas(page.items, datetime.now(UTC), out.width))
    if page.next is not None:
        note(f"more with --after {page.next}")


@sagas.command()
@click.argument("saga")
@type_option
@click.option("--payloads", is_flag=True, help="Show the fields of each event; sensitive ones are masked.")
@store_option
@json_option
def show(saga: str, saga_type: str | None, payloads: bool, store: str | None, as_json: bool) -> None:
    """Show one saga, by its id or its business key: how it stands and why, its steps and its history."""
    with closing(open_tracker(store)) as tracker:
        view = existing_saga(tracker, saga, saga_type)
    if as_json:
        print_json(plain(view))
    else:
        console().print(saga_display.saga(view, payloads=payloads))


@sagas.command()
@click.argument("saga", required=False)
@type_option
@_timeout
@store_option
@json_option
def watch(saga: str | None, saga_type: str | None, timeout_s: float | None, store: str | None, as_json: bool) -> None:
    """Watch one saga until it is at rest, or all of them until Ctrl-C.

    Without a terminal, and with --json, one line is printed at each change.
    """
    with closing(open_tracker(store)) as tracker:
        if saga is None:
            _watch_all(tracker, timeout_s, as_json=as_json)
        else:
            _watch_one(tracker, saga, saga_type, timeout_s, as_json=as_json)


def _watch_one(tracker: Tracker, saga: str, saga_type: str | None, timeout_s: float | None, *, as_json: bool) -> None:
    seen: SagaView | None = None

    def look() -> tuple[RenderableType, bool]:
        nonlocal seen
        view = find_saga(tracker, saga, saga_type)
        if view is None:
            return Text(f"waiting for a saga with the id or key {saga}"), False
        if as_json and view != seen:
            print_json(plain(view))
        elif not as_json and not sys.stdout.isatty():
            for event in view.events[len(seen.events) if seen is not None else 0 :]:
                click.echo(f"{moment(event.at)}  {event.type}  {event.source}")
            if seen is None or view.state != seen.state:
                click.echo(f"{moment(view.updated_at)}  {view.state}")
        seen = view
        return saga_display.saga(view), view.at_rest

    if not _again(look, timeout_s, live=not as_json and sys.stdout.isatty()):
        note(f"not at rest after {timeout_s:g} s" + (f": {seen.state}" if seen is not None else ""))
        raise click.exceptions.Exit(EXIT_PROBLEMS)


def _watch_all(tracker: Tracker, timeout_s: float | None, *, as_json: bool) -> None:
    known: dict[str, SagaView] = {}
    out = console()

    def look() -> tuple[RenderableType, bool]:
        recent = tracker.recent(RECENT_SAGAS)
        for view in reversed(recent):
            if known.get(view.saga_id) == view or (sys.stdout.isatty() and not as_json):
                continue
            if as_json:
                print_json(plain(view))
            else:
                click.echo(
                    f"{moment(view.updated_at)}  {view.state}  {view.saga_type}  {view.business_key or view.saga_id}"
                )
        known.clear()
        known.update((view.saga_id, view) for view in recent)
        counted = saga_display.counts(tracker.counts(), tracker.flag_counts(), tracker.lag())
        return Group(counted, Text(""), saga_display.sagas(recent, datetime.now(UTC), out.width)), False

    _again(look, timeout_s, live=not as_json and sys.stdout.isatty())


def _again(look: Callable[[], tuple[RenderableType, bool]], timeout_s: float | None, *, live: bool) -> bool:
    """Look until done, Ctrl-C or the timeout; return whether it was done."""
    deadline = time.monotonic() + timeout_s if timeout_s is not None else None
    with Live(console=console(), auto_refresh=False) if live else nullcontext() as screen:
        while True:
            shown, done = look()
            if screen is not None:
                screen.update(shown, refresh=True)
            if done:
                return True
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(LOOK_S if deadline is None else min(LOOK_S, max(0.0, deadline - time.monotonic())))


@sagas.command()
@click.option("--watch", "again", is_flag=True, help="Look again and again until Ctrl-C.")
@store_option
@json_option
def stats(again: bool, store: str | None, as_json: bool) -> None:
    """Count sagas by type and state, and say how far the tracker is behind."""
    with closing(open_tracker(store)) as tracker:

        def look() -> tuple[RenderableType, bool]:
            counted, flags, lag = tracker.counts(), tracker.flag_counts(), tracker.lag()
            shown = saga_display.counts(counted, flags, lag)
            if as_json:
                print_json({"counts": plain(counted), "flags": plain(flags), "lag": plain(lag)})
            elif not again:
                console().print(shown)
            return shown, not again

        _again(look, None, live=again and not as_json)
