"""Does it all add up? What was placed against what the tracker, the databases and the oracle say.

Reading the five database files and comparing live here; showing it is `screen`'s. The demo asks once at its end, when
nothing moves any more.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from choreo import SagaState

from ..events import OrderPlaced
from ..inventory import Stock
from ..notification import Postbox
from ..oracle import COMPLETED, expected
from ..order import OrderBook
from ..payment import Till
from ..shipping import Dispatch

_ENDINGS = {True: "confirmed", False: "cancelled"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What the five services have written down.

    Attributes:
        endings: "confirmed" or "cancelled", by order id.
        messages: How many customers were told.
    """

    endings: Mapping[str, str]
    captured: Decimal
    refunded: Decimal
    reserved: int
    released: int
    booked: int
    cancelled: int
    messages: int

    @classmethod
    def read(cls, data: Path) -> "Books":
        """Read the database files in this folder."""
        with closing(OrderBook(data / "order.db")) as book, closing(Till(data / "payment.db")) as till:
            endings = book.endings()
            captured, refunded = till.totals()
        with closing(Stock(data / "inventory.db")) as stock, closing(Dispatch(data / "shipping.db")) as dispatch:
            reserved, released = stock.totals()
            booked, cancelled = dispatch.totals()
        with closing(Postbox(data / "notification.db")) as postbox:
            messages = postbox.total()
        return cls(
            endings=endings,
            captured=captured,
            refunded=refunded,
            reserved=reserved,
            released=released,
            booked=booked,
            cancelled=cancelled,
            messages=messages,
        )


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that must add up.

    Attributes:
        label: What it is about.
        sum: The two sides, in words and numbers.
        holds: Whether they agree.
    """

    label: str
    sum: str
    holds: bool


def account(
    placed: Sequence[OrderPlaced],
    purchases: Sequence[Mapping[str, str]],
    counts: Mapping[SagaState, int],
    books: Books,
) -> list[Line]:
    """Return everything that must add up, and whether it does.

    Args:
        placed: Every order the brokers confirmed, each once.
        purchases: The lines of the CSV they were made of.
        counts: Sagas by state, as the tracker counts them.
        books: What the services have written down.
    """
    completed, failed = counts.get(SagaState.COMPLETED, 0), counts.get(SagaState.FAILED, 0)
    running = len(placed) - completed - failed
    confirmed = [order for order in placed if books.endings.get(order.order_id) == "confirmed"]
    amount = sum((order.total for order in confirmed), Decimal("0.00"))
    quantity = sum(line.quantity for order in confirmed for line in order.lines)
    foreseen = sum(
        books.endings.get(order.order_id) == _ENDINGS[expected(_purchase(purchases, order)).outcome == COMPLETED]
        for order in placed
    )
    earned, gone = books.captured - books.refunded, books.reserved - books.released
    return [
        Line(
            "Orders",
            f"{len(placed):,} placed = {completed:,} completed + {failed:,} failed + {running:,} still running",
            running == 0 and completed == len(confirmed),
        ),
        Line(
            "Money",
            f"{books.captured:,} captured - {books.refunded:,} refunded = {earned:,}; completed orders: {amount:,}",
            earned == amount,
        ),
        Line(
            "Stock",
            f"{books.reserved:,} CDs reserved - {books.released:,} released = {gone:,}; completed orders: {quantity:,}",
            gone == quantity,
        ),
        Line(
            "Parcels",
            f"{books.booked:,} booked - {books.cancelled:,} cancelled = {books.booked - books.cancelled:,};"
            f" completed orders: {completed:,}",
            books.booked - books.cancelled == completed,
        ),
        Line(
            "Messages",
            f"{books.messages:,} customers told of {len(placed):,} orders",
            books.messages == len(placed),
        ),
        Line(
            "Outcomes",
            f"{foreseen:,} of {len(placed):,} ended as computed from the CSV alone",
            foreseen == len(placed),
        ),
    ]


def _purchase(purchases: Sequence[Mapping[str, str]], order: OrderPlaced) -> Mapping[str, str]:
    return purchases[int(order.order_id.partition("-")[0]) - 1]
