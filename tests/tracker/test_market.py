"""Branches, repair, what nobody knows, and time, on hand-made records. Rules 12, 16, 23, 27, 28, 30, 34 and 35."""

import pytest

from choreo.choreography import Choreography
from choreo.saga import SagaState
from choreo.scope import opened
from choreo.tracker.views import Flag, SagaStep, SagaView, StepStatus
from tests.tracker.market import (
    BANK,
    CARRIER,
    GRAPH,
    MANIFESTS,
    MARKET,
    REMINDERS,
    SELLERS,
    WITHIN_S,
    Market,
    delivered,
    given_up,
    part_missing,
    resolved,
    too_late,
)
from tests.tracker.orders import full, handler, manifest, undo

HOUR_US = WITHIN_S * 1_000_000
# A market without a deadline.
PATIENT = MARKET.model_copy(update={"handlers": MARKET.handlers[:3]})


def step(view: SagaView, name: str, branch: str = "") -> SagaStep:
    (found,) = (each for each in view.steps if (each.name, each.branch) == (name, branch))
    return found


def states(flow: Market) -> list[SagaState]:
    return [flow.view(flow.records[:count]).state for count in range(1, len(flow.records) + 1)]


# Branches.


def test_r12_a_fan_out_is_one_step_outside_of_the_branches_that_it_opens() -> None:
    flow = Market()
    flow.split()
    view = flow.view()
    split = step(view, "split")
    assert (split.status, split.result) == (StepStatus.COMPLETED, full("PartOrdered"))
    assert [each.branch for each in view.steps if each.name == "pack"] == [flow.branch(path) for path in range(3)]
    assert {each.status for each in view.steps if each.name == "pack"} == {StepStatus.EXECUTING}
    assert (
        "orders.PartMissing | orders.PartPacked from sellers (pack) in 3 branches, since 2026-01-01T00:00:02Z"
        in view.waiting_for
    )


def test_r12_what_a_fan_out_returns_beside_its_list_is_of_the_same_step() -> None:
    both = MARKET.handlers[0].model_copy(update={"emits": [full("PartOrdered"), full("Reminded")]})
    market = MARKET.model_copy(update={"handlers": [both, *MARKET.handlers[1:]]})
    graph = Choreography([market, SELLERS, CARRIER, BANK, REMINDERS])
    flow = Market(parts=2)
    flow.emit("Reminded", "market.split", "Ordered")
    flow.split()
    view = flow.view(graph=graph)
    assert step(view, "split").result == "orders.PartOrdered, orders.Reminded"
    assert not view.violations


def test_r12_a_fan_in_is_pending_until_every_branch_has_brought_something() -> None:
    flow = Market()
    flow.split()
    for path in (2, 0):
        flow.pack(path)
        flow.send(path)
    view = flow.view()
    gather = step(view, "gather")
    assert (gather.status, gather.trigger) == (StepStatus.PENDING, flow.fork[:8])
    assert any(
        each.startswith("orders.PartSent from carrier, missing from 1 of 3 branches, since")
        for each in view.waiting_for
    )
    flow.pack(1)
    flow.send(1)
    assert step(flow.view(), "gather").status is StepStatus.PENDING
    assert not any("missing from" in each for each in flow.view().waiting_for)
    flow.charge()
    assert step(flow.view(), "gather").status is StepStatus.EXECUTING
    flow.gather()
    view = flow.view()
    assert (step(view, "gather").status, view.state) == (StepStatus.COMPLETED, SagaState.COMPLETED)


def test_r12_a_fan_in_of_one_branch_is_known_by_its_only_cause() -> None:
    alone = manifest("market", [handler("gather", "PartSent", emits="Delivered", fan_in=True, gathers=0)], "2")
    flow = Market(parts=1)
    flow.split()
    flow.pack(0)
    flow.send(0)
    flow.emit("Delivered", "market.gather", "PartSent@0")
    gather = step(flow.view(graph=Choreography([*MANIFESTS, alone])), "gather")
    assert (gather.trigger, gather.status) == (flow.fork[:8], StepStatus.COMPLETED)


