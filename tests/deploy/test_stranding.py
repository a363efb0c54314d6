"""SEMANTICS 38: which live sagas a deploy would strand."""

from collections.abc import Iterator

import pytest

from choreo.choreography import Choreography
from choreo.deploy import CODES, stranding
from choreo.errors import Problem
from choreo.manifest import HandlerManifest, Manifest
from choreo.tracker import SagaView
from tests.tracker.orders import INVENTORY, MANIFESTS, ORDERS, PAYMENTS, SHIPPING, Flow, full, placed

OVERDUE = HandlerManifest(
    name="overdue",
    kind="deadline",
    waits_for=[[full("OrderPlaced")]],
    awaits=[full("OrderConfirmed")],
    emits=[full("TooLate")],
    within_s=60,
)


SINGLES = {"log": "OrderPlaced", "greet": "AddressConfirmed"}


def reserved(key: str = "order-17") -> Flow:
    """The capture is due."""
    flow = placed(key)
    flow.emit("InventoryReserved", "inventory.reserve", "OrderPlaced")
    return flow


def captured(key: str = "order-17") -> Flow:
    """The shipment is due, and there is something to refund."""
    flow = reserved(key)
    flow.emit("PaymentCaptured", "payments.capture", "OrderPlaced", "InventoryReserved")
    return flow


def to_refund(key: str = "order-17") -> Flow:
    flow = captured(key)
    flow.emit("ShipmentFailed", "shipping.ship", "PaymentCaptured")
    return flow


def refunded(key: str = "order-17") -> Flow:
    flow = to_refund(key)
    flow.emit("PaymentRefunded", "payments.refund", "ShipmentFailed", "PaymentCaptured", undoes="PaymentCaptured")
    return flow


def with_handlers(manifest: Manifest, *handlers: HandlerManifest) -> Manifest:
    return manifest.model_copy(update={"handlers": [*manifest.handlers, *handlers], "service_version": "2"})


def without(manifest: Manifest, name: str) -> Manifest:
    left = [each for each in manifest.handlers if each.name != name]
    assert len(left) < len(manifest.handlers)
    return manifest.model_copy(update={"handlers": left, "service_version": "2"})


def altered(manifest: Manifest, handler: str, **fields: object) -> Manifest:
    """Return a manifest with one handler's fields replaced."""
    assert any(each.name == handler for each in manifest.handlers)
    handlers = [each.model_copy(update=fields) if each.name == handler else each for each in manifest.handlers]
    return manifest.model_copy(update={"handlers": handlers, "service_version": "2"})


def with_saga(**fields: object) -> Manifest:
    return ORDERS.model_copy(update={"sagas": [each.model_copy(update=fields) for each in ORDERS.sagas]})


def types(*groups: str) -> list[list[str]]:
    return [[full(each) for each in group.split()] for group in groups]


def told(new: Manifest, *live: Flow, running: list[Manifest] = MANIFESTS) -> list[Problem]:
    graph = Choreography([*MANIFESTS, *running])
    return stranding(running, [new], [flow.view(graph=graph) for flow in live])


def codes(new: Manifest, *live: Flow, running: list[Manifest] = MANIFESTS) -> list[str]:
    return [problem.code for problem in told(new, *live, running=running)]


