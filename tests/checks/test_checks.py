"""SEMANTICS 36: what the graph alone shows to be wrong is told, and nothing else is."""

from collections.abc import Callable

import pytest

from choreo.checks import CODES, WARNINGS, check, check_manifests
from choreo.service import Service
from tests.checks.graphs import GRAPHS, Manifests, altered, codes, graph, made, outcome, step, told, undo, with_saga
from tests.mistakes import Captured, Placed

ORDER = graph("order")
APPROVAL = graph("approval")
MARKET = graph("marketplace")


@pytest.mark.parametrize("name", GRAPHS)
def test_r36_of_a_sound_choreography_nothing_is_said(name: str):
    assert check_manifests(graph(name)) == []


def test_r36_of_several_choreographies_beside_each_other_nothing_is_said():
    assert check_manifests([*ORDER, *APPROVAL, *MARKET]) == []


def test_what_cannot_be_read_is_told_alone():
    unread = Service("payments")

    @unread.handles
    def capture(placed: Placed): ...

    @unread.handles
    def refund(captured: Captured) -> None: ...

    assert [problem.code for problem in check(unread)] == ["CH001"]


def test_warnings_come_last():
    broken = altered(ORDER, "payments.refund", causes=["shipping.ShipmentFailed"])
    broken = altered(broken, "shipping.cancel_shipment", original_optional=False)
    [*_, last] = sorted(check_manifests(broken), key=lambda problem: problem.code in WARNINGS)
    assert last.code == "CH103"
    assert set(CODES) >= WARNINGS


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
    problems = check_manifests(UNDONE_TOO_LITTLE["a refund that forgets a failure beside it"]())
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
    [problem] = [
        p for p in check_manifests(altered(ORDER, "payments.refund", original_optional=False)) if p.code == "CH101"
    ]
    assert problem.message == (
        "where payments.capture is cancelled, payments.refund does not run, and inventory.release waits for "
        "PaymentRefunded in vain"
    )


def test_r36a_one_mistake_is_told_once_though_what_came_before_stays_done_with_it():
    [problem] = check_manifests(UNDONE_TOO_LITTLE["a cancelled parcel that waits for another failure"]())
    assert problem.message == (
        "ShipmentCreated is not undone where OrderRejected comes: shipping.cancel_shipment waits for ShipmentFailed"
    )


def test_r36a_what_comes_from_one_of_two_does_not_meet_what_excludes_both():
    """A room is reserved here or with a partner, and then guaranteed: nobody guarantees where there is no room."""
    rooms = made(
        step("hotels.reserve", [["a.Start"]], outcome("hotels.Reserved"), outcome("hotels.Full")),
        step("partners.take", [["hotels.Full"]], outcome("partners.Taken"), outcome("partners.NotTaken")),
        step("cards.hold", [["hotels.Reserved", "partners.Taken"]], outcome("cards.Held")),
        undo("cards.release", ["a.NotWanted"], "cards.Held", outcome("cards.Released"), original_optional=True),
        step("a.review", [["cards.Held"]], outcome("a.Done"), outcome("a.NotWanted")),
        step("a.fail", [["cards.Released", "partners.NotTaken"]], outcome("a.Failed")),
    )
    assert check_manifests(rooms) == []
    again = altered(rooms, "cards.hold", waits_for=[["a.Start"]])
    assert told(again, "CH100") == ["Held is not undone where NotTaken comes: cards.release waits for NotWanted"]


def test_r36b_what_cannot_be_overtaken_needs_no_none():
    """A payment is declined only once the stock is there."""
    shop = made(
        step("stock.reserve", [["a.Start"]], outcome("stock.Reserved")),
        undo("stock.release", ["payments.NotPaid"], "stock.Reserved", outcome("stock.Released")),
        step("payments.capture", [["stock.Reserved"]], outcome("payments.Paid"), outcome("payments.NotPaid")),
        step("a.confirm", [["payments.Paid"]], outcome("a.Done")),
        step("a.cancel", [["stock.Released"]], outcome("a.Failed")),
    )
    assert check_manifests(shop) == []
    assert told(altered(shop, "payments.capture", waits_for=[["a.Start"]]), "CH101") == [
        "where stock.reserve is cancelled, stock.release does not run, and a.cancel waits for Released in vain"
    ]


PARCELS = made(
    step("a.split", [["a.Start"]], outcome("a.Part", opens=True), fan_out=True),
    step("b.pack", [["a.Start"], ["a.Part"]], outcome("b.Packed"), outcome("b.NotPacked")),
    undo("b.unpack", ["b.NotPacked", "c.NotPaid"], "b.Packed", outcome("b.Unpacked"), original_optional=True),
    step("c.pay", [["b.Packed"]], outcome("c.Paid"), outcome("c.NotPaid"), fan_in=True, gathers=0),
    step("a.finish", [["c.Paid"]], outcome("a.Done")),
    step("a.fail", [["b.Unpacked", "b.NotPacked"]], outcome("a.Failed"), fan_in=True, gathers=0),
)


