"""Where each card of a drawing stands.

Lanes, the rows within them and the order of both live here, in whole numbers; pixels and lines do not (`layout`,
`nets`). Pure, and the same for the same picture.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations
from typing import NamedTuple

from choreo.diagram.picture import Picture
from choreo.svg.cards import Card

PERMUTED_MAX = 7
"""Lanes of which every order is tried; of more, neighbours change places while that shortens the lines."""
ROUNDS_MAX = 20


class Cell(NamedTuple):
    """Where a card stands; its column it knows itself."""

    card: Card
    row: int  # Its row, counted from the top of the drawing.


class Grid(NamedTuple):
    """All cards in rows and columns."""

    places: Mapping[str, Cell]  # By the card's name.
    # Services from top to bottom, each with its first row and the one after its last.
    lanes: Sequence[tuple[str, int, int]]
    columns: int  # How many there are.

    @property
    def rows(self) -> int:
        """Return how many rows there are."""
        return self.lanes[-1][2] if self.lanes else 0


def grid(picture: Picture, cards: Sequence[Card]) -> Grid:
    """Return where each card stands: one lane a service, and no two cards in one place."""
    stacks: dict[str, dict[int, list[Card]]] = {}
    for card in cards:
        stacks.setdefault(card.service, {}).setdefault(card.column, []).append(card)
    places: dict[str, Cell] = {}
    lanes: list[tuple[str, int, int]] = []
    first = 0
    for service in _lane_order(picture, [each for each in ("", *picture.services) if each in stacks]):
        for stack in stacks[service].values():
            for row, card in enumerate(_stacked(stack)):
                places[card.name] = Cell(card, first + row)
        last = first + max(len(stack) for stack in stacks[service].values())
        lanes.append((service, first, last))
        first = last
    return Grid(places, lanes, max((card.column for card in cards), default=-1) + 1)


def _stacked(cards: Sequence[Card]) -> list[Card]:
    """Return the cards of one place from top to bottom: sources, then steps, each with what undoes it below."""
    found: dict[str, Card] = {}

    def put(card: Card) -> None:
        if card.name not in found:
            found[card.name] = card
            for each in cards:
                if each.host == card.name:
                    put(each)

    here = {card.name for card in cards}
    for card in (*(each for each in cards if each.host not in here), *cards):
        put(card)
    return list(found.values())


def _lane_order(picture: Picture, services: Sequence[str]) -> list[str]:
    """Return the lanes from top to bottom: services that share no event, even through others, keep to themselves."""
    nets = _nets(picture)
    groups = [{service} for service in services]
    for net in nets:
        joined = set(net).union(*(group for group in groups if group & net))
        groups = [group for group in groups if not group & net] + [joined]
    found = [[each for each in services if each in group] for group in groups]
    ordered = sorted(filter(None, found), key=lambda group: services.index(group[0]))
    return [service for group in ordered for service in _shortest(group, nets)]


def _shortest(services: Sequence[str], nets: Sequence[frozenset[str]]) -> Sequence[str]:
    """Return the order of lanes in which the lines between them are shortest, the first one that is.

    Where a saga starts stays on top: that is where people begin to read.
    """
    stay = 2 if services[0] == "" else 1
    top, rest = services[:stay], services[stay:]
    if len(rest) < PERMUTED_MAX:
        return min(([*top, *each] for each in permutations(rest)), key=lambda order: _length(order, nets))
    touching = {service: [net for net in nets if service in net] for service in services}
    order = list(services)
    for _ in range(ROUNDS_MAX):
        before = list(order)
        for place in range(stay, len(order) - 1):
            one, other = order[place : place + 2]
            swapped = [*order[:place], other, one, *order[place + 2 :]]
            concerned = touching[one] + touching[other]
            if _length(swapped, concerned) < _length(order, concerned):
                order = swapped
        if order == before:
            break
    return order


def _nets(picture: Picture) -> list[frozenset[str]]:
    """Return for each event the services that its line touches."""
    return [
        frozenset(
            [step.service for step in picture.choreography.producers(event)]
            + [source.service for source in picture.origins if event in source.events]
            + [step.service for step in picture.takers(event)]
        )
        for event in picture.events
    ]


def _length(order: Iterable[str], nets: Sequence[frozenset[str]]) -> int:
    at = {service: place for place, service in enumerate(order)}
    return sum(max(found) - min(found) for net in nets if (found := [at[service] for service in net if service in at]))
