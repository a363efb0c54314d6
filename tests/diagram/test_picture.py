"""What every form shows: kinds, arrows, sources, columns, and the same picture in whatever order services are named."""

import random
from itertools import pairwise

import pytest

from choreo.choreography import Choreography
from choreo.diagram import Picture, dot, mermaid, text
from choreo.diagram.captions import duration
from choreo.diagram.picture import Arrow, ArrowKind, EventKind, Origin
from choreo.manifest import Manifest
from choreo.svg import svg
from tests.diagram.scenes import everything, example, invented, scenes, tangled

SCENES = dict(scenes())
ORDER = Picture(example("order"))
ODD = Picture(Choreography(everything()))


def test_an_event_is_what_it_is_to_its_saga():
    kinds = {event.partition(".")[2]: ORDER.kind(event) for event in ORDER.events}
    assert kinds["OrderPlaced"] is EventKind.START
    assert kinds["OrderConfirmed"] is EventKind.COMPLETES
    assert kinds["OrderCancelled"] is EventKind.FAILS
    assert {name for name, kind in kinds.items() if kind is EventKind.FAILURE} == {
        "OrderRejected",
        "OutOfStock",
        "PaymentDeclined",
        "AddressRejected",
        "ShipmentFailed",
    }
    assert {name for name, kind in kinds.items() if kind is EventKind.UNDOING} == {
        "InventoryReleased",
        "PaymentRefunded",
        "ShipmentCancelled",
    }


def test_steps_stand_right_of_all_that_they_take_and_undoing_beside_what_it_undoes():
    columns = {name.partition(".")[2]: column for name, column in ORDER.columns.items()}
    assert columns == {
        "reserve": 0,
        "check_address": 0,
        "release": 0,
        "capture": 1,
        "refund": 1,
        "create": 2,
        "cancel_shipment": 2,
        "confirm": 3,
        "cancel": 4,
        "send_confirmation": 4,
        "send_cancellation": 5,
    }


def test_what_goes_round_in_a_circle_stays_where_it_is_reached_first():
    assert ODD.columns["clock.tick"] == 0
    assert ODD.columns["clock.tock"] == ODD.columns["clock.spread"] == 1


def test_what_stands_in_for_a_step_stands_beside_it():
    assert ODD.columns["pay.give_up"] == ODD.columns["pay.capture"]
    assert ODD.takers("elsewhere.Foreign") == (_step("pay.give_up").guarded,)


def _step(name: str):
    return next(step for step in ODD.steps if step.name == name)


def test_what_stands_in_for_a_compensation_stands_beside_the_step_that_is_undone():
    columns = Picture(Choreography(tangled())).columns
    assert columns["s0.first"] == 0
    assert columns["s0.step"] == columns["s0.undo"] == columns["s0.instead"] == 1
    assert columns["s0.for_nobody"] == 0


def test_services_are_told_as_a_saga_reaches_them_its_start_first():
    assert ORDER.services == ("orders", "inventory", "shipping", "payments", "notifications")
    reached = [ORDER.columns[step.name] for step in ORDER.steps]
    assert all(before <= after for before, after in pairwise(reached))


