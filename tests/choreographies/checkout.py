"""A checkout in as many parcels as are needed, paid for once all of them are packed.

`split` opens a branch for each parcel, and `charge`, in another service, gathers them. A parcel that is missing counts
in the whole saga and may overtake the packing of the others, so `unpack` takes `ParcelPacked | None`; a payment that is
declined finds all of them packed. Either way each branch brings one of what `fail` gathers: the parcel is unpacked, or
there never was one.
"""

from pydantic import Field

from choreo import Context, Saga, Service
from tests.choreographies.fact import Fact, Refusal
from tests.choreographies.ledger import Ledger, ledger
from tests.choreographies.piece import COMPLETED, FAILED, Way


class CheckoutStarted(Fact, topic="checkouts"):
    parcels: list[str] = Field(default=["books", "tea"], min_length=1)


class ParcelOrdered(Fact, topic="checkouts"):
    parcel: str


class CheckoutCompleted(Fact, topic="checkouts"): ...


class CheckoutFailed(Fact, topic="checkouts"): ...


class ParcelPacked(Fact, topic="warehouse"):
    parcel: str


class ParcelMissing(Refusal, topic="warehouse"):
    parcel: str


class ParcelUnpacked(Fact, topic="warehouse"):
    parcel: str


class PaymentCharged(Fact, topic="payments"): ...


class PaymentDeclined(Refusal, topic="payments"): ...


checkouts, warehouse, payments = Service("checkouts"), Service("warehouse"), Service("payments")
checkouts.owns(Saga("checkout", starts=CheckoutStarted, completes=CheckoutCompleted, fails=CheckoutFailed, key="key"))
warehouse.provides(ledger)
payments.provides(ledger)


@checkouts.handles
def split(started: CheckoutStarted) -> list[ParcelOrdered]:
    return [ParcelOrdered.after(started, parcel=each) for each in started.parcels]


@warehouse.handles
def pack(ordered: ParcelOrdered, ctx: Context, shelves: Ledger) -> ParcelPacked | ParcelMissing:
    if ordered.parcel in ordered.no or not shelves.take(ctx.idempotency_key, ordered.key):
        return ParcelMissing.after(ordered, parcel=ordered.parcel)
    return ParcelPacked.after(ordered, parcel=ordered.parcel)


@warehouse.compensates
def unpack(
    _cause: ParcelMissing | PaymentDeclined,
    _packed: ParcelPacked | None,
    ordered: ParcelOrdered,
    ctx: Context,
    shelves: Ledger,
) -> ParcelUnpacked:
    shelves.give_back(ctx.undoes_key)
    return ParcelUnpacked.after(ordered, parcel=ordered.parcel)


@payments.handles
def charge(packed: list[ParcelPacked], ctx: Context, cards: Ledger) -> PaymentCharged | PaymentDeclined:
    if "charge" in packed[0].no:
        return PaymentDeclined.after(packed[0])
    cards.take(ctx.idempotency_key, packed[0].key, len(packed))
    return PaymentCharged.after(packed[0])


@checkouts.handles
def complete(charged: PaymentCharged) -> CheckoutCompleted:
    return CheckoutCompleted.after(charged)


@checkouts.handles
def fail(undone: list[ParcelUnpacked | ParcelMissing]) -> CheckoutFailed:
    return CheckoutFailed.after(undone[0])


SERVICES = (checkouts, warehouse, payments)
STARTS = CheckoutStarted
_ORDERED = "ParcelOrdered ParcelOrdered"
WAYS = {
    "two parcels": Way(
        COMPLETED,
        f"{_ORDERED} ParcelPacked ParcelPacked PaymentCharged CheckoutCompleted",
        {"warehouse": 2, "payments": 2},
    ),
    "one parcel": Way(
        COMPLETED,
        "ParcelOrdered ParcelPacked PaymentCharged CheckoutCompleted",
        {"warehouse": 1, "payments": 1},
        start={"parcels": ["books"]},
    ),
    "the first is missing": Way(FAILED, f"{_ORDERED} ParcelMissing ParcelUnpacked CheckoutFailed", no=("books",)),
    "the last is missing": Way(
        FAILED, f"{_ORDERED} ParcelPacked ParcelMissing ParcelUnpacked CheckoutFailed", no=("tea",)
    ),
    "both are missing": Way(FAILED, f"{_ORDERED} ParcelMissing ParcelUnpacked CheckoutFailed", no=("books", "tea")),
    "not paid": Way(
        FAILED,
        f"{_ORDERED} ParcelPacked ParcelPacked PaymentDeclined ParcelUnpacked ParcelUnpacked CheckoutFailed",
        no=("charge",),
    ),
}
