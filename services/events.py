"""The events of order fulfilment: all that the five services know of each other.

Facts and failures by topic, and the plain models nested in them, live here; who emits and who reacts does not. Every
service imports the events it names in its handlers; avro/ holds the same contract for other languages.
"""

from datetime import date
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, Field

from choreo import Event, Failure, Sensitive

Money = Annotated[Decimal, Field(max_digits=12, decimal_places=2)]
"""US dollars, to the cent."""


class OrderLine(BaseModel):
    """One title of an order."""

    title: str
    quantity: int
    amount: Money


class Address(BaseModel):
    """Where an order goes."""

    street: Annotated[str, Sensitive()]
    region: str
    po_box: bool = False


class OrderPlaced(Event, topic="orders"):
    """A customer ordered. Starts the saga."""

    order_id: str
    customer_id: str
    placed_on: date
    lines: list[OrderLine]
    total: Money
    card: Annotated[str, Sensitive()]
    address: Address


class OrderConfirmed(Event, topic="orders"):
    """The order is paid and on its way. Completes the saga."""

    order_id: str
    total: Money
    parcel: str


class OrderRejected(Failure, topic="orders"):
    """The last review before confirming refused the order."""

    order_id: str


class OrderCancelled(Event, topic="orders"):
    """The order will not be fulfilled. Fails the saga."""

    order_id: str
    reason: str


class InventoryReserved(Event, topic="inventory"):
    """The CDs of an order are set aside."""

    order_id: str
    quantity: int


class OutOfStock(Failure, topic="inventory"):
    """A line asks for more CDs of one title than are kept."""

    order_id: str


class InventoryReleased(Event, topic="inventory"):
    """Undoes InventoryReserved."""

    order_id: str
    quantity: int


class PaymentCaptured(Event, topic="payments"):
    """The card was charged."""

    order_id: str
    amount: Money
    receipt: str


class PaymentDeclined(Failure, topic="payments"):
    """The card was not charged."""

    order_id: str


class PaymentRefunded(Event, topic="payments"):
    """Undoes PaymentCaptured; `amount` is 0.00 where nothing had been charged."""

    order_id: str
    amount: Money


class AddressConfirmed(Event, topic="shipping"):
    """The carrier serves the address."""

    order_id: str
    region: str
    po_box: bool
    weight_g: int


class AddressRejected(Failure, topic="shipping"):
    """The carrier doesn't serve the address."""

    order_id: str


class ShipmentCreated(Event, topic="shipping"):
    """A parcel is booked with the carrier."""

    order_id: str
    parcel: str


class ShipmentFailed(Failure, topic="shipping"):
    """The carrier refused the parcel."""

    order_id: str


class ShipmentCancelled(Event, topic="shipping"):
    """Undoes ShipmentCreated."""

    order_id: str


class ConfirmationSent(Event, topic="notifications"):
    """The customer was told that the order is on its way."""

    order_id: str


class CancellationSent(Event, topic="notifications"):
    """The customer was told that the order is cancelled."""

    order_id: str