def test_r12_of_several_events_of_one_branch_the_first_counts() -> None:
    flow = Market(parts=2)
    for label in ("PartSent@1", "PartSent@0", "PartSent@again"):
        path = int(label == "PartSent@1")
        flow.emit(label, "carrier.send", "Ordered", branch=flow.branch(path))
        if label == "PartSent@0":
            flow.charge()
            ready = step(flow.view(), "gather")
    again = step(flow.view(), "gather")
    assert (again.status, again.since) == (StepStatus.EXECUTING, ready.since)


def test_r12_branches_that_disagree_on_their_number_are_gathered_where_one_set_of_them_is_whole() -> None:
    flow = Market(parts=2)
    flow.charge()
    for of in (1, 2):
        flow.emit(f"PartSent@{of}", "carrier.send", "Ordered", branch=opened("", flow.fork, 0, of))
    assert step(flow.view(), "gather").status is StepStatus.EXECUTING


def test_r12_branches_nest() -> None:
    nested = [
        manifest(
            "sellers",
            [
                handler("pack", "PartOrdered", emits="PartPacked", fan_out=True),
                handler("count", "PartPacked", "PartOrdered", emits="PartSent", fan_in=True, gathers=0),
            ],
        ),
        manifest(
            "market",
            [
                handler("split", "Ordered", emits="PartOrdered", fan_out=True),
                handler("gather", "PartSent", emits="Delivered", fan_in=True, gathers=0),
            ],
            sagas=[MARKET.sagas[0].model_dump()],
        ),
    ]
    graph = Choreography(nested)
    flow = Market(parts=2)
    flow.split()
    for path in range(2):
        outer = flow.branch(path)
        key = flow.step_key("sellers.pack", f"PartOrdered@{path}", outer)
        packed = [f"PartPacked@{path}.{place}" for place in range(path + 1)]
        for place, label in enumerate(packed):
            inner = opened(outer, key, place, path + 1)
            flow.emit(label, "sellers.pack", f"PartOrdered@{path}", branch=inner)
        view = flow.view(graph=graph)
        count = step(view, "count", outer)
        assert (count.trigger, count.status) == (key[:8], StepStatus.EXECUTING)
        assert step(view, "pack", outer).status is StepStatus.COMPLETED
        flow.emit(f"PartSent@{path}", "sellers.count", f"PartOrdered@{path}", *packed, branch=outer)
    flow.emit("Delivered", "market.gather", "PartSent@0", "PartSent@1")
    view = flow.view(graph=graph)
    assert view.state is SagaState.COMPLETED
    assert {each.status for each in view.steps} == {StepStatus.COMPLETED}
    assert len(view.steps) == 1 + 2 + 2 + 1
    assert not view.flags


def test_r12_a_branch_that_has_not_been_read_keeps_a_saga_from_resting() -> None:
    flow = part_missing()
    lost = next(each for each in flow.records if each.headers[0][1].decode() == flow.ids["PartOrdered@2"])
    view = flow.view([each for each in flow.records if each is not lost])
    assert view.state is SagaState.COMPENSATING
    assert view.waiting_for[0] == "1 of the 3 branches that market.split opened, which the tracker has not read"


def test_a_fan_in_whose_causes_have_not_been_read_is_shown_all_the_same() -> None:
    flow = Market()
    flow.split()
    flow.emit("Delivered", "market.gather", "nobody", "knows", "them")
    view = flow.view()
    assert step(view, "gather").status is StepStatus.COMPLETED
    assert view.state is SagaState.PENDING


def test_r14_each_branch_is_undone_on_its_own_and_the_saga_fails_when_all_are() -> None:
    flow = part_missing()
    assert states(flow)[-1] is SagaState.FAILED
    assert set(states(flow)[8:-1]) == {SagaState.COMPENSATING}
    view = flow.view()
    packs = [step(view, "pack", flow.branch(path)) for path in range(3)]
    assert [each.status for each in packs] == [StepStatus.COMPENSATED, StepStatus.FAILED, StepStatus.SKIPPED]
    assert packs[2].compensated_at is not None
    assert step(view, "charge").status is StepStatus.COMPENSATED
    assert step(view, "gather").status is StepStatus.PENDING
    assert not view.flags