class TestHandlers:
    def test_r38_one_that_is_gone_strands_its_open_steps(self):
        flow = reserved()
        (problem,) = told(without(PAYMENTS, "capture"), flow)
        assert problem == Problem(
            "CH121",
            f"payments.capture is gone, with steps to finish in 1 live saga: order-17 ({flow.saga_id})",
            "",
            'Keep capture until these sagas have ended; or, if another does its work, give that one name="capture".',
        )

    def test_r38_a_name_keeps_a_step_over_a_rename(self):
        renamed = altered(PAYMENTS, "capture", name="take_payment", place="payments.py:9")
        (problem,) = told(renamed, reserved())
        assert "payments.capture is gone, and looks like take_payment now, with steps to finish" in problem.message
        assert problem.fix == 'Give take_payment name="capture": a step is known by its name.'
        assert problem.place == "payments.py:9"

    def test_the_likeliest_of_several_is_suggested(self):
        capture = PAYMENTS.handlers[0]
        others = [
            capture.model_copy(update={"name": "tell"}),
            capture.model_copy(update={"name": "capture2", "emits": [full("PaymentCaptured")]}),
            capture.model_copy(update={"name": "capture_it"}),
            capture.model_copy(update={"name": "captured", "waits_for": types("OrderPlaced")}),
        ]
        (problem,) = told(with_handlers(without(PAYMENTS, "capture"), *others), reserved())
        assert "looks like capture_it now" in problem.message

    def test_one_that_was_there_before_is_not_suggested(self):
        running = [ORDERS, with_handlers(PAYMENTS, PAYMENTS.handlers[0].model_copy(update={"name": "tell"}))]
        (problem,) = told(without(running[1], "capture"), reserved(), running=running)
        assert problem.message.startswith("payments.capture is gone, with")

    @pytest.mark.parametrize(("note", "open_"), [("retried", True), ("parked", True), ("skipped", False)])
    def test_a_step_that_waits_is_open_and_one_that_was_skipped_is_not(self, note: str, open_: bool):
        flow = reserved()
        flow.note(note, "payments.capture", "", attempt=1)
        assert codes(without(PAYMENTS, "capture"), flow) == ["CH121"] * open_

    def test_a_join_that_has_begun_to_wait_is_stranded(self):
        assert codes(without(PAYMENTS, "capture"), placed()) == ["CH121"]

    def test_what_is_done_or_has_not_begun_is_not_stranded(self):
        assert codes(without(SHIPPING, "ship"), reserved()) == []
        assert codes(without(PAYMENTS, "capture"), captured()) == []

    def test_a_parked_undoing_is_no_step_of_what_it_undoes(self):
        flow = to_refund()
        flow.note("parked", "payments.refund", "PaymentCaptured")
        assert codes(without(PAYMENTS, "capture"), flow) == []

    def test_one_that_became_something_else_is_gone(self):
        assert codes(altered(SHIPPING, "ship", kind="deadline"), captured()) == ["CH121"]

    def test_many_sagas_are_counted_and_some_are_named(self):
        flows = [reserved(f"order-{number}") for number in range(5)]
        (problem,) = told(without(PAYMENTS, "capture"), captured(), *flows)
        first = ", ".join(f"{flow.key} ({flow.saga_id})" for flow in flows[:3])
        assert problem.message.endswith(f"in 5 live sagas: {first}, 2 more")

    def test_a_saga_without_a_key_is_told_by_its_id(self):
        flow = reserved("")
        assert told(without(PAYMENTS, "capture"), flow)[0].message.endswith(f": {flow.saga_id}")


class TestCompensations:
    def test_r38_what_stands_may_have_to_be_undone(self):
        (problem,) = told(without(PAYMENTS, "refund"), captured(), to_refund("order-18"))
        assert problem.code == "CH122"
        assert "payments.refund is gone, with something to undo in 2 live sagas" in problem.message

    def test_what_was_never_done_or_is_undone_need_not_be(self):
        silently = to_refund("order-19")
        silently.note("completed", "payments.refund", "PaymentCaptured")
        assert codes(without(PAYMENTS, "refund"), reserved(), refunded("order-18"), silently) == []

    def test_one_of_a_parked_undoing_is_needed(self):
        flow = to_refund()
        flow.note("parked", "payments.refund", "PaymentCaptured")
        assert codes(without(PAYMENTS, "refund"), flow) == ["CH122"]

    def test_one_that_undoes_nothing_that_stands_is_needed_while_it_runs(self):
        flow = placed()
        flow.emit("AddressRejected", "shipping.check", "OrderPlaced")
        flow.emit("InventoryReserved", "inventory.reserve", "OrderPlaced")
        flow.note("skipped", "payments.capture", "", reason="orders.AddressRejected came first")
        assert codes(without(PAYMENTS, "refund"), flow) == ["CH122"]

    def test_under_another_name_it_would_undo_again(self):
        renamed = altered(PAYMENTS, "refund", name="give_back")
        parked = to_refund("order-20")
        parked.note("parked", "payments.refund", "PaymentCaptured")
        (problem,) = told(renamed, captured(), to_refund("order-18"), refunded("order-19"), parked)
        assert "looks like give_back now, with undoings that it began in 3 live sagas: order-18" in problem.message
        assert 'name="refund"' in problem.fix

    def test_another_service_s_events_are_not_its_originals(self):
        assert codes(without(INVENTORY, "release"), placed()) == []
        assert codes(without(INVENTORY, "release"), reserved()) == ["CH122"]

    def test_a_cause_that_it_takes_no_more_strands_what_waits_for_it(self):
        fewer = altered(PAYMENTS, "refund", causes=[full("AddressRejected")])
        (problem,) = told(fewer, captured(), to_refund("order-18"), refunded("order-19"))
        assert problem.code == "CH123"
        assert "payments.refund takes ShipmentFailed no more" in problem.message
        assert "in 1 live saga: order-18" in problem.message
        assert codes(altered(PAYMENTS, "refund", causes=[full("ShipmentFailed")]), to_refund()) == []

    def test_what_came_from_outside_may_have_to_be_undone(self):
        undo = HandlerManifest(
            name="forget", kind="compensation", causes=[full("OutOfStock")], original=[full("OrderPlaced")]
        )
        running = [with_handlers(INVENTORY, undo), ORDERS]
        assert codes(INVENTORY, placed(), running=running) == ["CH122"]
        flow = placed()
        flow.emit("OutOfStock", "inventory.reserve", "OrderPlaced")
        assert codes(altered(running[0], "forget", name="drop"), flow, running=running) == ["CH122"]
        flow.emit("InventoryReleased", "inventory.forget", "OutOfStock", undoes="OrderPlaced")
        assert codes(INVENTORY, flow, running=running) == []


