"""What nobody hears and what nobody brings is told, with the name that was meant; a service that is not here is not."""

import re
from itertools import combinations

import pytest

from choreo.checks import WARNINGS, check, check_manifests
from tests import mistakes
from tests.checks.graphs import GRAPHS, Manifests, altered, codes, graph, made, outcome, step, told, undo, without

ORDER = graph("order")


@pytest.mark.parametrize("code", ["CH012", "CH062", "CH070", "CH071", "CH072"])
def test_what_looks_wrong_between_services_is_told_with_a_place_and_a_fix(code):
    problems = [each for each in check(*mistakes.MISTAKES[code](), mistakes.outside()) if code in {each.code, "CH070"}]
    assert [problem.code for problem in problems] == [code]
    assert re.fullmatch(r"tests/mistakes.py:\d+", problems[0].place)
    assert problems[0].fix[0].isupper()


def test_events_that_end_in_nothing_are_no_warning():
    assert check(mistakes.outside(), *mistakes.undoing()) == []


@pytest.mark.parametrize("name", GRAPHS)
def test_of_some_of_the_services_only_what_others_may_bring_is_said(name):
    manifests = graph(name)
    for count in range(1, len(manifests)):
        for some in combinations(manifests, count):
            assert codes(some) <= {"CH070"}, [each.service for each in some]


def test_an_event_of_a_service_that_is_not_here_is_looked_for_there():
    [problem] = check_manifests([each for each in ORDER if each.service == "notifications"])[:1]
    assert problem.message == "notifications.send_confirmation handles OrderConfirmed, which nobody emits"
    assert problem.fix == "Check it together with the service that emits it."


def test_an_event_that_a_service_here_would_emit_is_missing():
    refundless = without(ORDER, "payments.refund")
    [problem] = [each for each in check_manifests(refundless) if each.code == "CH070"]
    assert problem.message == "inventory.release handles PaymentRefunded, which nobody emits"
    assert problem.fix == "Let a handler emit it, or wait for something else."
    assert "CH100" in codes(refundless)


def test_what_is_looked_out_for_must_come_from_somewhere_too():
    never = altered(ORDER, "notifications.send_confirmation", unless=["orders.OrderRevoked"])
    assert told(never, "CH070") == ["notifications.send_confirmation looks out for OrderRevoked, which nobody emits"]


def misspelt() -> Manifests:
    return altered(
        ORDER, "shipping.create", emits=["shipping.ShipmentCreatd", "shipping.ShipmentFailed"],
        outcomes=[outcome("shipping.ShipmentCreatd"), outcome("shipping.ShipmentFailed")],
    )  # fmt: skip


def test_a_slip_in_a_name_is_told_at_both_ends():
    fixes = {problem.code: problem.fix for problem in check_manifests(misspelt()) if problem.code in {"CH012", "CH070"}}
    assert fixes == {"CH012": "Did you mean ShipmentCreated?", "CH070": "Did you mean ShipmentCreatd?"}


def test_an_event_of_another_name_is_no_slip():
    other = altered(ORDER, "orders.confirm", waits_for=[["orders.OrderPlaced"], ["orders.OrderAccepted"]])
    [problem] = [problem for problem in check_manifests(other) if problem.code == "CH070"]
    assert "Did you mean" not in problem.fix


CHAIN = made(
    step("b.first", [["a.Start"]], outcome("b.First")),
    step("a.finish", [["b.First"]], outcome("a.Done")),
    fails="",
)


def test_a_handler_that_waits_for_what_it_leads_to_is_never_reached():
    circle = [
        *CHAIN,
        *made(
            step("c.one", [["d.Two"], ["a.Start"]], outcome("c.One")),
            step("d.two", [["c.One"]], outcome("d.Two")),
            step("e.behind", [["c.One"]], outcome("e.Behind")),
            fails="",
        )[1:],
    ]
    assert told(circle, "CH110") == [
        "c.one is never reached: Two comes only once it has run",
        "d.two is never reached: One comes only once it has run",
    ]
    assert "CH110" not in codes(CHAIN)


def test_a_handler_that_waits_for_two_sagas_is_never_reached():
    mixed = [*ORDER, *graph("approval")]
    [notices] = [each for each in mixed if each.service == "notifications"]
    [message] = told(
        altered(mixed, "notifications.send_confirmation", waits_for=[["orders.OrderConfirmed"], ["approvals.RequestGranted"]]),
        "CH110",
    )  # fmt: skip
    assert notices.handlers
    assert message == "notifications.send_confirmation is never reached: no saga has all that it waits for"


def test_a_way_that_nobody_goes_on_with_is_told():
    forgetful = altered(
        CHAIN, "b.first", emits=["b.First", "b.Postponed"], outcomes=[outcome("b.First"), outcome("b.Postponed")]
    )
    assert told(forgetful, "CH111") == ["b.first emits Postponed, which nobody handles"]


def test_a_last_step_s_events_are_for_nobody():
    letters = made(
        step("b.first", [["a.Start"]], outcome("b.First"), outcome("b.NotFirst")),
        undo("b.undo", ["c.NotSent"], "b.First", outcome("b.Undone")),
        step("c.send", [["b.First"]], outcome("c.Sent"), outcome("c.NotSent")),
        step("a.finish", [["c.Sent"]], outcome("a.Done")),
        step("a.fail", [["b.NotFirst", "c.NotSent"]], outcome("a.Failed")),
        step("d.tell", [["a.Done", "a.Failed"]], outcome("d.Told"), outcome("d.Written")),
    )
    assert codes(letters) == set()


def test_warnings_keep_nothing_from_running():
    assert {"CH012", "CH070", "CH071", "CH072", "CH111"} <= WARNINGS
    assert {"CH062", "CH110"}.isdisjoint(WARNINGS)
