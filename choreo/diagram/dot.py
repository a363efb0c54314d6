"""A choreography in DOT, for Graphviz.

DOT's statements, attributes and quoting live here; what there is to show does not (`picture`).
"""

from collections.abc import Mapping

from choreo.choreography import Choreography, Node
from choreo.diagram.captions import event_caption, step_caption, visible
from choreo.diagram.picture import Arrow, ArrowKind, EventKind, Picture, kind_of
from choreo.handler import Kind

_RED, _AMBER, _GREEN, _BLUE, _VIOLET, _GREY = "#cf2f37", "#946000", "#16794a", "#2a5bd0", "#7a48c9", "#5b687c"
_HEAD = f"""\
digraph choreography {{
  rankdir=LR;
  fontname="Helvetica";
  node [fontname="Helvetica", fontsize=11, color="{_GREY}"];
  edge [fontname="Helvetica", fontsize=9, color="{_GREY}"];"""
_STEPS: Mapping[Kind, Mapping[str, str]] = {
    Kind.FORWARD: {"shape": "box"},
    Kind.COMPENSATION: {"shape": "box", "style": "dashed", "color": _AMBER},
    Kind.DEADLINE: {"shape": "octagon", "color": _VIOLET},
    Kind.OTHERWISE: {"shape": "box", "style": "dotted", "color": _RED},
}
_EVENTS: Mapping[EventKind, Mapping[str, str]] = {
    EventKind.START: {"color": _BLUE, "style": "bold"},
    EventKind.COMPLETES: {"color": _GREEN, "peripheries": "2"},
    EventKind.FAILS: {"color": _RED, "peripheries": "2"},
    EventKind.FAILURE: {"color": _RED, "style": "dashed"},
    EventKind.UNDOING: {"color": _AMBER, "style": "dashed"},
    EventKind.FACT: {},
}
_LOOKS: Mapping[str, Mapping[str, str]] = {
    "failure": {"color": _RED, "style": "dashed"},
    "undoing": {"color": _AMBER, "style": "dashed"},
    "stops": {"style": "dotted", "arrowtail": "tee"},
    "fact": {},
}


def dot(choreography: Choreography) -> str:
    """Return a directed graph in DOT: a cluster for each service, events as ellipses and steps as boxes."""
    picture = Picture(choreography)
    lines = [_HEAD]
    for service in picture.services:
        events, steps = picture.lane(service)
        lines.append(f"  subgraph {_quoted(f'cluster {service}')} {{")
        lines.append(f'    label={_quoted(service)}; style="rounded"; color="#c4cad4";')
        lines += [f"    {_event(picture, event)}" for event in events]
        lines += [f"    {_step(step)}" for step in steps]
        lines.append("  }")
    lines += [f"  {_event(picture, event)}" for event in picture.lane("")[0]]
    lines += [f"  {_arrow(picture, arrow)}" for arrow in picture.arrows]
    return "\n".join([*lines, "}"]) + "\n"


def _event(picture: Picture, event: str) -> str:
    attributes = {"label": _lines(event_caption(picture, event)), **_EVENTS[picture.kind(event)]}
    return f"{_quoted(f'event {event}')} {_attributes(attributes)};"


def _step(step: Node) -> str:
    attributes = {"label": _lines(step_caption(step)), **_STEPS[kind_of(step)]}
    return f"{_quoted(f'step {step.name}')} {_attributes(attributes)};"


def _arrow(picture: Picture, arrow: Arrow) -> str:
    ends = [
        _quoted(f"{'step' if arrow.from_step else 'event'} {arrow.source}"),
        _quoted(f"{'step' if arrow.to_step else 'event'} {arrow.target}"),
    ]
    attributes = {**({"label": arrow.note} if arrow.note else {}), **_LOOKS[picture.look(arrow)]}
    if arrow.kind in {ArrowKind.UNDOES, ArrowKind.STOPS}:
        # It points at what comes earlier, and Graphviz orders by where an edge begins.
        ends.reverse()
        attributes["dir"] = "back"
    return f"{' -> '.join(ends)} {_attributes(attributes)};"


def _attributes(attributes: Mapping[str, str]) -> str:
    return f"[{', '.join(f'{name}={_quoted(value)}' for name, value in attributes.items())}]"


def _lines(parts: list[str]) -> str:
    return "\n".join(visible(part) for part in parts)


def _quoted(text: str) -> str:
    """Return a quoted string; in labels, which are read once more, it is the same text again."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
