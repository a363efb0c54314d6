"""A choreography as text, for a terminal.

Indentation, signs and colours live here; what there is to show does not (`picture`). What undoes a step stands below
it, and events are written as in type hints: `A + B` where both are waited for, `A | B` for any one, `list[A]` for
branches, `Later[A]`.
"""

from collections.abc import Callable, Iterator, Sequence

from choreo.choreography import Choreography, Node, SagaType
from choreo.diagram.captions import duration, visible
from choreo.diagram.picture import EventKind, Picture, kind_of
from choreo.handler import Kind
from choreo.manifest import HandlerManifest

Paint = Callable[[str, str], str]
_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "magenta": "35", "cyan": "36"}
_SIGNS = {
    EventKind.START: ("●", "cyan"),
    EventKind.COMPLETES: ("✔", "green"),
    EventKind.FAILS: ("✘", "red"),
    EventKind.FAILURE: ("✗", "red"),
    EventKind.UNDOING: ("↩", "yellow"),
    EventKind.FACT: ("·", ""),
}
_KINDS = {
    Kind.FORWARD: ("", "bold"),
    Kind.COMPENSATION: ("↶ ", "yellow"),
    Kind.DEADLINE: ("⧗ ", "magenta"),
    Kind.OTHERWISE: ("⚠ ", "red"),
}


def text(choreography: Choreography, *, coloured: bool = False) -> str:
    """Return what each service does, line by line.

    Args:
        choreography: All services together.
        coloured: With the escape sequences that terminals take for colours.
    """
    telling = _Telling(Picture(choreography), _ansi if coloured else _plain)
    return "\n\n".join(telling.blocks()) + "\n"


def _plain(text: str, _: str) -> str:
    return text


def _ansi(text: str, colour: str) -> str:
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if colour else text


class _Telling:
    def __init__(self, picture: Picture, paint: Paint) -> None:
        self._picture = picture
        self._paint = paint
        self._by_name = {step.name: step for step in picture.steps}

    def blocks(self) -> Iterator[str]:
        """Return one text for each saga type and each service."""
        for owned in self._picture.choreography.sagas.values():
            yield "\n".join(self._saga(owned))
        for service in ("", *self._picture.services):
            lines = list(self._service(service))
            if lines:
                yield "\n".join([self._paint(visible(service) or "elsewhere", "bold"), *lines])

    def _saga(self, owned: SagaType) -> Iterator[str]:
        saga = owned.manifest
        yield f"saga {self._paint(visible(saga.name), 'bold')}, owned by {visible(owned.owner)}"
        yield f"  starts with {self._union([saga.starts])}"
        yield f"  completes with {self._union(saga.completes)}"
        if saga.fails:
            yield f"  fails with {self._union(saga.fails)}"

    def _service(self, service: str) -> Iterator[str]:
        for source in self._picture.origins:
            if source.service == service:
                yield from (f"  {self._emitted(event, by=source.by)}" for event in source.events)
        _, steps = self._picture.lane(service)
        hosts = {step.name: self._picture.host(step) for step in steps}
        written: set[str] = set()
        for step in (*(each for each in steps if hosts[each.name] is None), *steps):
            yield from self._with_attached(step, 1, hosts, written)

    def _with_attached(self, step: Node, depth: int, hosts: dict[str, Node | None], written: set[str]) -> Iterator[str]:
        """Return a step and below it the steps that undo it or stand in for it, each once."""
        if step.name in written:
            return
        written.add(step.name)
        yield from self._step(step, "  " * depth)
        for name, host in hosts.items():
            if host is not None and host.name == step.name:
                yield from self._with_attached(self._by_name[name], depth + 1, hosts, written)

    def _step(self, step: Node, indent: str) -> Iterator[str]:
        sign, colour = _KINDS[kind_of(step)]
        name = self._paint(sign + visible(step.handler.name), colour)
        yield f"{indent}{name} {', '.join(self._conditions(step))}".rstrip()
        opens, later = step.opens, step.delays
        for event in step.handler.emits:
            form = "list[{}]" if event in opens else "Later[{}]" if event in later else "{}"
            yield f"{indent}  {self._emitted(event, form)}"

    def _conditions(self, step: Node) -> Iterator[str]:
        """Return what sets a step going and what keeps it from that."""
        handler = step.handler
        if kind_of(step) is Kind.COMPENSATION:
            yield f"{self._dim('←')} {self._union(handler.causes)}"
            nothing = " or nothing" if handler.original_optional else ""
            yield f"{self._dim('undoes')} {self._union(handler.original)}{nothing}"
        elif step.guarded is not None:
            yield self._dim(f"when {visible(handler.guards)} gives up")
        elif handler.waits_for:
            yield f"{self._dim('←')} {' + '.join(self._ports(handler))}"
        if kind_of(step) is Kind.DEADLINE:
            yield f"{self._dim(f'after {duration(handler.within_s)} without')} {self._union(handler.awaits)}"
        if handler.unless:
            yield f"{self._dim('unless')} {self._union(handler.unless)}"

    def _ports(self, handler: HandlerManifest) -> Iterator[str]:
        for place, types in enumerate(handler.waits_for):
            union = self._union(types)
            if place == handler.gathers:
                yield f"list[{union}]"
            else:
                yield f"({union})" if len(types) > 1 and len(handler.waits_for) > 1 else union

    def _emitted(self, event: str, form: str = "{}", by: str = "") -> str:
        """Return an event with its sign and whom it sets going."""
        sign, colour = _SIGNS[self._picture.kind(event)]
        takers = ", ".join(visible(step.name) for step in self._picture.takers(event))
        parts = [self._paint(f"{sign} {form.format(self._label(event))}", colour)]
        parts += [self._dim(f"by {visible(by)}")] if by else []
        parts += [self._dim(f"→ {takers}")] if takers else []
        return " ".join(parts)

    def _union(self, events: Sequence[str]) -> str:
        return " | ".join(self._paint(self._label(event), _SIGNS[self._picture.kind(event)][1]) for event in events)

    def _label(self, event: str) -> str:
        return visible(self._picture.label(event))

    def _dim(self, text: str) -> str:
        return self._paint(text, "dim")
