"""The events of the marketplace: all that the four services know of each other.

Facts and failures by topic, and the plain models nested in them, live here; who emits and who reacts does not. Whatever
names a seller is in that seller's branch of the saga; the rest is at its root.
"""

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, Field

from choreo import Event, Failure, Sensitive

Money = Annotated[Decimal, Field(max_digits=12, decimal_places=2)]
"""US dollars, to the cent."""


class Line(BaseModel):
    """Some of one article, from one seller."""

    seller: str
    article: str
    quantity: int
    amount: Money
    fragile: bool = False


class CheckoutPlaced(Event, topic="checkouts"):
    """A customer pays for a basket. Starts the saga."""

    checkout_id: str
    lines: Annotated[list[Line], Field(min_length=1)]
    total: Money
    card: Annotated[str, Sensitive()]


class SellerOrderPlaced(Event, topic="checkouts"):
    """One seller's part of a basket. Opens the seller's branch."""

    checkout_id: str
    seller: str
    lines: list[Line]


class CheckoutCompleted(Event, topic="checkouts"):
    """Every package has arrived. Completes the saga."""

    checkout_id: str
    packages: int


class CheckoutAbandoned(Failure, topic="checkouts"):
    """No package of this checkout is on its way, nor will be."""

    checkout_id: str


class CheckoutFailed(Event, topic="checkouts"):
    """The customer gets nothing and pays nothing. Fails the saga."""

    checkout_id: str
    reason: str


class PaymentAuthorised(Event, topic="billing"):
    """The amount is held on the card."""

    checkout_id: str
    amount: Money


class PaymentRefused(Failure, topic="billing"):
    """Nothing is held on the card."""

    checkout_id: str


class PaymentVoided(Event, topic="billing"):
    """Undoes PaymentAuthorised; `amount` is 0.00 where nothing had been held."""

    checkout_id: str
    amount: Money
    reason: str


class PackageAccepted(Event, topic="sellers"):
    """The seller took the articles from the shelf and packed them."""

    checkout_id: str
    seller: str
    quantity: int
    fragile: int


class PackageRefused(Failure, topic="sellers"):
    """The seller does not have the articles."""

    checkout_id: str
    seller: str


class PackageCancelled(Event, topic="sellers"):
    """Undoes PackageAccepted; `quantity` is what went back to the shelf."""

    checkout_id: str
    seller: str
    quantity: int
    reason: str


class PackagePickedUp(Event, topic="delivery"):
    """The carrier took the package."""

    checkout_id: str
    seller: str
    quantity: int


class PackageDelivered(Event, topic="delivery"):
    """The customer has the package."""

    checkout_id: str
    seller: str


class PackageLost(Failure, topic="delivery"):
    """The package broke on its way; what was in it is gone."""

    checkout_id: str
    seller: str


class PackageReturned(Event, topic="delivery"):
    """Undoes PackagePickedUp; `quantity` is what the seller has of it: all, or nothing of a package that was lost."""

    checkout_id: str
    seller: str
    quantity: int
    reason: str
