import random
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.choreography import Choreography
from choreo.codec import HIDDEN
from choreo.saga import SagaState
from choreo.tracker.views import Flag, SagaView, StepStatus, plain
from tests.effort import part
from tests.tracker.market import MARKETS
from tests.tracker.orders import (
    FAILURES,
    GRAPH,
    INVENTORY,
    MANIFESTS,
    ORDERS,
    PAYMENTS,
    SHIPPING,
    Flow,
    cancelled_before,
    completed,
    failed,
    full,
    handler,
    manifest,
    placed,
    undo,
)


def status(view: SagaView, name: str) -> StepStatus:
    (step,) = (each for each in view.steps if each.name == name)
    return step.status


def test_r30_only_the_start_is_started() -> None:
    view = placed().view()
    assert view.state is SagaState.STARTED
    assert (view.saga_type, view.business_key) == ("order-fulfilment", "order-17")
    assert status(view, "reserve") is StepStatus.EXECUTING
    assert status(view, "capture") is StepStatus.PENDING
    assert not view.flags


def test_r30_pending_then_completed() -> None:
    flow = completed()
    for count in range(2, len(flow.records) - 1):
        assert flow.view(flow.records[:count]).state is SagaState.PENDING
    view = flow.view()
    assert view.state is SagaState.COMPLETED
    assert not view.flags
    assert not view.waiting_for
    assert {each.name: each.status for each in view.steps} == dict.fromkeys(
        ["reserve", "check", "capture", "ship", "confirm"], StepStatus.COMPLETED
    )


def test_r30_compensating_until_all_is_undone_then_failed() -> None:
    flow = failed()
    states = [flow.view(flow.records[:count]).state for count in range(1, len(flow.records) + 1)]
    assert states == ["started", *["pending"] * 3, *["compensating"] * 4, "failed", "failed"]
    view = flow.view()
    assert status(view, "ship") is StepStatus.FAILED
    assert status(view, "capture") is StepStatus.COMPENSATED
    assert status(view, "reserve") is StepStatus.COMPENSATED
    assert [(each.event, each.text) for each in view.reasons] == [(full("ShipmentFailed"), "because of ShipmentFailed")]
    assert status(flow.view(flow.records[:8]), "reserve") is StepStatus.COMPENSATING
    capture = next(each for each in view.steps if each.name == "capture")
    assert (capture.compensation, capture.result) == ("refund", full("PaymentCaptured"))
    assert capture.executed_at is not None
    assert capture.compensated_at is not None
    assert capture.compensated_at > capture.executed_at


def test_r30_an_open_compensable_step_keeps_a_saga_from_failing() -> None:
    flow = placed()
    flow.emit("AddressRejected", "shipping.check", "OrderPlaced")
    flow.emit("OrderCancelled", "orders.cancel", "AddressRejected")
    view = flow.view()
    assert view.state is SagaState.COMPENSATING
    assert any("inventory (reserve)" in each for each in view.waiting_for)


def test_r30_a_step_whose_cause_never_comes_owes_nothing() -> None:
    flow = placed()
    flow.emit("OutOfStock", "inventory.reserve", "OrderPlaced")
    flow.emit("AddressConfirmed", "shipping.check", "OrderPlaced")
    flow.emit("OrderCancelled", "orders.cancel", "OutOfStock")
    view = flow.view()
    assert view.state is SagaState.FAILED
    assert status(view, "capture") is StepStatus.PENDING


def test_r30_a_cancelled_step_is_skipped_and_undone_with_none() -> None:
    flow = cancelled_before()
    states = [flow.view(flow.records[:count]).state for count in range(1, len(flow.records) + 1)]
    assert states == ["started", *["compensating"] * 6, "failed"]
    view = flow.view()
    assert status(view, "capture") is StepStatus.SKIPPED
    capture = next(each for each in view.steps if each.name == "capture")
    assert capture.error == "orders.AddressRejected came first"
    assert capture.compensated_at is not None
    assert [(each.kind, each.handler, each.reason) for each in view.notes] == [
        ("ended", "", "failed"),
        ("skipped", "capture", "orders.AddressRejected came first"),
    ]
    assert not view.flags


