"""What new versions of services do otherwise than those that run, as far as live sagas may need it.

Manifests are compared here, handler by handler; each change comes with the question that finds the sagas which it
strands (`saga_needs`). Counting those does not live here (`stranding`). Pure.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import partial

from choreo.choreography import Choreography
from choreo.deploy.saga_needs import has_deadline, has_originals, has_steps, has_undoings, has_undoings_for
from choreo.event import short
from choreo.manifest import HandlerManifest, Manifest, SagaManifest
from choreo.tracker import SagaView

Names = frozenset[str]
Question = Callable[[SagaView], bool]
_UNTIL = "until these sagas have ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceChange:
    """One thing that a deploy changes."""

    code: str  # Its error code.
    what: str  # The change, naming the service and what of it.
    left: str  # What live sagas may have that needs the old version.
    strands: Question  # Whether one of them has it.
    fix: str  # What to do instead.
    place: str = ""  # `file.py:line` of the new handler or, where there is none, of the service.


def changes(running: Iterable[Manifest], new: Iterable[Manifest]) -> list[ServiceChange]:
    """Return what a deploy changes for sagas that are under way.

    Of what services announced, the oldest first, the last of each runs. Those that are not deployed stay as they are.
    """
    runs = {each.service: each for each in running}
    deployed = list(new)
    found: list[ServiceChange] = []
    for each in deployed:
        if each.service in runs:
            old = runs[each.service]
            found += [change for handler in old.handlers for change in _handler(old, each, handler)]
            found += [change for saga in old.sagas if (change := _saga(old, each, saga, deployed)) is not None]
    return found


def _handler(old: Manifest, new: Manifest, handler: HandlerManifest) -> Iterator[ServiceChange]:
    kept = next((each for each in new.handlers if (each.name, each.kind) == (handler.name, handler.kind)), None)
    step = (old.service, handler.name)
    match handler.kind:
        case "compensation":
            yield from _compensation(old, new, handler, kept)
        case "forward" if kept is None:
            yield _gone("CH121", "steps to finish", old, new, handler, partial(has_steps, step=step))
        case "forward" if kept is not None:
            yield from _taken(old, handler, kept)
        case "deadline" if kept is None:
            failures = frozenset(name for name, event in old.events.items() if event.failure)
            strands = partial(has_deadline, service=old.service, handler=handler, failures=failures)
            yield _gone("CH124", "deadlines set", old, new, handler, strands)


def _gone(
    code: str, left: str, old: Manifest, new: Manifest, handler: HandlerManifest, strands: Question
) -> ServiceChange:
    renamed = _successor(old, new, handler)
    step = f"{old.service}.{handler.name}"
    if renamed is None:
        fix = f'Keep {handler.name} {_UNTIL}; or, if another does its work, give that one name="{handler.name}".'
        return ServiceChange(code=code, what=f"{step} is gone", left=left, strands=strands, fix=fix, place=new.place)
    what = f"{step} is gone, and looks like {renamed.name} now"
    fix = f'Give {renamed.name} name="{handler.name}": a step is known by its name.'
    return ServiceChange(code=code, what=what, left=left, strands=strands, fix=fix, place=renamed.place)


def _successor(old: Manifest, new: Manifest, handler: HandlerManifest) -> HandlerManifest | None:
    """Return the new handler that does what one did under another name; the likeliest of several."""
    known = {each.name for each in old.handlers}
    alike = [each for each in new.handlers if each.name not in known and _shape(each) == _shape(handler)]

    def likeness(each: HandlerManifest) -> tuple[bool, float]:
        return set(each.emits) == set(handler.emits), SequenceMatcher(None, each.name, handler.name).ratio()

    return max(alike, key=likeness, default=None)


def _shape(handler: HandlerManifest) -> tuple[object, ...]:
    groups = set(map(frozenset, handler.waits_for))
    return handler.kind, groups, set(handler.causes), set(handler.original), set(handler.awaits)


def _compensation(
    old: Manifest, new: Manifest, handler: HandlerManifest, kept: HandlerManifest | None
) -> Iterator[ServiceChange]:
    step = (old.service, handler.name)
    lost = frozenset(handler.original).difference(*(each.original for each in new.handlers))
    if lost:
        yield _gone("CH122", "something to undo", old, new, handler, partial(has_originals, step=step, originals=lost))
    elif kept is None:
        yield _gone("CH122", "undoings that it began", old, new, handler, partial(has_undoings, step=step))
    elif dropped := frozenset(handler.causes).difference(kept.causes):
        strands = partial(has_undoings_for, step=step, causes=dropped)
        yield _dropped(old, kept, dropped, "undoings to finish for it", strands)


def _taken(old: Manifest, handler: HandlerManifest, kept: HandlerManifest) -> Iterator[ServiceChange]:
    """Yield what a forward step waits for no more, and what it waits for beside."""
    before, after = (frozenset[str]().union(*each.waits_for) for each in (handler, kept))
    step = (old.service, handler.name)
    if dropped := before - after:
        # Of a parameter that is gone nothing need have come yet.
        whole = any(dropped.issuperset(types) for types in handler.waits_for)
        strands = partial(has_steps, step=step, taking=None if whole else dropped)
        yield _dropped(old, kept, dropped, "steps to finish for it", strands)
    # What the service keeps, another handler finds though it came before that one did.
    remembered = frozenset[str]().union(*(node.keeps for node in Choreography([old]).nodes))
    more = [types for types in kept.waits_for if before.isdisjoint(types) and not remembered.issuperset(types)]
    if more:
        beside = frozenset[str]().union(*more)
        yield ServiceChange(
            code="CH126",
            what=f"{old.service}.{handler.name} waits for {_or(beside)}, too",
            left="steps that began without it",
            strands=partial(has_steps, step=step),
            fix=f"Leave {handler.name} as it is {_UNTIL}, and let another handler wait for {_or(beside)}.",
            place=kept.place,
        )


def _dropped(old: Manifest, kept: HandlerManifest, dropped: Names, left: str, strands: Question) -> ServiceChange:
    return ServiceChange(
        code="CH123",
        what=f"{old.service}.{kept.name} takes {_or(dropped)} no more",
        left=left,
        strands=strands,
        fix=f"Let {kept.name} take {_or(dropped)}, too, {_UNTIL}.",
        place=kept.place,
    )


def _saga(old: Manifest, new: Manifest, saga: SagaManifest, deployed: Sequence[Manifest]) -> ServiceChange | None:
    owners = {each.name: (manifest, each) for manifest in deployed for each in manifest.sagas}
    owner, kept = owners.get(saga.name, (None, saga))
    ends = {*saga.completes} - {*kept.completes} | {*saga.fails} - {*kept.fails}
    if owner is None:
        what = f"{old.service} owns saga {saga.name} no more"
    elif owner.service != old.service:
        what = f"saga {saga.name} is owned by {owner.service}, no more by {old.service}"
    elif kept.starts != saga.starts:
        what = f"saga {saga.name} starts with {short(kept.starts)}, no more with {short(saga.starts)}"
    elif ends:
        what = f"saga {saga.name} ends with {_or(ends)} no more"
    else:
        return None
    fix = f"Leave saga {saga.name} as it is {_UNTIL}, and give new ones a type of their own."
    return ServiceChange(
        code="CH125",
        what=what,
        left="its end to come",
        strands=lambda view: view.saga_type == saga.name,
        fix=fix,
        place=new.place,
    )


def _or(names: Iterable[str]) -> str:
    return " or ".join(sorted(map(short, names)))