class TestEvents:
    def test_r38_one_that_is_taken_no_more_strands_the_steps_it_began(self):
        other = altered(SHIPPING, "ship", waits_for=types("InventoryReserved"), place="shipping.py:3")
        (problem, _) = told(other, captured(), reserved("order-18"))
        assert problem.code == "CH123"
        assert "shipping.ship takes PaymentCaptured no more, with steps to finish for it in 1 live" in problem.message
        assert problem.fix == "Let ship take PaymentCaptured, too, until these sagas have ended."
        assert problem.place == "shipping.py:3"

    def test_of_a_union_only_what_is_missing_counts(self):
        fewer = altered(ORDERS, "cancel", waits_for=types("PaymentDeclined ShipmentFailed AddressRejected"))
        assert codes(fewer, to_refund()) == []
        flow = placed()
        flow.emit("OutOfStock", "inventory.reserve", "OrderPlaced")
        assert codes(fewer, flow) == ["CH123"]
        flow.emit("OrderCancelled", "orders.cancel", "OutOfStock")
        flow.emit("AddressRejected", "shipping.check", "OrderPlaced")
        assert codes(fewer, flow) == []

    def test_a_parameter_less_strands_those_that_wait_for_it(self):
        assert codes(altered(PAYMENTS, "capture", waits_for=types("OrderPlaced")), placed()) == ["CH123"]

    def test_of_a_join_s_union_what_has_come_counts(self):
        wider = altered(PAYMENTS, "capture", waits_for=types("OrderPlaced", "InventoryReserved PartMissing"))
        running = [ORDERS, wider]
        assert codes(PAYMENTS, reserved(), running=running) == []
        flow = placed()
        flow.emit("PartMissing", "inventory.reserve", "OrderPlaced")
        assert codes(PAYMENTS, flow, running=running) == ["CH123"]

    def test_a_parameter_more_may_have_been_passed_by(self):
        more = altered(PAYMENTS, "capture", waits_for=types("OrderPlaced", "InventoryReserved", "AddressConfirmed"))
        (problem,) = told(more, reserved(), captured("order-18"))
        assert problem.code == "CH126"
        assert "payments.capture waits for AddressConfirmed, too, with steps that began without it" in problem.message
        assert "in 1 live saga: order-17" in problem.message

    @pytest.mark.parametrize("event", ["AddressRejected", "PaymentCaptured", "InventoryReserved"])
    def test_what_the_service_remembers_was_not_passed_by(self, event: str):
        running = [ORDERS, with_handlers(PAYMENTS, HandlerManifest(name="log", waits_for=types("OrderPlaced")))]
        assert codes(altered(running[1], "log", waits_for=types("OrderPlaced", event)), placed(), running=running) == []

    def test_what_it_only_takes_one_by_one_it_does_not_remember(self):
        singles = [HandlerManifest(name=name, waits_for=types(takes)) for name, takes in SINGLES.items()]
        running = [ORDERS, with_handlers(PAYMENTS, *singles)]
        more = altered(running[1], "log", waits_for=types("OrderPlaced", "AddressConfirmed"))
        assert codes(more, placed(), running=running) == ["CH126"]


