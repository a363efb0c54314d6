"""Where each line runs across: between the cards, never through one.

Lines run up and down in the channels left of, between and right of the columns, and across in the gaps above, between
and below the rows, or straight through a row where it is empty. Choosing that lives here; lines side by side do not
(`weaving`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from choreo.diagram.drawing.grid import Grid
from choreo.diagram.drawing.net import Net, Pin


@dataclass(frozen=True, slots=True)
class Route:
    """Where a net runs across.

    Args:
        net: The net.
        gap: In this gap; None where it does not, or runs straight.
        level: At the height of this pin, within a row; None where it does not.
    """

    net: Net
    gap: int | None = None
    level: Pin | None = None


def routes(nets: Sequence[Net], grid: Grid) -> list[Route]:
    """Return where each net runs across, in their order: where it has to run up and down least."""
    taken = {(place.row, place.card.column) for place in grid.places.values()}
    straight: set[Pin] = set()
    found: dict[int, Route] = {}
    # Short lines first: they have the least choice.
    for number in sorted(range(len(nets)), key=lambda number: (nets[number].reach[1] - nets[number].reach[0], number)):
        found[number] = _route(nets[number], taken, straight)
        straight.update(filter(None, [found[number].level]))
    return [found[number] for number in range(len(nets))]


def _route(net: Net, taken: set[tuple[int, int]], straight: set[Pin]) -> Route:
    first, last = net.reach
    if first == last:
        return Route(net)
    rows = [pin.row for pin in net.pins]
    length, gap = min((_length(net, gap), gap) for gap in range(min(rows), max(rows) + 2))
    # What meets cards on their left never is where anything meets them on their right (`card`), and two cards in one
    # row are in each other's way: where a row is empty, only a line to the same pin may be at a pin's height.
    free = (
        (_length(net, pin.height), number)
        for number, pin in enumerate(net.pins)
        if pin not in straight and all((pin.row, column) not in taken for column in range(first, last))
    )
    shortest, number = min(free, default=(length, -1))
    if number >= 0 and shortest <= length:
        return Route(net, level=net.pins[number])
    return Route(net, gap=gap)


def _length(net: Net, height: float) -> float:
    """Return how far a net runs up and down, in rows, where it runs across at this height."""
    return sum(end - begin for begin, end in falls(net, height).values())


def falls(net: Net, across: float | None) -> dict[int, tuple[float, float]]:
    """Return from where to where a net runs down in each channel, in rows.

    Args:
        net: The net.
        across: How far down it runs across; None where it does not.
    """
    heights: dict[int, list[float]] = {}
    for pin in net.pins:
        heights.setdefault(pin.channel, [] if across is None else [across]).append(pin.height)
    return {channel: (min(each), max(each)) for channel, each in heights.items()}