def test_a_fan_out_of_which_a_part_still_stands_is_not_compensated() -> None:
    graph = Choreography(
        [
            manifest(
                "market",
                [
                    handler("split", "Ordered", emits="PartOrdered", fan_out=True),
                    undo("call_off", "PartUnpacked", "PartOrdered", "Cancelled"),
                    undo("unpack", "PartMissing", "PartPacked", "PartUnpacked"),
                ],
            )
        ]
    )
    flow = Market(parts=2)
    flow.split()
    flow.pack(0)
    flow.emit("PartUnpacked", "market.unpack", "PartPacked@0", undoes="PartPacked@0", branch=flow.branch(0))
    assert step(flow.view(graph=graph), "split").status is StepStatus.COMPENSATING
    ordered = "PartOrdered@0"
    flow.emit("Cancelled", "market.call_off", "PartUnpacked", undoes=ordered, branch=flow.branch(0))
    split = step(flow.view(graph=graph), "split")
    assert (split.status, split.compensated_at) == (StepStatus.COMPLETED, None)


def test_r07_an_outer_event_joins_each_inner_branch_and_waits_on_its_own_only_before() -> None:
    graph = Choreography([MARKET, manifest("carrier", [handler("send", "PartPacked", "Charged", emits="PartSent")])])
    flow = Market(parts=2)
    flow.charge()
    assert [each.branch for each in flow.view(graph=graph).steps if each.name == "send"] == [""]
    flow.split()
    for path in range(2):
        flow.pack(path)
    sends = [each for each in flow.view(graph=graph).steps if each.name == "send"]
    assert [(each.branch, each.status) for each in sends] == [
        (flow.branch(path), StepStatus.EXECUTING) for path in range(2)
    ]


# Retries and repair.


def test_r28_a_step_is_parked_resumed_parked_again_and_done() -> None:
    flow = delivered()
    branch = flow.branch(1)
    seen = []
    for count in range(1, len(flow.records) + 1):
        for each in flow.view(flow.records[:count]).steps:
            if (each.name, each.branch) == ("pack", branch) and (each.status, each.attempts) not in seen:
                seen.append((each.status, each.attempts))
    assert seen == [
        (StepStatus.EXECUTING, 0),
        (StepStatus.RETRYING, 1),
        (StepStatus.RETRYING, 2),
        (StepStatus.PARKED, 3),
        (StepStatus.RETRYING, 3),
        (StepStatus.PARKED, 4),
        (StepStatus.RETRYING, 4),
        (StepStatus.COMPLETED, 5),
    ]
    view = flow.view()
    assert view.state is SagaState.COMPLETED
    assert not view.flags


def test_r28_a_resumed_step_still_says_what_it_failed_with() -> None:
    flow = Market(parts=1)
    flow.note("parked", "bank.charge", "Ordered", attempt=2, error="IOError: down", reason="retries spent")
    flow.asked("resumed", "bank.charge", "Ordered", "c-1")
    charge = step(flow.view(), "charge")
    assert (charge.status, charge.error) == (StepStatus.RETRYING, "IOError: down")
    assert not flow.view().flags
    flow.note("parked", "bank.charge", "Ordered", reason="", error="")
    assert step(flow.view(), "charge").error == "IOError: down", "a parked step that is told of again says no less"
    assert Flag.PARKED in flow.view().flags


def test_r28_notes_count_in_the_order_in_which_they_were_written_whatever_the_clocks_said() -> None:
    flow = Market(parts=1)
    flow.note("parked", "bank.charge", "Ordered", attempt=2, error="IOError: down")
    # Another process goes on with it, whose clock is behind.
    flow.asked("resumed", "bank.charge", "Ordered", "c-1", pause_s=-60)
    assert step(flow.view(), "charge").status is StepStatus.RETRYING
    flow.asked("refused", "bank.charge", "Ordered", "c-2", error="retry: too late")
    assert step(flow.view(), "charge").status is StepStatus.RETRYING
    assert [each.kind for each in flow.view().notes] == ["resumed", "refused", "parked"], "they are told by time"


