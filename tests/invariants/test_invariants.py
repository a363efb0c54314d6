"""Each invariant by itself: sound evidence is left alone, and evidence that is not is told what is wrong with it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import pytest

from choreo import Event, Failure, Saga, SagaState, Service
from choreo.choreography import Choreography
from choreo.event import Envelope, emitted_id, saga_id_for, start_event_id
from choreo.invariants import INVARIANTS, TITLES, Evidence, judge
from choreo.manifest import Manifest
from choreo.memory import Fence, Memory, MemoryFlag, Recorded, Status, Timer, TimerKind, Waiting
from choreo.scope import opened
from choreo.service import declarations
from choreo.tracker import Flag, Reason, SagaStep, SagaView, StepStatus

AT = datetime(2026, 1, 1, tzinfo=UTC)
SAGA = saga_id_for("order", "17")


class Placed(Event, topic="orders"):
    number: str


class Done(Event, topic="orders"):
    pass


class Cancelled(Event, topic="orders"):
    pass


class Paid(Event, topic="money"):
    pass


class Refused(Failure, topic="stock"):
    pass


class Unclear(Failure, topic="money"):
    pass


class Returned(Event, topic="money"):
    pass


class Packed(Event, topic="stock"):
    pass


class Counted(Event, topic="stock"):
    pass


orders, bank, stock = Service("orders"), Service("bank"), Service("stock")
orders.owns(Saga("order", starts=Placed, completes=Done, fails=Cancelled, key="number"))


@orders.handles
def finish(_placed: Placed, _paid: Paid) -> Done:
    return Done()


@orders.handles
def cancel(_refused: Refused | Unclear) -> Cancelled:
    return Cancelled()


@bank.handles
def pay(_placed: Placed) -> Paid:
    return Paid()


@bank.otherwise(pay)
def give_up(_placed: Placed, _error: Exception) -> Unclear:
    return Unclear(reason="who knows")


@bank.compensates
def give_back(_cause: Refused | Unclear, _paid: Paid | None) -> Returned:
    return Returned()


@stock.handles
def pack(_placed: Placed) -> list[Packed]:
    return [Packed()]


@stock.handles
def count(_packed: list[Packed]) -> Counted | Refused:
    return Counted()


GRAPH = Choreography(Manifest.of(each) for each in declarations(orders, bank, stock))


def key(step: str, trigger: str, branch: str = "") -> str:
    return emitted_id(SAGA, step, branch, trigger, "effect")


def event(
    kind: type[Event],
    step: str = "",
    trigger: str = "",
    *,
    within: str = "",
    index: int = 0,
    acts_for: str = "",
    causes: Sequence[str] = (),
    **fields: str,
) -> Envelope:
    """Return an event as a step of these services would emit it."""
    made = kind.model_construct()
    if not step:
        return Envelope(made, b"start", start_event_id(SAGA), kind.__choreo_type__, SAGA, "order", "17", "/orders")
    event_id = emitted_id(SAGA, acts_for or step, within, trigger, index)
    fields = {"causation_id": trigger or (causes[0] if causes else "x")} | fields
    service, _, handler = step.partition(".")
    return Envelope(
        made,
        kind.__name__.encode(),
        event_id,
        kind.__choreo_type__,
        SAGA,
        "order",
        "17",
        f"/{service}/{handler}",
        causes=tuple(causes),
        **{"branch": within} | fields,
    )


class Note(NamedTuple):
    kind: str
    service: str
    handler: str = ""
    branch: str = ""
    trigger: str = ""
    event_id: str = ""


START = event(Placed)
PAID = event(Paid, "bank.pay", START.event_id)
DONE = event(Done, "orders.finish", causes=[START.event_id, PAID.event_id])
COMPLETED = [START, PAID, DONE]
REFUSED = event(Refused, "stock.count", "", causes=[START.event_id])
RETURNED = event(Returned, "bank.give_back", PAID.event_id, compensates_id=PAID.event_id)
CANCELLED = event(Cancelled, "orders.cancel", REFUSED.event_id)
FAILED = [START, PAID, REFUSED, RETURNED, CANCELLED]


def told(invariant: str, events: Sequence[Envelope], **left: object) -> list[str]:
    return list(INVARIANTS[invariant](GRAPH, Evidence(events=events, **left)))


@pytest.mark.parametrize("events", [COMPLETED, FAILED], ids=["completed", "failed"])
@pytest.mark.parametrize("invariant", ["I1", "I3", "I4", "I5"])
def test_nothing_is_said_of_what_is_sound(invariant, events):
    assert told(invariant, events) == []


def test_every_invariant_has_a_title_and_is_told_with_it():
    assert TITLES.keys() >= INVARIANTS.keys() == {"I1", "I2", "I3", "I4", "I5"}
    [breach] = judge(GRAPH, Evidence(events=[START, PAID]))
    assert str(breach) == "I4 (comes to rest): it never ended: no Done from orders came"


def test_of_a_saga_that_never_ends_compensations_are_not_asked_for():
    assert {each.invariant for each in judge(GRAPH, Evidence(events=[START, PAID, REFUSED]))} == {"I4"}


# I1


def test_what_was_done_must_be_undone_where_the_saga_failed():
    assert told("I1", [START, PAID, REFUSED, CANCELLED]) == [
        "Paid was never undone by bank.give_back, though Refused aborted the saga"
    ]


def test_a_compensation_that_says_nothing_counts():
    note = Note("completed", "bank", "give_back", trigger=PAID.event_id)
    assert told("I1", [START, PAID, REFUSED, CANCELLED], notes=[note]) == []
    assert told("I1", [START, PAID, REFUSED, CANCELLED], notes=[note._replace(handler="pay")]) != []


def test_what_was_done_must_not_be_undone_where_the_saga_completed():
    assert told("I1", [*COMPLETED, RETURNED]) == ["Paid was undone by bank.give_back, though the saga completed"]
    assert told("I1", [*COMPLETED, REFUSED]) == ["the saga completed, and Refused aborted it"]


def test_nothing_is_undone_twice():
    other = RETURNED._replace(source="/bank/pay_back", event_id="other")
    assert told("I1", [*FAILED, other]) == ["Paid was undone 2 times, by bank.give_back and bank.pay_back"]


def test_an_event_of_somebody_else_is_not_this_service_s_to_undo():
    strange = PAID._replace(source="/casino/pay")
    assert told("I1", [START, strange, REFUSED, CANCELLED]) == []


def test_what_was_skipped_must_be_undone_with_none_once_its_cause_has_come():
    skipped = Note("skipped", "bank", "pay", trigger=START.event_id)
    events = [START, REFUSED, CANCELLED]
    undone = event(Returned, "bank.give_back", key("bank.pay", START.event_id))
    undone = undone._replace(compensates_id=key("bank.pay", START.event_id))
    assert told("I1", [*events, undone], notes=[skipped]) == []
    assert told("I1", events, notes=[skipped]) == [
        "bank.pay was skipped, Refused came, and it was never undone with None"
    ]
    assert told("I1", [START], notes=[skipped]) == []


def test_what_was_given_up_must_be_undone_with_none():
    unclear = event(Unclear, "bank.give_up", START.event_id, acts_for="bank.pay")
    cancelled = event(Cancelled, "orders.cancel", unclear.event_id)
    undone = RETURNED._replace(compensates_id=key("bank.pay", START.event_id))
    assert told("I1", [START, unclear, undone, cancelled]) == []
    assert told("I1", [START, unclear, cancelled]) == [
        "bank.pay was given up, Unclear came, and it was never undone with None"
    ]


# I2


def test_an_event_is_committed_once():
    assert told("I2", [*COMPLETED, PAID]) == ["Paid was committed 2 times"]
    assert told("I2", [START, *COMPLETED]) == []
    assert told("I2", [*COMPLETED, PAID], copies=True) == []


def test_an_id_stands_for_one_body():
    assert told("I2", [*COMPLETED, PAID._replace(body=b"other")], copies=True) == [
        "Paid was committed with 2 bodies under one id"
    ]


def test_an_id_follows_from_its_step():
    assert told("I2", COMPLETED) == []
    assert told("I2", [START, PAID._replace(event_id="first"), DONE]) == [
        "Paid has an id that is not its step's: another run would emit another event"
    ]
    second = event(Paid, "bank.pay", START.event_id, index=1)
    assert told("I2", [START, second, DONE]) == []


def test_ids_of_branches_joins_and_stand_ins_follow_from_their_steps():
    fork = key("stock.pack", START.event_id)
    branches = [opened("", fork, path, 2) for path in range(2)]
    packed = [event(Packed, "stock.pack", START.event_id, index=path, branch=branches[path]) for path in range(2)]
    counted = event(Counted, "stock.count", fork[:8], causes=[each.event_id for each in packed])
    counted = counted._replace(causation_id=packed[1].event_id)
    unclear = event(Unclear, "bank.give_up", START.event_id, acts_for="bank.pay")
    assert told("I2", [START, *packed, counted, unclear]) == []
    assert len(told("I2", [START, *packed, counted._replace(event_id="x"), unclear._replace(event_id="y")])) == 2


# I3


def test_a_saga_ends_once():
    both = [*COMPLETED, CANCELLED]
    assert told("I3", both) == ["2 events end the saga: Done and Cancelled"]


def test_the_end_is_on_its_topic():
    view = shown(SagaState.COMPLETED)
    assert told("I3", COMPLETED, view=view) == ["Done ended the saga, and choreo.ends does not say so"]
    assert told("I3", COMPLETED, view=view, notes=[Note("ended", "orders", event_id=DONE.event_id)]) == []
    assert told("I3", COMPLETED, notes=[Note("ended", "orders", event_id="x")]) == [
        "choreo.ends names x, which ends nothing"
    ]


def test_an_end_is_never_left():
    moving = [SagaState.COMPENSATING, SagaState.FAILED]
    assert told("I3", FAILED, states=[*moving, SagaState.FAILED]) == []
    assert told("I3", FAILED, states=[*moving, SagaState.COMPENSATING]) == [
        "the saga was failed, and then compensating"
    ]


# I4


def test_a_saga_comes_to_its_end():
    assert told("I4", [START, PAID]) == ["it never ended: no Done from orders came"]
    assert told("I4", [START, PAID, REFUSED]) == ["it never ended: no Cancelled from orders came"]
    assert told("I4", [PAID]) == ["the saga has no start; it has Paid"]


def test_nothing_is_left_in_a_memory():
    memory = Memory()
    memory.fences["pay", "", "x"] = Fence(Status.PARKED)
    memory.waiting["pay", "", "x"] = Waiting(1, spent=False, error="", events=(), causes=(), ready="x")
    memory.held["y"] = Recorded("y", "money.Paid")
    memory.timers[TimerKind.DEADLINE, "late", "", "x", 0] = Timer(1)
    assert told("I4", COMPLETED, memories={"bank": memory}) == [
        "bank.pay is still parked",
        "bank still holds back Paid",
        "bank.late still has a timer set (deadline)",
    ]


def test_the_tracker_has_it_at_rest():
    view = shown(SagaState.PENDING, waiting_for=["money.Paid from bank"])
    assert told("I4", COMPLETED, view=view) == ["the tracker has it pending, waiting for: money.Paid from bank"]


# I5


def shown(state: SagaState, *steps: SagaStep, **fields: object) -> SagaView:
    rest = {"flags": frozenset(), "waiting_for": [], "notes": [], "reasons": [], "violations": []} | fields
    return SagaView(
        saga_id=SAGA,
        saga_type="order",
        business_key="17",
        state=state,
        steps=list(steps),
        events=[],
        started_at=AT,
        updated_at=AT,
        **rest,
    )


def row(status: StepStatus, result: str | None = None) -> SagaStep:
    return SagaStep(
        name="pay",
        service="bank",
        branch="",
        action="",
        compensation="give_back",
        status=status,
        result=result,
        error="",
        attempts=1,
        executed_at=None,
        compensated_at=None,
        since=None,
        trigger=START.event_id,
    )


def remembered(status: Status | None, flags: int = 0, handler: str = "pay") -> Memory:
    memory = Memory()
    memory.flags = flags
    if status is not None:
        memory.fences[handler, "", START.event_id] = Fence(status)
    return memory


@pytest.mark.parametrize(
    ("shows", "result", "remembers"),
    [
        (StepStatus.COMPLETED, "money.Paid", Status.DONE),
        (StepStatus.FAILED, "money.Unclear", Status.UNKNOWN),
        (StepStatus.COMPENSATED, "money.Paid", Status.DONE),
        (StepStatus.SKIPPED, None, Status.SKIPPED),
        (StepStatus.RETRYING, None, Status.RETRYING),
        (StepStatus.PARKED, None, Status.PARKED),
        (StepStatus.COMPENSATING, None, Status.SKIPPED),
        (StepStatus.EXECUTING, None, None),
        (StepStatus.PENDING, None, None),
    ],
)
def test_a_step_is_shown_as_it_is_remembered(shows, result, remembers):
    view = shown(SagaState.COMPLETED, row(shows, result))
    memories = {"bank": remembered(remembers), "orders": remembered(None, MemoryFlag.COMPLETED)}
    assert told("I5", COMPLETED, view=view, memories=memories) == []
    other = Status.DONE if remembers is not Status.DONE and result is None else None
    memories["bank"] = remembered(other)
    [said] = told("I5", COMPLETED, view=view, memories=memories)
    assert said == f"bank.pay is {shows} to the tracker, and bank remembers {'done' if other else 'nothing'}"


def test_a_step_whose_event_was_dropped_has_run():
    note = Note("dropped", "bank", "pay", trigger=START.event_id)
    view = shown(SagaState.COMPLETED, row(StepStatus.SKIPPED), notes=[note])
    memories = {"bank": remembered(Status.DONE), "orders": remembered(None, MemoryFlag.COMPLETED)}
    assert told("I5", COMPLETED, view=view, memories=memories, notes=[note]) == []


def test_a_step_that_only_a_service_knows_of_is_told():
    view = shown(SagaState.COMPLETED)
    memories = {"bank": remembered(Status.DONE), "orders": remembered(None, MemoryFlag.COMPLETED)}
    assert told("I5", COMPLETED, view=view, memories=memories) == [
        "bank remembers a step pay, and the tracker does not know of it"
    ]
    memories["bank"] = remembered(Status.DONE, handler="give_back")
    assert told("I5", COMPLETED, view=view, memories=memories) == [
        "bank remembers that give_back has run, and no record tells of it"
    ]


def test_the_owner_and_the_tracker_agree_on_the_end():
    view = shown(SagaState.COMPLETED)
    assert told("I5", COMPLETED, view=view, memories={"orders": remembered(None)}) == [
        "the saga is completed to the tracker, and not to its owner"
    ]
    assert told("I5", COMPLETED, view=view, memories={"orders": remembered(None, MemoryFlag.FAILED)}) == [
        "the saga is completed to the tracker, and failed to its owner",
        "the saga is completed to the tracker, and not to its owner",
    ]
    assert told("I5", COMPLETED, view=view, memories={}) == []


def test_a_failure_is_known_to_both():
    view = shown(SagaState.FAILED)
    assert told("I5", FAILED, view=view, memories={"bank": remembered(None, MemoryFlag.ABORTED)}) == [
        "the tracker tells of 0 failures, and bank remember one"
    ]
    view = shown(SagaState.FAILED, reasons=[Reason("stock.Refused", "none left", AT)])
    assert told("I5", FAILED, view=view, memories={}) == [
        "the tracker tells of 1 failures, and no service remembers one"
    ]


def test_what_the_graph_does_not_allow_is_told():
    view = shown(SagaState.COMPLETED, violations=["Paid: nobody emits this"], flags=frozenset({Flag.DIFFERS}))
    assert told("I5", COMPLETED, view=view) == [
        "the tracker shows a violation: Paid: nobody emits this",
        "the tracker shows one event id with two bodies",
    ]
