"""A saga has a way to complete and a way to fail, and each failure goes it."""

import pytest

from choreo.lints import check, lints
from tests import mistakes
from tests.lints.graphs import GRAPHS, altered, codes, graph, made, outcome, step, told, undo, with_saga, without

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


def test_a_failure_that_nobody_takes_is_told():
    unheard = altered(
        ORDER,
        "orders.cancel",
        waits_for=[
            ["payments.PaymentDeclined", "shipping.AddressRejected", "shipping.ShipmentFailed", "orders.OrderRejected"]
        ],
    )
    [problem] = lints(unheard)
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


def test_an_undoing_that_may_say_nothing_leads_nowhere():
    silent = altered(ORDER, "payments.refund", outcomes=[outcome("payments.PaymentRefunded"), []])
    assert "CH100" in codes(silent)
    last = altered(ORDER, "inventory.release", outcomes=[outcome("inventory.InventoryReleased"), []])
    assert codes(last) == set()
