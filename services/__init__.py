"""Order fulfilment by choreography: five services that know nothing of each other.

Each folder here is one service with its handlers and its own database file; `events` is the only thing they share.
`oracle` computes from the input alone how every order must end, and `demo` runs all five on one screen. Two folders are
examples of their own, with events and services inside: `approval` and `marketplace`. In the wheel this package is
`choreo.examples`, so everything inside imports relatively.

The way of an order, each arrow an event and each verb a handler that knows only the events it names::

    OrderPlaced ─┬─ inventory.reserve ──► InventoryReserved ── payments.capture ──► PaymentCaptured ─┐
                 └─ shipping.check_address ──► AddressConfirmed ─────────────────────────────────────┤
                                                                                                     ▼
         ConfirmationSent ◄── notifications ◄── OrderConfirmed ◄── orders.confirm ◄── ShipmentCreated (shipping.create)

Each step can fail: OutOfStock, PaymentDeclined, AddressRejected, ShipmentFailed, OrderRejected. What was done is undone
in reverse, and the order of undoing is written in the types of the causes: `OrderRejected` cancels the shipment,
`ShipmentCancelled` refunds the payment, `PaymentRefunded` releases the stock. A failure enters that chain where its
step stood: `ShipmentFailed` at the refund, `PaymentDeclined` at the release, `OutOfStock` nowhere: nothing was done.

`AddressRejected` is the one that overtakes, for the check runs beside reserve and capture. No shipment exists without
`AddressConfirmed`, so the latest step it can find done is the capture, and it enters the chain at the refund. If the
capture has run, its payment is refunded. If not, the capture is cancelled: when its causes come it is skipped, the
refund runs with `None` and makes the capture's key unusable, and its `PaymentRefunded` goes on to the release. So every
reservation that fails meets exactly one of PaymentDeclined and PaymentRefunded, whichever topic is read first, and is
released once.
"""
