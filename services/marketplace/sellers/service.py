"""Handlers of sellers: accept, and its undoing.

Each order is one seller's, in a branch of its own; the handlers do not know how many there are. A package is cancelled
once the carrier has returned it or will not pick it up, never because another seller refused: what is on the road is
not on the shelf.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from choreo import Context, Service

from ..events import PackageAccepted, PackageCancelled, PackageRefused, PackageReturned, SellerOrderPlaced
from .shelves import Shelves

LINE_QUANTITY_MAX = 9

sellers = Service("sellers")


@sellers.provides
def shelves() -> Iterator[Shelves]:
    with closing(Shelves(Path(os.environ.get("SERVICES_DATA", "data")) / "sellers.db")) as opened:
        yield opened


@sellers.handles
def accept(
    order: SellerOrderPlaced,
    ctx: Context,
    shelves: Shelves,
) -> PackageAccepted | PackageRefused:
    checkout_id, seller = order.checkout_id, order.seller
    for line in order.lines:
        if line.quantity > LINE_QUANTITY_MAX:
            has = f"{seller} has {LINE_QUANTITY_MAX} of {line.article}"
            reason = f"{has}, not {line.quantity}"
            return PackageRefused(checkout_id=checkout_id, seller=seller, reason=reason)
    quantity = sum(line.quantity for line in order.lines)
    if not shelves.take(ctx.idempotency_key, checkout_id, seller, quantity):
        return PackageRefused(
            checkout_id=checkout_id,
            seller=seller,
            reason="this package was cancelled before",
        )
    fragile = sum(line.quantity for line in order.lines if line.fragile)
    return PackageAccepted(
        checkout_id=checkout_id,
        seller=seller,
        quantity=quantity,
        fragile=fragile,
    )


@sellers.compensates
def cancel(
    returned: PackageReturned,
    _accepted: PackageAccepted | None,
    ctx: Context,
    shelves: Shelves,
) -> PackageCancelled:
    checkout_id, seller = returned.checkout_id, returned.seller
    back = shelves.put_back(ctx.undoes_key, checkout_id, seller, returned.quantity)
    return PackageCancelled(
        checkout_id=checkout_id,
        seller=seller,
        quantity=back,
        reason=returned.reason,
    )