def test_r28_where_the_journal_has_grown_partitions_count_by_time() -> None:
    flow = Market(parts=1)
    flow.note("parked", "bank.charge", "Ordered", attempt=2, error="IOError: down")
    flow.asked("resumed", "bank.charge", "Ordered", "c-1")
    grown = [*flow.records[:-2], flow.records[-2]._replace(partition=7), flow.records[-1]._replace(partition=0)]
    assert step(flow.view(grown), "charge").status is StepStatus.RETRYING


def test_r28_a_resolved_step_is_done_with_its_event_or_without_one() -> None:
    flow = resolved()
    branch = flow.branch(0)
    at = next(index for index, each in enumerate(flow.records) if b"c-2" in (each.value or b""))
    before, after = flow.view(flow.records[:at]), flow.view(flow.records[: at + 1])
    assert (step(before, "pack", branch).status, before.flags) == (StepStatus.PARKED, {Flag.PARKED})
    # What the person said it emitted is still to come.
    assert (step(after, "pack", branch).status, after.flags) == (StepStatus.RETRYING, frozenset())
    assert "orders.PartMissing | orders.PartPacked from sellers (pack)" in str(after.waiting_for)
    view = flow.view()
    pack, remind = step(view, "pack", branch), step(view, "remind")
    assert (pack.status, pack.attempts, pack.result) == (StepStatus.COMPLETED, 3, full("PartPacked"))
    assert (remind.status, remind.attempts, remind.result) == (StepStatus.COMPLETED, 1, "")
    assert remind.error == "it works again"
    assert view.state is SagaState.COMPLETED
    assert [(each.kind, each.actor, each.command_id) for each in view.notes if each.actor] == [
        ("resolved", "ana", "c-1"),
        ("resolved", "ana", "c-2"),
    ]
    assert [each.attempt for each in view.notes if each.kind == "parked"] == [1, 3]


def test_r28_a_resolved_event_that_the_owner_may_not_emit_is_dropped_and_the_step_is_over() -> None:
    flow = part_missing()
    flow.records = [each for each in flow.records if flow.ids["Cancelled"] not in str(each)]
    flow.note("parked", "market.cancel", "PartMissing@1", attempt=1)
    assert flow.view().flags == {Flag.PARKED}
    flow.note("dropped", "market.cancel", "PartMissing@1", reason="the saga has ended already")
    flow.asked("resolved", "market.cancel", "PartMissing@1", "c-9", event_type=full("Cancelled"))
    view = flow.view()
    assert step(view, "cancel").status is StepStatus.SKIPPED
    assert not view.flags


def test_r22_an_undoing_that_a_person_takes_as_done_is_done() -> None:
    flow = given_up()
    parked, done = flow.view(flow.records[:-1]), flow.view()
    assert (parked.state, step(parked, "charge").status) == (SagaState.COMPENSATING, StepStatus.PARKED)
    assert parked.flags == {Flag.PARKED}, "a reminder is still to be sent"
    assert (done.state, step(done, "charge").status) == (SagaState.FAILED, StepStatus.COMPENSATED)
    assert not done.flags


def test_r30_the_undoing_of_a_skipped_step_is_seen_while_it_is_parked() -> None:
    flow = part_missing()
    at = next(index for index, each in enumerate(flow.records) if flow.ids["PartUnpacked@2"] in str(each.headers))
    flow.records = flow.records[:at]
    key = flow.step_key("sellers.pack", "PartOrdered@2", flow.branch(2))
    flow.note("parked", "sellers.unpack", key, branch=flow.branch(2), attempt=1, error="IOError: x")
    pack = step(flow.view(), "pack", flow.branch(2))
    assert (pack.status, pack.error) == (StepStatus.PARKED, "IOError: x")


# What nobody knows.