def test_r30_a_null_compensation_that_says_nothing_settles_by_its_note() -> None:
    flow = cancelled_before()
    flow.records = flow.records[:-2]
    assert flow.view().state is SagaState.COMPENSATING
    flow.note("completed", "payments.refund", flow.step_key("payments.capture"))
    # The refund is settled; the stock is owed only once an event says so.
    assert flow.view().state is SagaState.FAILED


def test_r30_parked_until_a_result_comes() -> None:
    flow = placed()
    flow.emit("AddressConfirmed", "shipping.check", "OrderPlaced")
    flow.note("retried", "inventory.reserve", "OrderPlaced", attempt=1, error="IOError: down")
    assert status(flow.view(), "reserve") is StepStatus.RETRYING
    flow.note("parked", "inventory.reserve", "OrderPlaced", attempt=5, error="IOError: still down")
    view = flow.view()
    assert view.state is SagaState.PENDING
    assert view.flags == {Flag.PARKED, Flag.STUCK}
    reserve = next(each for each in view.steps if each.name == "reserve")
    assert (reserve.status, reserve.attempts, reserve.error) == (StepStatus.PARKED, 5, "IOError: still down")
    assert view.waiting_for == ["a person to retry or resolve inventory.reserve, parked, since 2026-01-01T00:00:04Z"]
    flow.emit("InventoryReserved", "inventory.reserve", "OrderPlaced")
    assert not flow.view().flags
    assert status(flow.view(), "reserve") is StepStatus.COMPLETED


def test_r30_parked_is_not_stuck_while_something_else_moves() -> None:
    flow = placed()
    flow.note("parked", "inventory.reserve", "OrderPlaced", attempt=5)
    assert flow.view().flags == {Flag.PARKED}


def test_r30_a_parked_compensation_is_stuck_and_never_failed() -> None:
    flow = failed()
    flow.records = flow.records[:7]
    flow.note("parked", "payments.refund", "PaymentCaptured", error="Timeout: bank")
    assert flow.view().flags == {Flag.PARKED}  # the customer is still to be told
    flow.note("completed", "shipping.notify", "OrderCancelled")
    view = flow.view()
    assert view.state is SagaState.COMPENSATING
    assert view.flags == {Flag.PARKED, Flag.STUCK}
    capture = next(each for each in view.steps if each.name == "capture")
    assert (capture.status, capture.error) == (StepStatus.PARKED, "Timeout: bank")


def test_r30_an_effect_that_nobody_has_told_the_cause_of_is_not_at_rest() -> None:
    flow = completed()
    last = flow.records[5]
    assert flow.view([flow.records[0], last]).state is SagaState.PENDING
    assert any("has not read" in each for each in flow.view([last]).waiting_for)


def test_r30_compensating_until_the_owner_says_failed() -> None:
    flow = placed()
    flow.emit("OutOfStock", "inventory.reserve", "OrderPlaced")
    flow.emit("AddressConfirmed", "shipping.check", "OrderPlaced")
    assert flow.view().state is SagaState.COMPENSATING
    without = Choreography(
        [ORDERS.model_copy(update={"sagas": [ORDERS.sagas[0].model_copy(update={"fails": []})]}), *MANIFESTS[1:]]
    )
    flow.note("skipped", "orders.cancel", "OutOfStock")
    assert flow.view(graph=without).state is SagaState.FAILED


def test_r30_each_original_is_undone_once_whoever_did_it() -> None:
    more = manifest(
        "payments",
        [
            handler("capture", "OrderPlaced", "InventoryReserved", emits="PaymentCaptured PaymentDeclined"),
            undo("refund", "ShipmentFailed", "PaymentCaptured", "PaymentRefunded"),
            undo("void", "AddressRejected", "PaymentCaptured", "PaymentRefunded"),
        ],
    )
    flow = failed()
    graph = Choreography([ORDERS, INVENTORY, more, SHIPPING])
    flow.emit("AddressRejected", "shipping.check", "OrderPlaced")
    assert flow.view(graph=graph).state is SagaState.FAILED
    flow.note("dropped", "orders.cancel", "AddressRejected", reason="the saga has ended already")
    assert flow.view(graph=graph).state is SagaState.FAILED


