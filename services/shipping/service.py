"""Handlers of shipping: check the address, create the shipment, and its undoing.

The check follows the order itself, beside reserving and capturing, so its failure may overtake them. The shipment waits
for the check and the payment both: no parcel is ever booked to an address that is rejected, and completion, which waits
for the shipment, waits for the check. So only a rejection of the whole order finds a shipment to cancel.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from choreo import Context, Service

from ..events import (
    AddressConfirmed,
    AddressRejected,
    OrderPlaced,
    OrderRejected,
    PaymentCaptured,
    ShipmentCancelled,
    ShipmentCreated,
    ShipmentFailed,
)
from .dispatch import Dispatch

NOT_SERVED = frozenset({"Armed Forces Pacific"})
CD_WEIGHT_G = 110
PO_BOX_WEIGHT_G_MAX = 250

shipping = Service("shipping")


@shipping.provides
def dispatch() -> Iterator[Dispatch]:
    with closing(Dispatch(Path(os.environ.get("SERVICES_DATA", "data")) / "shipping.db")) as opened:
        yield opened


@shipping.handles
def check_address(order: OrderPlaced) -> AddressConfirmed | AddressRejected:
    region = order.address.region
    if region in NOT_SERVED:
        return AddressRejected(order_id=order.order_id, reason=f"no carrier serves {region}")
    weight_g = CD_WEIGHT_G * sum(line.quantity for line in order.lines)
    return AddressConfirmed(order_id=order.order_id, region=region, po_box=order.address.po_box, weight_g=weight_g)


@shipping.handles
def create(
    address: AddressConfirmed, paid: PaymentCaptured, ctx: Context, dispatch: Dispatch
) -> ShipmentCreated | ShipmentFailed:
    if address.po_box and address.weight_g > PO_BOX_WEIGHT_G_MAX:
        return ShipmentFailed(order_id=paid.order_id, reason=f"{address.weight_g} g is too much for a PO box")
    parcel = dispatch.book(ctx.idempotency_key, paid.order_id)
    if parcel is None:
        return ShipmentFailed(order_id=paid.order_id, reason="this shipment was cancelled before")
    return ShipmentCreated(order_id=paid.order_id, parcel=parcel)


@shipping.compensates
def cancel_shipment(
    cause: OrderRejected, _created: ShipmentCreated | None, ctx: Context, dispatch: Dispatch
) -> ShipmentCancelled:
    dispatch.cancel(ctx.undoes_key, cause.order_id)
    return ShipmentCancelled(order_id=cause.order_id)
