"""Handlers of billing: authorise, and its undoing.

Authorising comes first of all, so voiding comes last: not with the first package that fails, but with
`CheckoutAbandoned`, when none is on its way any more.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

from choreo import Context, Service

from ..events import CheckoutAbandoned, CheckoutPlaced, PaymentAuthorised, PaymentRefused, PaymentVoided
from .ledger import Ledger

CARD_LIMIT = Decimal("500.00")

billing = Service("billing")


@billing.provides
def ledger() -> Iterator[Ledger]:
    with closing(Ledger(Path(os.environ.get("SERVICES_DATA", "data")) / "billing.db")) as opened:
        yield opened


@billing.handles
def authorise(placed: CheckoutPlaced, ctx: Context, ledger: Ledger) -> PaymentAuthorised | PaymentRefused:
    if placed.total > CARD_LIMIT:
        return PaymentRefused(checkout_id=placed.checkout_id, reason=f"{placed.total} is above the card's limit")
    if not ledger.hold(ctx.idempotency_key, placed.checkout_id, placed.total):
        return PaymentRefused(checkout_id=placed.checkout_id, reason="this payment was voided before")
    return PaymentAuthorised(checkout_id=placed.checkout_id, amount=placed.total)


@billing.compensates
def void(
    cause: CheckoutAbandoned,
    _authorised: PaymentAuthorised | None,
    ctx: Context,
    ledger: Ledger,
) -> PaymentVoided:
    amount = ledger.void(ctx.undoes_key, cause.checkout_id)
    return PaymentVoided(
        checkout_id=cause.checkout_id,
        amount=amount,
        reason=cause.reason,
    )
