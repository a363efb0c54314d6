"""A saga has a way to complete and a way to fail, and each failure goes it."""

import pytest

from choreo.checks import check, check_manifests
from tests import mistakes
from tests.checks.graphs import GRAPHS, altered, codes, graph, made, outcome, step, told, undo, with_saga, without

ORDER = graph("order")
MARKET = graph("marketplace")


def test_a_saga_that_nobody_completes_is_told():
    [problem] = [each for each in check(*mistakes.MISTAKES["CH073"]()) if each.code == "CH073"]
    assert problem.message == "saga order never completes: no handler of orders emits Confirmed"
    assert problem.place.startswith("tests/mistakes.py:")


@pytest.mark.parametrize("name", GRAPHS)
def test_so_is_one_that_completes_only_after_a_failure(name):
    assert "CH073" not in codes(graph(name))
    [saga] = [saga for each in graph(name) for saga in each.sagas]
    assert "CH073" in codes(with_saga(graph(name), completes=saga.fails, fails=[]))


def test_a_completion_that_nothing_leads_to_is_told():
    cut = altered(ORDER, "orders.confirm", waits_for=[["orders.OrderPlaced"], ["orders.OrderRejected"]])
    assert told(cut, "CH073") == [
        "saga order-fulfilment never completes: without a failure nothing leads to orders.confirm"
    ]


def test_a_failing_end_that_nothing_leads_to_is_told():
    assert told(without(ORDER, "orders.cancel"), "CH118") == [
        "saga order-fulfilment never fails: nothing leads to OrderCancelled"
    ]
    assert "CH118" not in codes(ORDER)


def test_so_is_one_that_only_its_owner_could_bring_though_others_wait_for_it():
    awaited = made(
        step("b.check", [["a.Start"]], outcome("b.Passed"), outcome("b.NotPassed")),
        step("a.finish", [["b.Passed"]], outcome("a.Done")),
        step("d.tell", [["z.Failed"]], outcome("d.Told")),
        fails="z.Failed",
    )
    assert codes(awaited) == {"CH070", "CH118"}


def test_a_failure_that_nobody_takes_is_told():
    unheard = altered(
        ORDER,
        "orders.cancel",
        waits_for=[
            ["payments.PaymentDeclined", "shipping.AddressRejected", "shipping.ShipmentFailed", "orders.OrderRejected"]
        ],
    )
    [problem] = check_manifests(unheard)
    assert problem.code == "CH112"
    assert problem.message == (
        "OutOfStock, which inventory.reserve may emit, is taken by nobody: then saga order-fulfilment neither completes "
        "nor fails"
    )
    assert problem.fix == "Let orders.cancel take it, too."
    assert "inventory/service.py:" in problem.place


def test_a_failure_that_is_undone_and_does_not_end_the_saga_is_told():
    undone = altered(
        ORDER,
        "orders.cancel",
        waits_for=[
            ["inventory.OutOfStock", "payments.PaymentDeclined", "shipping.AddressRejected", "orders.OrderRejected"]
        ],
    )
    [message] = told(undone, "CH112")
    assert message == (
        "ShipmentFailed does not always lead to OrderCancelled: orders.cancel waits for OutOfStock or PaymentDeclined or "
        "AddressRejected or OrderRejected"
    )
    assert (
        codes(altered(ORDER, "orders.cancel", waits_for=[["inventory.OutOfStock", "inventory.InventoryReleased"]]))
        == set()
    )


def test_failing_may_wait_for_all_that_is_undone():
    """Both are undone for each failure that follows the second; only the first for one before it."""
    both = made(
        step("b.one", [["a.Start"]], outcome("b.One")),
        undo("b.undo", ["c.NotTwo", "c.Undone"], "b.One", outcome("b.Undone")),
        step("c.two", [["b.One"]], outcome("c.Two"), outcome("c.NotTwo")),
        undo("c.undo", ["a.NotGood"], "c.Two", outcome("c.Undone")),
        step("a.review", [["c.Two"]], outcome("a.Done"), outcome("a.NotGood")),
        step("a.fail", [["b.Undone"]], outcome("a.Failed")),
    )
    assert codes(both) == set()
    assert told(altered(both, "a.fail", waits_for=[["b.Undone"], ["c.Undone"]]), "CH112") == [
        "NotTwo does not always lead to Failed: a.fail waits for Undone"
    ]


def test_every_branch_of_a_failed_saga_brings_what_the_failure_gathers():
    unmet = altered(MARKET, "checkout.fail", waits_for=[["checkouts.CheckoutAbandoned", "billing.PaymentRefused"]])
    assert codes(unmet) == set()
    [message] = told(altered(unmet, "checkout.fail", waits_for=[["billing.PaymentRefused"]]), "CH112")
    assert (
        message
        == "PackageLost or PackageRefused does not always lead to CheckoutFailed: checkout.fail waits for PaymentRefused"
    )


