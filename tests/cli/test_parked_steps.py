from typing import Any

from choreo.cli.parked_steps import may_emit, parked_steps
from choreo.manifest import Manifest
from choreo.tracker import SagaView
from tests.tracker.orders import ORDERS, PAYMENTS, SHIPPING, Flow, completed, failed, handler, manifest, placed


def waiting(flow: Flow) -> list[tuple[str, str, int, str]]:
    return [(each.name, each.trigger, each.attempts, each.error) for each in parked_steps(flow.view())]


def reserved() -> Flow:
    flow = placed()
    flow.emit("InventoryReserved", "inventory.reserve", "OrderPlaced")
    return flow


def park(flow: Flow, by: str, trigger: str, **more: Any) -> Flow:
    flow.note("parked", by, trigger, attempt=3, error="boom", **more)
    return flow


def test_a_parked_join_waits_with_its_attempts_and_its_error():
    assert waiting(park(reserved(), "payments.capture", "")) == [("payments.capture", "", 3, "boom")]


def test_a_step_that_was_resumed_or_resolved_waits_no_more():
    for kind in ("resumed", "resolved", "skipped", "retried"):
        flow = park(reserved(), "payments.capture", "")
        flow.note(kind, "payments.capture", "", actor="ada", command_id="c-1", reason="why")
        assert waiting(flow) == []


def test_a_step_that_is_parked_again_waits_since_then_and_one_that_is_told_again_does_not():
    flow = park(reserved(), "payments.capture", "")
    flow.note("parked", "payments.capture", "")
    (step,) = parked_steps(flow.view())
    assert (step.error, step.attempts, step.since) == ("boom", 3, flow.view().notes[0].at)
    flow.note("resumed", "payments.capture", "", actor="ada", command_id="c-1", reason="why")
    flow.note("parked", "payments.capture", "", attempt=4, error="bang")
    (step,) = parked_steps(flow.view())
    assert (step.error, step.attempts, step.since) == ("bang", 4, flow.view().notes[-1].at)


def test_what_came_of_a_step_counts_more_than_the_clocks_of_services():
    flow = completed()
    flow.clock_ms += 60_000
    assert waiting(park(flow, "payments.capture", "")) == []


def test_a_compensation_waits_for_the_original_that_it_undoes():
    flow = failed()
    gone = flow.ids.pop("InventoryReleased")
    flow.records = [each for each in flow.records if ("ce_id", gone.encode()) not in each.headers]
    park(flow, "inventory.release", "InventoryReserved")
    assert waiting(flow) == [("inventory.release", flow.ids["InventoryReserved"], 3, "boom")]
    assert waiting(park(failed(), "inventory.release", "InventoryReserved")) == []


def test_what_a_step_may_be_resolved_with_is_what_its_service_announced_last():
    def may(*manifests: Manifest) -> list[str] | None:
        view: SagaView = park(reserved(), "payments.capture", "").view()
        return may_emit(parked_steps(view)[0], view, manifests)

    newer = manifest("payments", [handler("capture", "OrderPlaced", emits="PaymentCaptured")], version="2")
    given_up = handler("give_up", emits="PaymentGivenUp", kind="otherwise", guards="capture")
    with_otherwise = manifest("payments", [*newer.model_dump()["handlers"], given_up], version="3")
    assert may(ORDERS, PAYMENTS, SHIPPING) == ["orders.PaymentCaptured", "orders.PaymentDeclined"]
    assert may(PAYMENTS, newer) == ["orders.PaymentCaptured"]
    assert may(newer, with_otherwise) == ["orders.PaymentCaptured", "orders.PaymentGivenUp"]
    # Where no manifest says it, the tracker's step does.
    assert may() == ["orders.PaymentCaptured", "orders.PaymentDeclined"]


def test_of_a_step_that_nobody_announced_nothing_is_known():
    flow = park(reserved(), "nobody.knows", "")
    view = flow.view()
    assert [may_emit(each, view, []) for each in parked_steps(view)] == [None]