def test_r36a_what_excludes_each_other_in_one_branch_meets_in_two():
    assert check_manifests(PARCELS) == []
    assert told(altered(PARCELS, "b.unpack", causes=["c.NotPaid"]), "CH100") == [
        "Packed is not undone where NotPacked comes: b.unpack waits for NotPaid"
    ]


def test_r36b_another_branch_may_be_overtaken_and_none_once_all_are_gathered():
    known = altered(PARCELS, "b.unpack", original_optional=False)
    assert codes(known) == {"CH101"}
    never_missing = altered(known, "b.pack", emits=["b.Packed"], outcomes=[outcome("b.Packed")])
    assert "CH101" not in codes(altered(never_missing, "b.unpack", causes=["c.NotPaid"]))
    fetched = altered(known, "b.pack", outcomes=[outcome("b.Packed"), outcome("b.Packed", "b.NotPacked")])
    assert "CH101" in codes(altered(fetched, "b.unpack", causes=["b.NotPacked"]))


def test_r36b_what_is_undone_for_one_branch_tells_nothing_of_the_others():
    before = made(
        step("d.open", [["a.Start"]], outcome("d.Opened")),
        undo("d.close", ["b.NotPacked"], "d.Opened", outcome("d.Closed")),
        step("a.split", [["d.Opened"]], outcome("a.Part", opens=True), fan_out=True),
        step("b.pack", [["a.Part"]], outcome("b.Packed"), outcome("b.Packed", "b.NotPacked")),
        undo("b.unpack", ["d.Closed"], "b.Packed", outcome("b.Unpacked")),
        step("a.finish", [["b.Packed"]], outcome("a.Done"), fan_in=True, gathers=0),
        step("a.fail", [["b.Unpacked"]], outcome("a.Failed"), fan_in=True, gathers=0),
    )
    assert told(before, "CH101") == [
        "where b.pack is cancelled, b.unpack does not run, and a.fail waits for Unpacked in vain"
    ]


GIVING_UP = made(
    step("stock.reserve", [["a.Start"]], outcome("stock.Reserved")),
    undo("stock.release", ["payments.Refunded", "payments.NotPaid"], "stock.Reserved", outcome("stock.Released")),
    step("payments.capture", [["stock.Reserved"]], outcome("payments.Paid"), outcome("payments.NotPaid")),
    step("payments.give_up", [["stock.Reserved"]], outcome("payments.NotKnown"), kind="otherwise", guards="capture"),
    undo(
        "payments.refund", ["payments.NotKnown"], "payments.Paid", outcome("payments.Refunded"), original_optional=True
    ),
    step("a.confirm", [["payments.Paid"]], outcome("a.Done")),
    step("a.cancel", [["stock.Released"]], outcome("a.Failed")),
)


def test_r36d_a_step_that_nobody_knows_of_is_undone_first():
    assert check_manifests(GIVING_UP) == []
    hasty = altered(GIVING_UP, "stock.release", causes=["payments.NotKnown", "payments.NotPaid"])
    [message] = told(hasty, "CH120")
    assert message == (
        "stock.release takes NotKnown, with which payments.give_up ends a step whose outcome nobody knows, before "
        "payments.refund has undone it"
    )
    assert "CH120" in codes(altered(GIVING_UP, "a.cancel", waits_for=[["stock.Released", "payments.NotKnown"]]))


def test_r36d_what_ends_a_step_without_an_undoing_is_anybody_s():
    plain = altered(GIVING_UP, "payments.refund", original_optional=False)
    assert "CH120" not in codes(altered(plain, "a.cancel", waits_for=[["stock.Released", "payments.NotKnown"]]))


def test_r36d_what_ends_a_step_has_to_undo_it():
    unnamed = altered(GIVING_UP, "payments.refund", causes=["payments.NotPaid"])
    [message] = told(unnamed, "CH104")
    assert message == (
        "payments.give_up ends payments.capture with NotKnown, which payments.refund does not name: what the step did "
        "before its retries were spent stays done"
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


def test_r36e_gathering_one_list_says_nothing_of_another():
    """A second list of the same orders is gathered by itself, and completes the checkout before the first one is done."""
    [order] = [each for each in MARKET if each.service == "checkout"]
    [split] = [each for each in order.handlers if each.name == "split"]
    again = order.model_copy(update={"handlers": [*order.handlers, split.model_copy(update={"name": "split_again"})]})
    assert "CH105" in codes([again if each is order else each for each in MARKET])


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


def test_r36h_a_failure_counts_outside_of_its_branch_too():
    def parcels(*awaits: str) -> Manifests:
        return made(
            step("a.split", [["a.Start"]], outcome("a.Part", opens=True), fan_out=True),
            step("b.pack", [["a.Part"]], outcome("b.Packed"), outcome("b.NotPacked")),
            step("a.late", [["a.Start"]], outcome("a.Late"), kind="deadline", awaits=awaits),
        )

    assert "CH108" in codes(parcels("b.Packed"))
    assert "CH108" not in codes(parcels("b.Packed", "b.NotPacked"))
    assert "CH108" not in codes(altered(APPROVAL, "approvals.escalate", awaits=["approvals.RequestGranted"]))