def test_r30_an_original_from_outside_has_a_row_of_its_own() -> None:
    orders = manifest(
        "orders",
        [
            undo("cancel", "OutOfStock", "OrderPlaced", "OrderCancelled"),
            handler("confirm", "InventoryReserved", emits="OrderConfirmed"),
        ],
        sagas=[ORDERS.sagas[0].model_dump()],
    )
    graph = Choreography([orders, INVENTORY])
    flow = placed()
    flow.emit("OutOfStock", "inventory.reserve", "OrderPlaced")
    assert status(flow.view(graph=graph), "cancel") is StepStatus.EXECUTING
    flow.emit("OrderCancelled", "orders.cancel", "OutOfStock", "OrderPlaced", undoes="OrderPlaced")
    view = flow.view(graph=graph)
    assert view.state is SagaState.FAILED
    assert not view.flags
    assert status(view, "cancel") is StepStatus.COMPLETED


FLOWS = [placed, completed, failed, cancelled_before, *MARKETS]


@given(data=st.data())
@settings(max_examples=part(100, of=400), deadline=None)
def test_r31_any_order_and_any_duplication_give_the_same_answer(data: st.DataObject) -> None:
    flow = data.draw(st.sampled_from(FLOWS))()
    size = data.draw(st.integers(1, len(flow.records)))
    some = data.draw(st.permutations(flow.records))[:size]
    again = data.draw(st.lists(st.sampled_from(some), max_size=6))
    shuffled = data.draw(st.permutations([*some, *again]))
    now_us = data.draw(st.none() | st.integers(0, 2 * flow.now_us))
    assert flow.view(shuffled, now_us=now_us) == flow.view(sorted(some), now_us=now_us)


@pytest.mark.parametrize("make", FLOWS[1:])
def test_r31_the_whole_of_it_is_at_rest_and_nothing_is_left_of_what_held_it_up(make: Callable[[], Flow]) -> None:
    view = make().view(now_us=2**60)
    assert view.at_rest
    assert not view.flags
    assert not view.waiting_for


def test_r31_differing_duplicates_are_picked_alike_and_flagged() -> None:
    flow = failed()
    other = flow.records[5]
    assert dict(other.headers)["ce_type"] == b"orders.OrderCancelled"
    from tests.tracker.orders import body

    differing = other._replace(offset=90, value=body("OrderCancelled", order_id="18"))
    answers = []
    for seed in range(20):
        mixed = [*flow.records, differing, other._replace(offset=91)]
        random.Random(seed).shuffle(mixed)
        answers.append(flow.view(mixed))
    assert all(each == answers[0] for each in answers)
    assert answers[0].flags == {Flag.DIFFERS}
    assert next(e for e in answers[0].events if e.type == full("OrderCancelled")).payload == {"order_id": "17"}


def test_r31_the_journal_flags_a_differing_duplicate() -> None:
    flow = completed()
    flow.note("duplicate-differs", "", "PaymentCaptured", service="payments", handler="")
    assert flow.view().flags == {Flag.DIFFERS}
    assert flow.view().state is SagaState.COMPLETED


def test_r31_events_are_told_causes_first_whatever_the_clocks_say() -> None:
    flow = completed()
    times = {"ce_time"}
    skewed = [
        each._replace(
            headers=[(k, b"2020-01-01T00:00:00Z" if k in times and index == 4 else v) for k, v in each.headers]
        )
        for index, each in enumerate(flow.records)
    ]
    names = [each.type.removeprefix("orders.") for each in flow.view(skewed).events]
    assert names.index("ShipmentCreated") > names.index("PaymentCaptured")


def test_r32_sensitive_fields_are_masked_at_every_depth() -> None:
    payload = placed().view().events[0].payload
    assert payload is not None
    assert payload["card"] == HIDDEN
    assert payload["address"] == {"street": HIDDEN, "city": "Ulm"}
    assert payload["others"] == [{"street": HIDDEN, "city": "Ulm"}]
    assert payload["total"] == "12.50"
    assert "SECRET" not in str(plain(placed().view()))


