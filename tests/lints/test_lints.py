"""SEMANTICS 36: what the graph alone shows to be wrong is told, and nothing else is."""

from collections.abc import Callable

import pytest

from choreo.lints import lints
from choreo.manifest import EventManifest, HandlerManifest, Manifest, SagaManifest
from tests.lints.graphs import GRAPHS, Manifests, altered, codes, graph, outcome, with_saga

ORDER = graph("order")
APPROVAL = graph("approval")
MARKET = graph("marketplace")


@pytest.mark.parametrize("name", GRAPHS)
def test_r36_of_a_sound_choreography_nothing_is_said(name: str):
    assert lints(graph(name)) == []


UNDONE_TOO_LITTLE = {
    "a refund that forgets a failure beside it": lambda: altered(
        ORDER, "payments.refund", causes=["shipping.ShipmentCancelled", "shipping.ShipmentFailed"]
    ),
    "a refund that forgets the step behind it": lambda: altered(
        ORDER, "payments.refund", causes=["shipping.AddressRejected", "shipping.ShipmentFailed"]
    ),
    "a release that forgets that nothing was paid": lambda: altered(
        ORDER, "inventory.release", causes=["payments.PaymentRefunded"]
    ),
    "a release that forgets the refund": lambda: altered(
        ORDER, "inventory.release", causes=["payments.PaymentDeclined"]
    ),
    "a cancelled parcel that waits for another failure": lambda: altered(
        ORDER, "shipping.cancel_shipment", causes=["shipping.ShipmentFailed"]
    ),
    "a seller's order that is taken back for a lost parcel only": lambda: altered(
        MARKET, "delivery.take_back", causes=["delivery.PackageLost"]
    ),
    "a payment that is voided for nothing that comes": lambda: altered(
        MARKET, "billing.void", causes=["billing.PaymentRefused"]
    ),
    "an abandoned checkout that some branches never bring": lambda: altered(
        MARKET, "checkout.abandon", waits_for=[["sellers.PackageRefused"]]
    ),
}


@pytest.mark.parametrize("broken", UNDONE_TOO_LITTLE.values(), ids=UNDONE_TOO_LITTLE)
def test_r36a_a_failure_that_leaves_something_done_is_told(broken: Callable[[], Manifests]):
    assert "CH100" in codes(broken())


def test_r36a_says_what_is_left_by_what_and_what_to_write():
    problems = lints(UNDONE_TOO_LITTLE["a refund that forgets a failure beside it"]())
    [problem] = [each for each in problems if each.message.startswith("PaymentCaptured")]
    assert problem.message == (
        "PaymentCaptured is not undone where AddressRejected comes: payments.refund waits for ShipmentCancelled or "
        "ShipmentFailed"
    )
    assert "services/payment/service.py:" in problem.place
    assert problem.fix.startswith("Add AddressRejected to its causes")


def test_r36a_a_chain_of_undoings_reaches_back_only_where_each_link_runs():
    """AddressRejected may come before anything is paid; then only a refund of nothing tells the stock to go back."""
    assert {"CH100", "CH101"} <= codes(altered(ORDER, "payments.refund", original_optional=False))


def test_r36b_an_undoing_that_may_never_run_is_not_waited_for():
    [problem] = [p for p in lints(altered(ORDER, "payments.refund", original_optional=False)) if p.code == "CH101"]
    assert problem.message == (
        "where payments.capture is cancelled, payments.refund does not run, and inventory.release waits for "
        "PaymentRefunded in vain"
    )


def test_r36c_a_step_that_touches_the_world_is_undone_where_its_outcome_is_unknown():
    assert "CH103" in codes(altered(ORDER, "shipping.cancel_shipment", original_optional=False))


def test_r36c_one_that_touches_nothing_need_not_be():
    untouched = altered(ORDER, "shipping.create", uses=[])
    assert "CH103" not in codes(altered(untouched, "shipping.cancel_shipment", original_optional=False))


def test_r36e_a_failure_that_may_follow_completion_is_told():
    """The order is confirmed without waiting for the address; its rejection may come afterwards."""
    hasty = altered(ORDER, "orders.confirm", waits_for=[["orders.OrderPlaced"], ["payments.PaymentCaptured"]])
    assert "CH105" in codes(hasty)


def test_r36e_what_only_one_branch_waits_for_is_no_completion():
    first = altered(MARKET, "checkout.complete", fan_in=False, gathers=None)
    assert {"CH105", "CH107"} & codes(first)


@pytest.mark.parametrize("name", GRAPHS)
def test_r36f_failures_without_a_failing_end_are_told(name: str):
    assert "CH106" in codes(with_saga(graph(name), fails=[]))


def test_r36g_completing_within_a_branch_is_told():
    assert "CH107" in codes(altered(MARKET, "checkout.complete", fan_in=False, gathers=None))


def test_r36h_a_deadline_that_awaits_what_only_branches_bring_is_told():
    split = altered(
        altered(APPROVAL, "approvals.hear_manager", outcomes=[outcome("approvals.RequestGranted", opens=True)]),
        "approvals.escalate",
        awaits=["approvals.RequestGranted"],
    )
    alone = altered(split, "approvals.hear_director", emits=[], outcomes=[outcome()])
    assert "CH108" in codes(alone)
    assert "CH108" not in codes(altered(APPROVAL, "approvals.escalate", awaits=["approvals.RequestGranted"]))


def test_a_large_choreography_is_read_to_its_end():
    """Two thousand steps in one saga, one behind another, deeper than any recursion."""
    steps = range(2000)
    handlers = [
        HandlerManifest(
            name=f"step{n}", waits_for=[[f"e.E{n}"]], emits=[f"e.E{n + 1}"], outcomes=[outcome(f"e.E{n + 1}")]
        )
        for n in steps
    ]
    events = {f"e.E{n}": EventManifest(topic="e") for n in (*steps, len(steps))}
    saga = SagaManifest(name="long", starts="e.E0", completes=["e.E2000"])
    long = Manifest(service="long", service_version="1", handlers=handlers, events=events, sagas=[saga])
    assert lints([long]) == []
    failing = long.model_copy(update={"events": events | {"e.E1000": EventManifest(topic="e", failure=True)}})
    assert codes([failing]) == {"CH106"}
