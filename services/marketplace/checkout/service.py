"""Handlers of checkout: split, gather, and the two ends of the saga.

`split` is the fan-out: as many branches as the basket has sellers. Two handlers are the fan-in, and no checkout has use
for both: `complete` needs a delivery from every branch, `abandon` from every branch that its package is undone or was
never accepted. Failing waits for all of the undoing, so whoever reads `CheckoutFailed` may rely on it.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from choreo import Context, Saga, Service

from ..events import (
    CheckoutAbandoned,
    CheckoutCompleted,
    CheckoutFailed,
    CheckoutPlaced,
    Line,
    PackageCancelled,
    PackageDelivered,
    PackageRefused,
    PaymentAuthorised,
    PaymentRefused,
    PaymentVoided,
    SellerOrderPlaced,
)
from .book import CheckoutBook

checkout = Service("checkout")
checkout.owns(
    Saga("checkout", starts=CheckoutPlaced, completes=CheckoutCompleted, fails=CheckoutFailed, key="checkout_id")
)


@checkout.provides
def book() -> Iterator[CheckoutBook]:
    with closing(CheckoutBook(Path(os.environ.get("SERVICES_DATA", "data")) / "checkout.db")) as opened:
        yield opened


@checkout.handles
def split(placed: CheckoutPlaced, _paid: PaymentAuthorised) -> list[SellerOrderPlaced]:
    by_seller: dict[str, list[Line]] = {}
    for line in placed.lines:
        by_seller.setdefault(line.seller, []).append(line)
    return [
        SellerOrderPlaced(checkout_id=placed.checkout_id, seller=seller, lines=lines)
        for seller, lines in by_seller.items()
    ]


@checkout.handles
def complete(
    delivered: list[PackageDelivered],
    ctx: Context,
    book: CheckoutBook,
) -> CheckoutCompleted:
    checkout_id = delivered[0].checkout_id
    book.end(ctx.idempotency_key, checkout_id, "completed")
    return CheckoutCompleted(checkout_id=checkout_id, packages=len(delivered))


@checkout.handles
def abandon(undone: list[PackageCancelled | PackageRefused]) -> CheckoutAbandoned:
    reasons = dict.fromkeys(each.reason for each in undone)
    return CheckoutAbandoned(
        checkout_id=undone[0].checkout_id,
        reason="; ".join(reasons),
    )


@checkout.handles
def fail(
    cause: PaymentRefused | PaymentVoided,
    ctx: Context,
    book: CheckoutBook,
) -> CheckoutFailed:
    book.end(ctx.idempotency_key, cause.checkout_id, "failed")
    return CheckoutFailed(checkout_id=cause.checkout_id, reason=cause.reason)
