"""SEMANTICS 36 (a): what was done last is undone first, or it is told."""

from tests.checks.graphs import altered, codes, graph, told, with_saga

ORDER = graph("order")
MARKET = graph("marketplace")


def test_r36a_an_undoing_that_does_not_wait_for_the_one_behind_it_is_told():
    hasty = altered(
        ORDER,
        "inventory.release",
        causes=["payments.PaymentDeclined", "orders.OrderRejected", "payments.PaymentRefunded"],
    )
    [message] = told(hasty, "CH102")
    assert message == (
        "where OrderRejected comes, inventory.release undoes InventoryReserved without waiting for payments.refund to "
        "undo PaymentCaptured, which came after it"
    )


def test_r36a_so_is_one_that_waits_for_the_wrong_undoing():
    """The parcel's cancelling tells nothing of the payment."""
    astray = altered(
        ORDER,
        "inventory.release",
        causes=["payments.PaymentDeclined", "shipping.ShipmentCancelled", "payments.PaymentRefunded"],
    )
    [message] = told(astray, "CH102")
    assert message.startswith("where ShipmentCancelled comes, inventory.release undoes InventoryReserved")


def test_r36a_a_failure_that_leaves_nothing_behind_may_be_a_cause():
    """A rejected address finds no parcel, and a declined payment nothing to refund: the example undoes for both at once."""
    assert "CH102" not in codes(ORDER)


def test_r36a_each_branch_is_undone_before_what_lies_around_it():
    assert "CH102" not in codes(MARKET)
    hasty = altered(MARKET, "sellers.cancel", causes=["delivery.PackageLost", "delivery.PackageReturned"])
    [message] = told(hasty, "CH102")
    assert message.startswith("where PackageLost comes, sellers.cancel undoes PackageAccepted without waiting")
    outer = altered(MARKET, "billing.void", causes=["checkouts.CheckoutAbandoned", "delivery.PackageLost"])
    assert "CH102" in codes(outer)


def test_r36a_of_a_failure_that_undoes_nothing_later_nothing_is_said():
    """Where the payment is not refunded for it at all, that is told, and no order of undoings."""
    kept = altered(ORDER, "payments.refund", causes=["shipping.ShipmentFailed", "shipping.ShipmentCancelled"])
    hasty = altered(
        kept,
        "inventory.release",
        causes=["payments.PaymentDeclined", "payments.PaymentRefunded", "shipping.AddressRejected"],
    )
    assert "CH102" not in codes(hasty)
    assert "CH100" in codes(hasty)


def test_a_saga_that_cannot_fail_has_no_order_to_keep():
    assert "CH102" not in codes(with_saga(ORDER, fails=[]))