def test_r16_what_an_otherwise_ended_is_undone_with_none() -> None:
    flow = given_up()
    at = next(index for index, each in enumerate(flow.records) if flow.ids["ChargeUnknown"] in str(each.headers[0]))
    before, after = flow.view(flow.records[:at]), flow.view(flow.records[: at + 1])
    assert step(before, "charge").status is StepStatus.RETRYING
    charge = step(after, "charge")
    assert (charge.status, charge.result) == (StepStatus.COMPENSATING, full("ChargeUnknown"))
    assert (after.state, charge.attempts) == (SagaState.COMPENSATING, 2)
    assert any(each.startswith("orders.Refunded from bank (refund)") for each in after.waiting_for)
    flow.records = flow.records[:-2]
    key = flow.step_key("bank.charge", "Ordered")
    flow.emit("Refunded", "bank.refund", "ChargeUnknown", "Ordered", undoes=key)
    view = flow.view()
    assert (step(view, "charge").status, view.state) == (StepStatus.COMPENSATED, SagaState.FAILED)
    assert step(view, "charge").compensation == "refund"
    assert not view.violations


def test_r16_an_otherwise_that_no_compensation_asks_about_is_a_plain_failure() -> None:
    plain = BANK.model_copy(update={"handlers": BANK.handlers[:2]})
    flow = given_up()
    flow.records = flow.records[:-2]
    view = flow.view(graph=Choreography([MARKET, SELLERS, CARRIER, plain, REMINDERS]))
    charge = step(view, "charge")
    assert (charge.status, charge.error) == (StepStatus.FAILED, "because of ChargeUnknown")
    assert view.state is SagaState.FAILED


def test_r30_a_step_whose_otherwise_may_abort_more_keeps_a_saga_from_failing() -> None:
    bank = BANK.model_copy(update={"handlers": BANK.handlers[:2]})
    flow = Market(parts=1)
    flow.split()
    flow.miss(0)
    flow.cancel("PartMissing@0")
    view = flow.view(graph=Choreography([MARKET, SELLERS, CARRIER, bank]))
    assert (step(view, "charge").status, view.state) == (StepStatus.EXECUTING, SagaState.COMPENSATING)


def test_r30_so_does_one_whose_otherwise_sets_going_what_may_have_to_be_undone() -> None:
    lender = manifest(
        "lender",
        [
            handler("lend", "BankClosed", emits="Lent"),
            undo("call_in", "PartMissing", "Lent", "CalledIn"),
        ],
    )
    bank = manifest(
        "bank",
        [
            handler("charge", "Ordered", emits="Charged"),
            handler("gave_up", "Ordered", emits="BankClosed", kind="otherwise", guards="charge"),
        ],
    )
    flow = Market(parts=1)
    flow.split()
    flow.miss(0)
    flow.cancel("PartMissing@0")
    assert flow.view(graph=Choreography([PATIENT, SELLERS, CARRIER, bank])).state is SagaState.FAILED
    assert flow.view(graph=Choreography([PATIENT, SELLERS, CARRIER, bank, lender])).state is SagaState.COMPENSATING


# Time.


def test_r23_a_deadline_that_fired_is_a_step_and_one_that_is_set_is_only_waited_for() -> None:
    flow = too_late()
    early = flow.view(flow.records[:3])
    assert not [each for each in early.steps if each.name == "late"]
    until = "orders.Cancelled | orders.Delivered, until 2026-01-01T01:00:01Z, when market.late fires"
    assert until in early.waiting_for
    view = flow.view()
    late = step(view, "late")
    assert (late.status, late.trigger, late.error) == (
        StepStatus.FAILED,
        flow.ids["Ordered"],
        "because of TooLate",
    )
    assert view.state is SagaState.FAILED
    assert not view.flags
    assert not view.violations


def test_r30_overdue_is_told_by_the_time_of_reading_until_the_deadline_is_heard_of() -> None:
    flow = too_late()
    fired = next(index for index, each in enumerate(flow.records) if flow.ids["TooLate"] in str(each.headers[0]))
    due_us = 1_767_225_601_000_000 + HOUR_US
    for now_us, overdue in ((None, False), (0, False), (due_us, False), (due_us + 1, True)):
        assert (Flag.OVERDUE in flow.view(flow.records[:fired], now_us=now_us).flags) is overdue
    for count in range(fired + 1, len(flow.records) + 1):
        assert Flag.OVERDUE not in flow.view(flow.records[:count], now_us=due_us * 2).flags


