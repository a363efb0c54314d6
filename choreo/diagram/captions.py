"""The words of a picture: names as they may be shown, and what is said beside them.

Every form of the diagram writes its names through this; what is shown is not decided here (`picture`).
"""

from choreo.choreography import Node
from choreo.diagram.picture import Picture, kind_of
from choreo.handler import Kind


def visible(text: str) -> str:
    """Return a text with what cannot be seen spelled out, so that no name can break or forge a picture."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def duration(seconds: float | None) -> str:
    """Return how long a deadline is, in the largest unit that tells it whole: `7 d`, `90 s`."""
    if seconds is None:
        return "a time that its trigger says"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:g} s"


def event_caption(picture: Picture, event: str) -> list[str]:
    """Return the lines that an event's box has: its name, who decides on it, and what it is to a saga."""
    lines = [picture.label(event)]
    lines += [f"by {source.by}" for source in picture.origins if source.by and event in source.events]
    for name, owned in picture.choreography.sagas.items():
        saga = owned.manifest
        ends = (("starts", [saga.starts]), ("completes", saga.completes), ("fails", saga.fails))
        lines += [f"{what} {name}" for what, events in ends if event in events]
    return lines


def step_caption(step: Node) -> list[str]:
    """Return the lines that a step's box has: its name, and what arrows do not say."""
    sign = {Kind.COMPENSATION: "↶ ", Kind.DEADLINE: "⏱ "}.get(kind_of(step), "")
    lines = [sign + step.handler.name]
    guarded = step.guarded
    if kind_of(step) is Kind.DEADLINE:
        lines.append(f"after {duration(step.handler.within_s)}")
    if len(step.handler.waits_for) > 1 and guarded is None:
        lines.append(f"joins {len(step.handler.waits_for)}")
    if guarded is not None:
        lines.append(f"when {guarded.handler.name} gives up")
    return lines
