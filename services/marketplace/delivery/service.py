"""Handlers of delivery: carry, and its undoing.

A package is on the road before anybody knows how it ends, so `carry` says both: `PackagePickedUp`, which is undone, and
what became of it. A failure in any branch may overtake it, so `take_back` takes `PackagePickedUp | None`: a package
that was picked up is brought back, one that was not is cancelled and its key made unusable. In both cases, and where
the package itself was lost, `PackageReturned` carries the undoing on to the seller.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from choreo import Context, Service

from ..events import (
    PackageAccepted,
    PackageDelivered,
    PackageLost,
    PackagePickedUp,
    PackageRefused,
    PackageReturned,
)
from .depot import Depot

FRAGILE_MAX = 5

delivery = Service("delivery")


@delivery.provides
def depot() -> Iterator[Depot]:
    with closing(Depot(Path(os.environ.get("SERVICES_DATA", "data")) / "delivery.db")) as opened:
        yield opened


@delivery.handles
def carry(
    package: PackageAccepted,
    ctx: Context,
    depot: Depot,
) -> tuple[PackagePickedUp, PackageDelivered | PackageLost]:
    checkout_id, seller = package.checkout_id, package.seller
    quantity = package.quantity
    picked_up = PackagePickedUp(
        checkout_id=checkout_id,
        seller=seller,
        quantity=quantity,
    )
    lost = package.fragile > FRAGILE_MAX
    broken = f"{package.fragile} fragile articles from {seller} broke on the way"
    reason = broken if lost else ""
    if not depot.carry(ctx.idempotency_key, checkout_id, seller, quantity, lost=lost):
        # Its compensation has run, and the process died before that was committed. It
        # will run again, if it finds that there is something to undo.
        reason = "this package was taken back before"
    if reason:
        return picked_up, PackageLost(
            checkout_id=checkout_id,
            seller=seller,
            reason=reason,
        )
    return picked_up, PackageDelivered(checkout_id=checkout_id, seller=seller)


@delivery.compensates
def take_back(
    cause: PackageRefused | PackageLost,
    _picked_up: PackagePickedUp | None,
    package: PackageAccepted,
    ctx: Context,
    depot: Depot,
) -> PackageReturned:
    # The depot knows what became of the package; the event may not. A crash between
    # picking up and its commit leaves a package without an event.
    back = depot.bring_back(ctx.undoes_key, package.checkout_id, package.quantity)
    return PackageReturned(
        checkout_id=package.checkout_id,
        seller=package.seller,
        quantity=back,
        reason=cause.reason,
    )