def test_r34_says_what_is_awaited_from_whom_since_when() -> None:
    flow = placed()
    flow.emit("AddressConfirmed", "shipping.check", "OrderPlaced")
    assert flow.view().waiting_for == [
        "orders.InventoryReserved | orders.OutOfStock from inventory (reserve), since 2026-01-01T00:00:01Z"
    ]


def test_r34_names_who_answers_from_outside() -> None:
    approvals = manifest(
        "approvals",
        [handler("decide", "OrderPlaced", "ManagerApproved", emits="OrderConfirmed")],
        sagas=[ORDERS.sagas[0].model_dump()],
        publishes={full("ManagerApproved"): "a manager"},
    )
    graph = Choreography([approvals])
    flow = placed()
    (wait,) = flow.view(graph=graph).waiting_for
    assert wait == "orders.ManagerApproved from a manager, since 2026-01-01T00:00:01Z"
    flow.emit("ManagerApproved")
    view = flow.view(graph=graph)
    assert view.state is SagaState.PENDING
    assert not view.flags


@pytest.mark.parametrize(
    ("name", "by", "causes", "why"),
    [
        ("Invented", "inventory.reserve", ("OrderPlaced",), "no manifest declares this type"),
        ("PaymentCaptured", "inventory.reserve", ("OrderPlaced",), "does not declare that it emits this"),
        ("InventoryReserved", "inventory.guess", ("OrderPlaced",), "is no handler of any manifest"),
        ("InventoryReserved", "", (), "does not come from outside"),
        ("ShipmentCreated", "shipping.ship", ("OrderPlaced",), "does not wait for orders.OrderPlaced"),
    ],
)
def test_r35_what_the_graph_does_not_allow_is_shown(name: str, by: str, causes: tuple[str, ...], why: str) -> None:
    flow = placed()
    flow.emit(name, by, *causes)
    view = flow.view()
    assert Flag.VIOLATION in view.flags
    assert len(view.events) == 2
    assert any(why in each for each in view.violations)


def test_r35_two_ends_are_a_violation() -> None:
    flow = completed()
    flow.emit("OutOfStock", "inventory.reserve", "OrderPlaced")
    flow.emit("OrderCancelled", "orders.cancel", "OutOfStock")
    view = flow.view()
    assert view.violations == [
        "2 events end this saga, and one at most may: orders.OrderConfirmed, orders.OrderCancelled"
    ]


def test_r35_an_older_version_may_have_emitted_it() -> None:
    newer = manifest("inventory", [handler("hold", "OrderPlaced", emits="InventoryReserved OutOfStock")], version="2")
    view = completed().view(graph=Choreography([*MANIFESTS, newer]))
    assert not view.violations
    assert view.state is SagaState.COMPLETED


def test_steps_of_branches_are_told_apart() -> None:
    flow = placed()
    flow.emit("InventoryReserved", "inventory.reserve", "OrderPlaced")
    inner = [
        flow.records[-1]._replace(
            offset=10 + i,
            headers=[
                *((k, v + bytes([48 + i]) if k == "ce_id" else v) for k, v in flow.records[-1].headers),
                ("ce_branch", b"/ab:%d.2" % i),
            ],
        )
        for i in range(2)
    ]
    view = flow.view([flow.records[0], *inner])
    captures = [each for each in view.steps if each.name == "capture"]
    assert [(each.branch, each.status) for each in captures] == [
        ("/ab:0.2", StepStatus.EXECUTING),
        ("/ab:1.2", StepStatus.EXECUTING),
    ]


def test_a_view_is_plain_json() -> None:
    import json

    text = json.dumps(plain(failed().view()))
    assert '"state": "failed"' in text
    assert datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC).isoformat() in text
    assert FAILURES
    assert GRAPH.services == {"orders", "inventory", "payments", "shipping"}
    assert PAYMENTS.service == "payments"
    assert Flow().records == []
