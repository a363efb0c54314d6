"""A choreography as a Mermaid flowchart, for Markdown.

Mermaid's nodes, arrows and escapes live here; what there is to show does not (`picture`).
"""

from collections.abc import Iterator

from choreo.choreography import Choreography, Node
from choreo.diagram.captions import event_caption, step_caption, visible
from choreo.diagram.picture import Arrow, EventKind, Picture, kind_of
from choreo.handler import Kind

_ARROWS = {"fact": "-->", "failure": "-.->", "undoing": "-.->", "stops": "-.-x"}
_SHAPES = {
    Kind.FORWARD: ("[", "]"),
    Kind.COMPENSATION: ("[/", "/]"),
    Kind.DEADLINE: ("{{", "}}"),
    Kind.OTHERWISE: ("[", "]"),
}
# Both colours are said, so that they stand on light pages and on dark ones.
_CLASSES = f"""\
  classDef {Kind.FORWARD} fill:#ffffff,stroke:#5b687c,color:#1d2330
  classDef {Kind.COMPENSATION} fill:#fff8e6,stroke:#946000,color:#1d2330,stroke-dasharray:5 3
  classDef {Kind.DEADLINE} fill:#f4eefc,stroke:#7a48c9,color:#1d2330
  classDef {Kind.OTHERWISE} fill:#ffffff,stroke:#cf2f37,color:#1d2330,stroke-dasharray:2 3
  classDef {EventKind.FACT} fill:#eef1f5,stroke:#8a94a6,color:#1d2330
  classDef {EventKind.START} fill:#e6eefc,stroke:#2a5bd0,color:#1d2330,stroke-width:2px
  classDef {EventKind.COMPLETES} fill:#e3f5ea,stroke:#16794a,color:#1d2330,stroke-width:3px
  classDef {EventKind.FAILS} fill:#fde8e8,stroke:#cf2f37,color:#1d2330,stroke-width:3px
  classDef {EventKind.FAILURE} fill:#fde8e8,stroke:#cf2f37,color:#1d2330,stroke-dasharray:5 4
  classDef {EventKind.UNDOING} fill:#fff8e6,stroke:#946000,color:#1d2330"""
_LINES = {"failure": "stroke:#d9363e", "undoing": "stroke:#c98500", "stops": "stroke:#8a94a6"}


def mermaid(choreography: Choreography) -> str:
    """Return a Mermaid flowchart: a subgraph for each service, events and steps from left to right."""
    picture = Picture(choreography)
    lines = ["flowchart LR"]
    for service in picture.services:
        events, steps = picture.lane(service)
        lines.append(f'  subgraph {_id("lane", service)}["{_text(service)}"]')
        lines += [f"    {_event(picture, event)}" for event in events]
        lines += [f"    {_step(step)}" for step in steps]
        lines.append("  end")
    lines += [f"  {_event(picture, event)}" for event in picture.lane("")[0]]
    lines += [f"  {_arrow(picture, arrow)}" for arrow in picture.arrows]
    return "\n".join([*lines, _CLASSES, *_colours(picture)]) + "\n"


def _event(picture: Picture, event: str) -> str:
    return f'{_id("event", event)}(["{_lines(event_caption(picture, event))}"]):::{picture.kind(event)}'


def _step(step: Node) -> str:
    opening, closing = _SHAPES[kind_of(step)]
    return f'{_id("step", step.name)}{opening}"{_lines(step_caption(step))}"{closing}:::{kind_of(step)}'


def _arrow(picture: Picture, arrow: Arrow) -> str:
    source = _id("step" if arrow.from_step else "event", arrow.source)
    target = _id("step" if arrow.to_step else "event", arrow.target)
    return f"{source} {_ARROWS[picture.look(arrow)]}{f'|{arrow.note}|' if arrow.note else ''} {target}"


def _colours(picture: Picture) -> Iterator[str]:
    """Return the colours of arrows, which Mermaid knows by number alone."""
    found: dict[str, list[str]] = {}
    for number, arrow in enumerate(picture.arrows):
        found.setdefault(picture.look(arrow), []).append(str(number))
    for look, colour in _LINES.items():
        if look in found:
            yield f"  linkStyle {','.join(found[look])} {colour}"


def _lines(parts: list[str]) -> str:
    return "<br/>".join(_text(part) for part in parts)


def _text(text: str) -> str:
    """Return a text with everything spelled as a character code that could mean something to Mermaid."""
    return "".join(each if each.isalnum() or each in " _-.,:" else f"#{ord(each)};" for each in visible(text))


def _id(what: str, name: str) -> str:
    """Return an id; the prefix keeps it from being one of Mermaid's words, and no two names give the same."""
    known = (each if each in "._" or (each.isascii() and each.isalnum()) else f"${ord(each):x}" for each in name)
    return f"{what}.{''.join(known)}"