def test_every_arrow_that_a_step_has_is_told():
    def of(*steps: str) -> set[Arrow]:
        return {arrow for arrow in ODD.arrows if arrow.source in steps or arrow.target in steps}

    assert of("stock.release") == {
        Arrow(ArrowKind.CAUSES, "pay.Refunded", "stock.release"),
        Arrow(ArrowKind.CAUSES, "shop.TimedOut", "stock.release"),
        Arrow(ArrowKind.UNDOES, "stock.release", "stock.Reserved", "undoes"),
        Arrow(ArrowKind.EMITS, "stock.release", "stock.Released"),
    }
    assert of("shop.overdue") == {
        Arrow(ArrowKind.TAKES, "shop.Placed", "shop.overdue"),
        Arrow(ArrowKind.STOPS, "shop.Confirmed", "shop.overdue", "stops"),
        Arrow(ArrowKind.STOPS, "shop.Cancelled", "shop.overdue", "stops"),
        Arrow(ArrowKind.EMITS, "shop.overdue", "shop.TimedOut"),
    }
    assert of("pay.give_up") == {
        Arrow(ArrowKind.STANDS_IN, "pay.capture", "pay.give_up", "gives up"),
        Arrow(ArrowKind.EMITS, "pay.give_up", "pay.Unknown"),
    }
    assert of("clock.tock", "clock.gather", "clock.spread") == {
        Arrow(ArrowKind.TAKES, "clock.Ticked", "clock.tock"),
        Arrow(ArrowKind.STOPS, "shop.Cancelled", "clock.tock", "stops"),
        Arrow(ArrowKind.STOPS, "shop.TimedOut", "clock.tock", "stops"),
        Arrow(ArrowKind.EMITS, "clock.tock", "clock.Tocked", "later"),
        Arrow(ArrowKind.TAKES, "clock.Ticked", "clock.spread"),
        Arrow(ArrowKind.EMITS, "clock.spread", "clock.Noted", "opens branches"),
        Arrow(ArrowKind.TAKES, "clock.Noted", "clock.gather", "one from each branch"),
        Arrow(ArrowKind.TAKES, "shop.Placed", "clock.gather"),
    }


def test_arrows_look_like_what_they_carry():
    looks = {(arrow.source, arrow.target): ODD.look(arrow) for arrow in ODD.arrows}
    assert looks["shop.Placed", "stock.reserve"] == "fact"
    assert looks["shop.overdue", "shop.TimedOut"] == looks["shop.TimedOut", "shop.cancel"] == "failure"
    assert looks["pay.capture", "pay.give_up"] == "failure"
    assert looks["pay.refund", "pay.Refunded"] == looks["pay.Refunded", "stock.release"] == "undoing"
    assert looks["stock.release", "stock.Reserved"] == "undoing"
    assert looks["shop.Confirmed", "shop.overdue"] == "stops"


def test_what_no_handler_emits_is_told_with_where_it_comes_from():
    assert Picture(example("approval")).origins == (
        Origin("approvals", ("approvals.ApprovalRequested",), starts=True),
        Origin("approvals", ("decisions.DirectorApproved", "decisions.DirectorRejected"), "a director"),
        Origin("approvals", ("decisions.ManagerApproved", "decisions.ManagerRejected"), "a manager"),
    )
    assert ODD.origins[1:] == (Origin("", ("elsewhere.Foreign",)),)


def test_an_event_is_at_home_where_it_alone_comes_from():
    assert ORDER.home("payments.PaymentCaptured") == "payments"
    assert ODD.home("elsewhere.Foreign") == ""
    twice = [manifest.model_copy(update={"service": name}) for manifest in everything() for name in ("a", "b")]
    assert Picture(Choreography(twice)).home("stock.Reserved") == ""


def test_events_that_share_a_class_name_are_told_apart():
    other = everything()[0].model_dump_json().replace("shop.Confirmed", "other.Confirmed").replace('"shop"', '"twin"')
    picture = Picture(Choreography([*everything(), Manifest.model_validate_json(other)]))
    assert {picture.label(event) for event in picture.events if event.endswith(".Confirmed")} == {
        "shop.Confirmed",
        "other.Confirmed",
    }
    assert picture.label("stock.Reserved") == "Reserved"


@pytest.mark.parametrize("form", [mermaid, dot, svg, text])
def test_no_order_of_services_changes_a_picture(form):
    for manifests in [*SCENES.values(), *(invented(seed) for seed in range(10))]:
        told = form(Choreography(manifests))
        shuffled = random.Random(1).sample(manifests, len(manifests))
        assert form(Choreography(shuffled)) == told


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.5, "0.5 s"), (90.0, "90 s"), (300.0, "5 min"), (7200.0, "2 h"), (259_200.0, "3 d"), (None, "a time that")],
)
def test_a_deadline_is_told_in_the_unit_that_tells_it_whole(seconds: float | None, words: str):
    assert duration(seconds).startswith(words)