def test_only_the_failure_that_does_not_end_the_saga_is_told():
    """A card is refused only where there is a room, here or with a partner, so nobody waits for a partner without one."""
    rooms = made(
        step("hotels.reserve", [["a.Start"]], outcome("hotels.Reserved"), outcome("hotels.Full")),
        undo("hotels.cancel", ["cards.NotHeld"], "hotels.Reserved", outcome("hotels.Freed"), original_optional=True),
        step("partners.take", [["hotels.Full"]], outcome("partners.Taken"), outcome("partners.NotTaken")),
        undo("partners.cancel", ["cards.NotHeld"], "partners.Taken", outcome("partners.Freed"), original_optional=True),
        step("cards.hold", [["hotels.Reserved", "partners.Taken"]], outcome("cards.Held"), outcome("cards.NotHeld")),
        step("a.finish", [["cards.Held"]], outcome("a.Done")),
        step("a.fail", [["hotels.Freed", "partners.Freed", "partners.NotTaken"]], outcome("a.Failed")),
    )
    assert codes(rooms) == set()
    [problem] = check_manifests(altered(rooms, "a.fail", waits_for=[["hotels.Freed", "partners.Freed"]]))
    assert problem.message.startswith("NotTaken, which partners.take may emit, is taken by nobody")
    # Where both rooms may be had, the card is asked for twice, and may be refused when the stay is confirmed.
    both = altered(rooms, "partners.take", waits_for=[["a.Start"]])
    assert "cards.hold may emit NotHeld when Done has completed the saga" in told(both, "CH105")


def test_what_comes_once_all_branches_are_gathered_finds_all_of_them_gathered():
    """A payment is declined once every parcel is packed, so that each of them is unpacked."""
    parcels = made(
        step("a.split", [["a.Start"]], outcome("a.Part", opens=True), fan_out=True),
        step("b.pack", [["a.Part"]], outcome("b.Packed"), outcome("b.NotPacked")),
        undo("b.unpack", ["b.NotPacked", "c.NotPaid"], "b.Packed", outcome("b.Unpacked"), original_optional=True),
        step("c.pay", [["b.Packed"]], outcome("c.Paid"), outcome("c.NotPaid"), fan_in=True, gathers=0),
        step("a.finish", [["c.Paid"]], outcome("a.Done")),
        step("a.fail", [["b.Unpacked", "b.NotPacked"]], outcome("a.Failed"), fan_in=True, gathers=0),
    )
    assert codes(parcels) == set()
    assert told(altered(parcels, "a.fail", waits_for=[["b.Unpacked"]]), "CH112") == [
        "NotPacked does not always lead to Failed: a.fail waits for Unpacked from each branch"
    ]


def test_a_failure_calls_off_what_comes_later():
    late = altered(ORDER, "orders.cancel", outcomes=[outcome("orders.OrderCancelled", later=True)])
    [message] = told(late, "CH112")
    assert message.endswith("orders.cancel lets OrderCancelled come later, and a failure calls that off")


def test_what_a_service_lets_come_that_knows_of_no_failure_comes():
    calm = made(
        step("b.one", [["a.Start"]], outcome("b.One")),
        undo("b.undo", ["c.NotTwo"], "b.One", outcome("b.Undone")),
        step("c.two", [["b.One"]], outcome("c.Two"), outcome("c.NotTwo")),
        step("d.wait", [["b.Undone"]], outcome("d.Waited", later=True)),
        step("a.finish", [["c.Two"]], outcome("a.Done")),
        step("a.fail", [["d.Waited"]], outcome("a.Failed")),
    )
    assert codes(calm) == set()
    knowing = altered(calm, "d.wait", waits_for=[["b.Undone", "c.NotTwo"]])
    assert "CH112" in codes(knowing)


def test_a_failure_calls_off_deadlines_that_do_not_outlive_it():
    late = made(
        step("b.one", [["a.Start"]], outcome("b.One")),
        undo("b.undo", ["a.NotGood"], "b.One", outcome("b.Undone")),
        step("a.review", [["b.One"]], outcome("a.Done"), outcome("a.NotGood")),
        step("a.wait", [["b.Undone"]], outcome("a.Waited"), kind="deadline", awaits=["x.Waived"], after_abort=True),
        step("a.fail", [["a.Waited", "x.Waived"]], outcome("a.Failed")),
        publishes=["x.Waived"],
    )
    assert codes(late) == set()
    assert told(altered(late, "a.wait", after_abort=False), "CH112") == [
        "NotGood does not always lead to Failed: a.fail waits for Waited or Waived"
    ]


def test_what_is_emitted_at_once_has_come_at_once():
    """A parcel is on its way before anybody knows how it ends; where it is lost, there is one to call back."""
    carried = made(
        step("b.carry", [["a.Start"]], outcome("b.Sent", "b.Arrived"), outcome("b.Sent", "b.NotArrived")),
        undo("b.call_back", ["b.NotArrived"], "b.Sent", outcome("b.Back")),
        step("a.finish", [["b.Arrived"]], outcome("a.Done")),
        step("a.fail", [["b.Back"]], outcome("a.Failed")),
    )
    assert codes(carried) == set()
    alone = altered(carried, "b.carry", outcomes=[outcome("b.Sent", "b.Arrived"), outcome("b.NotArrived")])
    assert codes(alone) == {"CH101"}


def test_what_comes_of_completing_does_not_come_after_a_failure():
    told_after = made(
        step("c.check", [["a.Start"]], outcome("c.Fine"), outcome("c.NotFine")),
        step("a.finish", [["a.Start"]], outcome("a.Done")),
        step("d.tell", [["a.Done"]], outcome("d.Told")),
        step("a.fail", [["c.NotFine"], ["d.Told"]], outcome("a.Failed")),
    )
    assert {"CH105", "CH112"} <= codes(told_after)


def test_an_undoing_that_may_say_nothing_leads_nowhere():
    silent = altered(ORDER, "payments.refund", outcomes=[outcome("payments.PaymentRefunded"), []])
    assert "CH100" in codes(silent)
    last = altered(ORDER, "inventory.release", outcomes=[outcome("inventory.InventoryReleased"), []])
    assert codes(last) == set()
