"""Orders out of purchases.csv: the same line always makes the same order.

Reading the file and filling in what it lacks (titles, a card, an address) live here; publishing does not. `place`, the
demo and the tests take their orders from here; what becomes of them is for the services to say.
"""

import csv
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from itertools import count
from pathlib import Path

from ..events import Address, OrderLine, OrderPlaced

PURCHASES = Path(__file__).parents[1] / "data" / "purchases.csv"

# Customers are spread over these by number.
REGIONS = (
    "California",
    "New York",
    "Texas",
    "Florida",
    "Illinois",
    "Pennsylvania",
    "Ohio",
    "Michigan",
    "New Jersey",
    "Georgia",
    "Virginia",
    "Massachusetts",
    "Washington",
    "Indiana",
    "Tennessee",
    "Missouri",
    "Maryland",
    "Wisconsin",
    "Minnesota",
    "Armed Forces Pacific",
)
TITLES = (
    "Kind of Blue",
    "Abbey Road",
    "Blue",
    "Pet Sounds",
    "Graceland",
    "Rumours",
    "Horses",
    "OK Computer",
    "Tapestry",
    "A Love Supreme",
    "Astral Weeks",
)
STREETS = ("Main St", "Oak Ave", "Maple Dr", "Cedar Ln", "Lake Rd")


def read_purchases(path: Path = PURCHASES) -> list[dict[str, str]]:
    """Return the lines of the file, each by column name."""
    with path.open(newline="", encoding="ascii") as file:
        return list(csv.DictReader(file))


def order(row: int, purchase: dict[str, str], repeat: int = 1) -> OrderPlaced:
    """Return the order that a purchase makes.

    Args:
        row: Number of the purchase, counted from 1.
        purchase: The line of the file, by column name.
        repeat: Which repetition of the whole file, counted from 1.
    """
    customer = int(purchase["customer_id"])
    total = Decimal(purchase["amount"])
    po_box = customer % 7 == 3  # noqa: PLR2004 - one customer in seven
    return OrderPlaced(
        order_id=f"{row}-{repeat}",
        customer_id=purchase["customer_id"],
        placed_on=date.fromisoformat(purchase["date"]),
        lines=_lines(row, customer, int(purchase["quantity"]), total),
        total=total,
        card=f"4000000000{customer:06}",
        address=Address(
            street=f"PO Box {customer}" if po_box else f"{customer % 997 + 1} {STREETS[customer % len(STREETS)]}",
            region=REGIONS[customer % len(REGIONS)],
            po_box=po_box,
        ),
    )


def orders_from(purchases: Sequence[dict[str, str]], first_repeat: int = 1) -> Iterator[OrderPlaced]:
    """Yield the orders of the whole file, again and again without end, each repetition with order ids of its own."""
    for repeat in count(first_repeat):
        for row, purchase in enumerate(purchases, start=1):
            yield order(row, purchase, repeat)


def _lines(row: int, customer: int, quantity: int, total: Decimal) -> list[OrderLine]:
    """Spread CDs and cents over one to three titles, the first ones getting what doesn't divide."""
    titles = min(quantity, 1 + customer % 3)
    cents = int(total * 100)
    return [
        OrderLine(
            title=TITLES[(row + index) % len(TITLES)],
            quantity=quantity // titles + (index < quantity % titles),
            amount=Decimal(cents // titles + (index < cents % titles)).scaleb(-2),
        )
        for index in range(titles)
    ]