class TestDeadlines:
    RUNNING = (with_handlers(ORDERS, OVERDUE), INVENTORY)

    def codes(self, *live: Flow, new: Manifest = ORDERS, **fields: object) -> list[str]:
        return codes(new, *live, running=[altered(self.RUNNING[0], "overdue", **fields), INVENTORY])

    def test_r38_one_that_is_gone_never_fires(self):
        (problem,) = told(ORDERS, placed(), running=list(self.RUNNING))
        assert problem.code == "CH124"
        assert "orders.overdue is gone, with deadlines set in 1 live saga: order-17" in problem.message

    def test_nor_does_one_under_another_name(self):
        assert self.codes(placed(), new=altered(self.RUNNING[0], "overdue", name="late")) == ["CH124"]

    def test_what_it_awaits_calls_it_off(self):
        assert self.codes(reserved(), awaits=[full("InventoryReserved")]) == []
        assert self.codes(reserved(), awaits=[full("PaymentCaptured")]) == ["CH124"]

    def test_a_failure_calls_it_off_unless_it_outlives_one(self):
        flow = placed()
        flow.emit("OutOfStock", "inventory.reserve", "OrderPlaced")
        assert self.codes(flow) == []
        assert self.codes(flow, after_abort=True) == ["CH124"]

    def test_one_that_has_fired_is_needed_until_its_step_is_done(self):
        fired = placed()
        fired.emit("TooLate", "orders.overdue", "OrderPlaced")
        assert self.codes(fired, after_abort=True) == []
        flow = placed()
        flow.note("parked", "orders.overdue", "OrderPlaced")
        assert self.codes(flow, awaits=[full("OrderPlaced")]) == ["CH124"]

    def test_what_comes_in_one_branch_calls_off_its_own(self):
        flow = placed()
        for number in (0, 1):
            branch = f"/{'a' * 8}:{number}.2"
            flow.emit(f"InventoryReserved@{number}", "inventory.reserve", "OrderPlaced", branch=branch)
        within = {"waits_for": types("InventoryReserved"), "awaits": [full("PaymentCaptured")]}
        flow.emit("PaymentCaptured", "payments.capture", "InventoryReserved@0", branch=f"/{'a' * 8}:0.2")
        assert self.codes(flow, **within) == ["CH124"]
        flow.emit("PaymentCaptured@1", "payments.capture", "InventoryReserved@1", branch=f"/{'a' * 8}:1.2")
        assert self.codes(flow, **within) == []


class TestSagaTypes:
    @pytest.mark.parametrize(
        ("new", "what"),
        [
            (ORDERS.model_copy(update={"sagas": []}), "orders owns saga order-fulfilment no more"),
            (
                with_saga(starts=full("AddressConfirmed")),
                "saga order-fulfilment starts with AddressConfirmed, no more with OrderPlaced",
            ),
            (with_saga(completes=[full("ShipmentCreated")]), "saga order-fulfilment ends with OrderConfirmed no more"),
            (with_saga(fails=[]), "saga order-fulfilment ends with OrderCancelled no more"),
        ],
    )
    def test_r38_one_that_changes_is_told_with_its_live_sagas(self, new: Manifest, what: str):
        (problem,) = told(new, placed(), reserved("order-18"))
        assert problem.code == "CH125"
        assert problem.message.startswith(f"{what}, with its end to come in 2 live sagas: order-17")

    def test_one_that_moves_is_told(self):
        moved = INVENTORY.model_copy(update={"sagas": ORDERS.sagas})
        found = stranding(MANIFESTS, [ORDERS.model_copy(update={"sagas": []}), moved], [placed().view()])
        assert [each.code for each in found] == ["CH125"]
        assert "saga order-fulfilment is owned by inventory, no more by orders" in found[0].message

    def test_another_end_and_sagas_of_other_types_are_fine(self):
        assert codes(with_saga(fails=[full("OrderCancelled"), full("OutOfStock")]), placed()) == []
        foreign = with_saga(name="returns", starts=full("ShipmentFailed")).model_copy(update={"service": "returns"})
        assert codes(foreign.model_copy(update={"sagas": []}), placed(), running=[*MANIFESTS, foreign]) == []


def test_without_live_sagas_it_says_what_may_be_stranded():
    (problem,) = stranding(MANIFESTS, [without(PAYMENTS, "capture")], None)
    assert problem.message == "payments.capture is gone, perhaps with steps to finish in live sagas"
    assert problem.code in CODES


def test_where_nothing_changes_no_saga_is_asked_for():
    def live() -> Iterator[SagaView]:
        raise AssertionError
        yield

    assert stranding(MANIFESTS, MANIFESTS, live()) == []
    assert stranding([], MANIFESTS, live()) == []
    assert stranding(MANIFESTS, [INVENTORY, ORDERS], live()) == []


def test_what_runs_is_what_was_announced_last():
    older = with_handlers(PAYMENTS, HandlerManifest(name="old", waits_for=types("OrderPlaced")))
    assert stranding([older, PAYMENTS], [PAYMENTS], None) == []
    assert len(stranding([PAYMENTS, older], [PAYMENTS], None)) == 1