@pytest.mark.parametrize("awaited", ["Delivered", "Cancelled"])
def test_r23_an_awaited_event_calls_a_deadline_off(awaited: str) -> None:
    flow = Market(parts=1)
    flow.emit(awaited, "market.gather" if awaited == "Delivered" else "market.cancel", "Ordered")
    assert Flag.OVERDUE not in flow.view(now_us=flow.now_us + 2 * HOUR_US).flags


def deadlines(**more: object) -> Choreography:
    """A graph with a deadline in every branch, of a service that reads little."""
    watch = handler("watch", "PartOrdered", emits="TooLate", kind="deadline", awaits=[full("PartPacked")], within_s=60)
    return Choreography([PATIENT, *MANIFESTS[1:], manifest("watching", [watch | more])])


def test_r23_a_deadline_looks_at_its_own_branch() -> None:
    flow = Market(parts=2)
    flow.split()
    flow.pack(0)
    now_us = flow.now_us + HOUR_US
    view = flow.view(graph=deadlines(), now_us=now_us)
    assert Flag.OVERDUE in view.flags
    assert "orders.PartPacked, until 2026-01-01T00:01:03Z, when watching.watch fires" in view.waiting_for
    flow.pack(1)
    assert Flag.OVERDUE not in flow.view(graph=deadlines(), now_us=now_us).flags


def test_r24_a_deadline_ends_with_the_saga_and_with_a_failure_that_its_service_sees() -> None:
    flow = Market(parts=2)
    flow.split()
    flow.miss(0)
    now_us = flow.now_us + HOUR_US
    unseen = flow.view(graph=deadlines(), now_us=now_us)
    seen = flow.view(graph=deadlines(unless=[full("PartMissing")]), now_us=now_us)
    lasting = flow.view(graph=deadlines(unless=[full("PartMissing")], after_abort=True), now_us=now_us)
    assert [Flag.OVERDUE in each.flags for each in (unseen, seen, lasting)] == [True, False, True]
    flow.cancel("PartMissing@0")
    ended = flow.view(graph=deadlines(after_abort=True), now_us=now_us)
    assert ended.state is SagaState.COMPENSATING
    assert Flag.OVERDUE not in ended.flags


def test_r23_a_deadline_that_fired_is_overdue_no_more_whatever_came_of_it() -> None:
    graph = deadlines(emits=[full("Reminded")])
    flow = Market(parts=1)
    flow.split()
    now_us = flow.now_us + HOUR_US
    assert Flag.OVERDUE in flow.view(graph=graph, now_us=now_us).flags
    flow.note("completed", "watching.watch", "PartOrdered@0", branch=flow.branch(0))
    assert Flag.OVERDUE not in flow.view(graph=graph, now_us=now_us).flags


def test_r24_a_failure_that_only_an_older_version_of_the_service_saw_calls_nothing_off() -> None:
    older = manifest("watching", [handler("look", "PartMissing", emits="Reminded")], "0")
    watch = handler("watch", "PartOrdered", emits="Reminded", kind="deadline", awaits=[full("PartPacked")], within_s=60)
    graph = Choreography([older, PATIENT, *MANIFESTS[1:], manifest("watching", [watch])])
    flow = Market(parts=2)
    flow.split()
    flow.miss(0)
    assert Flag.OVERDUE in flow.view(graph=graph, now_us=flow.now_us + HOUR_US).flags


def test_r30_what_is_at_rest_is_not_overdue() -> None:
    without = PATIENT.model_copy(update={"sagas": [PATIENT.sagas[0].model_copy(update={"fails": []})]})
    watch = handler("watch", "Ordered", emits="Reminded", kind="deadline", awaits=[full("Delivered")], within_s=60)
    graph = Choreography([without, SELLERS, CARRIER, manifest("watching", [watch])])
    flow = Market(parts=1)
    flow.split()
    flow.miss(0)
    view = flow.view(graph=graph, now_us=flow.now_us + HOUR_US)
    assert view.state is SagaState.FAILED
    assert not view.flags


