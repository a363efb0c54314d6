"""Handlers of notification: one message an order, after its end.

They react to the events that end an order and to nothing before, so no message ever has to be taken back, and neither
handler has a compensation. They answer with events rather than None: a happy order then leaves no note in the journal.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from choreo import Context, Service

from ..events import CancellationSent, ConfirmationSent, OrderCancelled, OrderConfirmed
from .postbox import Postbox

notifications = Service("notifications")


@notifications.provides
def postbox() -> Iterator[Postbox]:
    with closing(Postbox(Path(os.environ.get("SERVICES_DATA", "data")) / "notification.db")) as opened:
        yield opened


@notifications.handles
def send_confirmation(order: OrderConfirmed, ctx: Context, postbox: Postbox) -> ConfirmationSent:
    postbox.post(ctx.idempotency_key, order.order_id, f"Your order is on its way: parcel {order.parcel}.")
    return ConfirmationSent(order_id=order.order_id)


@notifications.handles
def send_cancellation(order: OrderCancelled, ctx: Context, postbox: Postbox) -> CancellationSent:
    postbox.post(ctx.idempotency_key, order.order_id, f"Your order is cancelled: {order.reason}.")
    return CancellationSent(order_id=order.order_id)