def test_r30_a_deadline_that_is_retried_keeps_a_saga_from_failing_where_it_may_abort_more() -> None:
    flow = part_missing()
    assert flow.view().state is SagaState.FAILED
    flow.note("retried", "market.late", "Ordered", attempt=1, error="IOError: x")
    assert flow.view().state is SagaState.COMPENSATING


@pytest.mark.parametrize("within_s", [None, 1e300, float("inf"), float("nan")])
def test_r23_a_deadline_whose_length_is_not_known_is_never_overdue(within_s: float | None) -> None:
    flow = Market(parts=1)
    flow.split()
    view = flow.view(graph=deadlines(within_s=within_s), now_us=2**62)
    assert Flag.OVERDUE not in view.flags
    assert not any("watching" in each for each in view.waiting_for)


def test_r30_a_parked_saga_that_a_deadline_may_move_is_not_stuck() -> None:
    flow = Market(parts=1)
    flow.remind_later()
    flow.note("parked", "bank.charge", "Ordered", attempt=1)
    flow.split()
    flow.note("parked", "sellers.pack", "PartOrdered@0", branch=flow.branch(0), attempt=1)
    assert flow.view().flags == {Flag.PARKED}
    assert flow.view(graph=Choreography([PATIENT, *MANIFESTS[1:]])).flags == {Flag.PARKED, Flag.STUCK}
    people = [each for each in flow.view().waiting_for if each.startswith("a person")]
    assert flow.view().waiting_for[:2] == people
    assert people[0] == "a person to retry or resolve bank.charge, parked, since 2026-01-01T00:00:03Z"


def test_r24_an_event_that_comes_later_is_of_the_step_that_set_it_down() -> None:
    flow = Market(parts=1)
    flow.remind_later()
    remind = step(flow.view(), "remind")
    assert (remind.status, remind.result, remind.error) == (StepStatus.COMPLETED, "", "")
    due = "orders.Reminded is due at 2026-01-01T00:20:00+00:00 from reminders.remind, if nothing calls it off"
    assert due in flow.view().waiting_for
    flow.remind()
    view = flow.view()
    remind = step(view, "remind")
    assert (remind.status, remind.result, remind.attempts) == (StepStatus.COMPLETED, full("Reminded"), 1)
    assert not view.violations
    assert due not in view.waiting_for
    flow.split()
    flow.miss(0)
    flow.records = [each for each in flow.records if flow.ids["Reminded"] not in str(each)]
    assert due not in flow.view().waiting_for, "it ended with the failure"


@pytest.mark.parametrize(
    ("name", "by", "cause"),
    [("TooLate", "market.late", "PartOrdered@0"), ("ChargeUnknown", "bank.gave_up", "PartOrdered@0")],
)
def test_r35_a_deadline_and_an_otherwise_answer_what_their_steps_wait_for(name: str, by: str, cause: str) -> None:
    flow = Market(parts=1)
    flow.split()
    flow.emit(name, by, cause)
    view = flow.view()
    assert Flag.VIOLATION in view.flags
    assert "does not wait for orders.PartOrdered, its cause" in view.violations[0]


def test_what_a_manifest_says_that_cannot_be_is_passed_over() -> None:
    strange = manifest("odd", [handler("odd", "Ordered", emits="Reminded", fan_in=True, gathers=5)])
    graph = Choreography([*MANIFESTS, strange])
    assert graph.node("odd", "odd").gathers is None
    assert graph.shape != Choreography(MANIFESTS).shape


@pytest.mark.parametrize(
    ("place", "change"),
    [(1, {"gathers": None}), (3, {"awaits": []}), (3, {"within_s": 60.0}), (3, {"after_abort": True})],
)
def test_r33_what_an_answer_depends_on_is_in_the_graph_s_shape(place: int, change: dict[str, object]) -> None:
    handlers = [each.model_copy(update=change) if at == place else each for at, each in enumerate(MARKET.handlers)]
    changed = MARKET.model_copy(update={"handlers": handlers})
    assert Choreography([changed, *MANIFESTS[1:]]).shape != GRAPH.shape
