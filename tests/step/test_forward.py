"""Forward steps: identity, duplicates, joins, scope, hops, what may be emitted."""

import pytest

from choreo import Event, Failure, Service
from choreo.errors import UndecodableRecord
from choreo.event import emitted_id
from choreo.memory import Status
from choreo.step import Participant, SagaMemory
from tests.step.one_service import SAGA_ID, OneService


class Asked(Event, topic="asked"):
    n: int = 0


class Paid(Event, topic="paid"):
    n: int = 0


class Shipped(Event, topic="shipped"):
    n: int = 0


class PickedUp(Event, topic="shipped"):
    n: int = 0


class Answered(Event, topic="answers"):
    n: int


class Noted(Event, topic="answers"):
    n: int


class Refused(Failure, topic="answers"):
    pass


def answering() -> Service:
    service = Service("answering")

    @service.handles
    def answer(asked: Asked) -> Answered:
        return Answered(n=asked.n)

    return service


def joining() -> Service:
    service = Service("joining")

    @service.handles
    def confirm(paid: Paid, shipped: Shipped | PickedUp) -> Answered:
        return Answered(n=10 * paid.n + shipped.n)

    return service


def test_r02_ids_come_from_saga_step_branch_trigger_and_index():
    one = OneService(answering())
    [emitted] = one.deliver(one.envelope(Asked(), "ask-1", hop=3))
    assert emitted.event_id == emitted_id(SAGA_ID, "answering.answer", "", "ask-1", 0)
    assert emitted.saga_id == SAGA_ID
    assert emitted.causation_id == "ask-1"
    assert emitted.causes == ()
    assert emitted.hop == 4
    assert emitted.source == "/answering/answer"
    assert emitted.path == ("answering.answer",)


def test_r02_a_re_run_after_a_crash_emits_the_same_id():
    one = OneService(answering())
    ask = one.envelope(Asked(), "ask-1")
    [first] = one.deliver(ask, crash=True)
    [again] = one.deliver(ask)
    assert first.event_id == again.event_id


def test_r02_the_same_id_with_another_body_is_dropped_and_told():
    one = OneService(answering())
    assert one.send(Asked(n=1), "ask-1") == [Answered(n=1)]
    assert one.send(Asked(n=1), "ask-1") == []
    assert one.notes == []
    assert one.send(Asked(n=2), "ask-1") == []
    assert [note.kind for note in one.notes] == ["duplicate-differs"]


def test_r02_a_join_names_all_its_causes_and_its_id_knows_no_order():
    ids = set()
    for order in ([Paid(n=1), Shipped(n=2)], [Shipped(n=2), Paid(n=1)]):
        one = OneService(joining())
        one.send(order[0], type(order[0]).__name__)
        [emitted] = one.deliver(one.envelope(order[1], type(order[1]).__name__))
        assert set(emitted.causes) == {"Paid", "Shipped"}
        assert emitted.causation_id == type(order[1]).__name__
        ids.add(emitted.event_id)
    assert len(ids) == 1


def test_r03_a_step_beyond_hops_max_is_parked():
    one = OneService(answering(), hops_max=5)
    assert one.send(Asked(), hop=4) == [Answered(n=0)]
    assert one.send(Asked(), hop=5) == []
    [note] = one.notes
    assert note.kind == "parked"
    assert "hops_max=5" in note.error


def test_r06_a_handler_runs_once_per_distinct_event():
    one = OneService(answering())
    assert one.send(Asked(n=1), "a") == [Answered(n=1)]
    assert one.send(Asked(n=1), "a") == []
    assert one.send(Asked(n=2), "b") == [Answered(n=2)]


def test_r06_a_join_runs_once_when_all_have_come_in_any_order():
    one = OneService(joining())
    assert one.send(PickedUp(n=2), "p") == []
    assert one.send(Paid(n=1), "q") == [Answered(n=12)]
    assert one.send(Shipped(n=3), "r") == []
    assert one.send(Paid(n=4), "s") == []


def test_r06_what_waits_is_bounded():
    one = OneService(joining(), waiting_max=3)
    for n in range(3):
        one.send(Paid(n=n))
    with pytest.raises(UndecodableRecord) as caught:
        one.send(Paid(n=3))
    assert caught.value.reason == "waiting-full"


def test_r06_a_join_that_has_run_keeps_no_bodies():
    one = OneService(joining())
    one.send(Paid(n=1))
    one.send(Shipped(n=1))
    assert [each.body for each in one.memory.events.values()] == [b"", b""]
    one.send(Paid(n=2))
    assert len(one.memory.events) == 2


def test_r07_an_outer_event_joins_each_inner_branch():
    one = OneService(joining())
    one.send(Shipped(n=1), branch="/aaaa:0.2")
    one.send(Shipped(n=2), branch="/aaaa:1.2")
    assert one.send(Paid(n=5)) == [Answered(n=51), Answered(n=52)]
    assert [each.branch for each in one.emitted] == ["/aaaa:0.2", "/aaaa:1.2"]


def test_r07_events_of_two_branches_do_not_join():
    one = OneService(joining())
    one.send(Shipped(n=1), branch="/aaaa:0.2")
    assert one.send(Paid(n=5), branch="/aaaa:1.2") == []


def test_r08_an_own_event_counts_from_its_commit_and_runs_when_it_is_read():
    service = Service("both")

    @service.handles
    def pay(asked: Asked) -> Paid:
        return Paid(n=asked.n)

    @service.handles
    def confirm(paid: Paid, shipped: Shipped) -> Answered:
        return Answered(n=paid.n)

    one = OneService(service)
    [paid] = one.deliver(one.envelope(Asked(n=1)))
    assert one.send(Shipped()) == [Answered(n=1)], "Paid counts before it is read back"
    assert one.deliver(paid) == []


def test_r08_reading_an_own_event_back_runs_what_it_completes():
    service = Service("both")

    @service.handles
    def pay(asked: Asked) -> Paid:
        return Paid(n=asked.n)

    @service.handles
    def confirm(paid: Paid, shipped: Shipped) -> Answered:
        return Answered(n=paid.n)

    one = OneService(service)
    one.send(Shipped())
    [paid] = one.deliver(one.envelope(Asked(n=1)))
    assert [each.event for each in one.deliver(paid)] == [Answered(n=1)]


def test_r09_several_outputs_have_ids_by_index():
    service = Service("pair")

    @service.handles
    def both(asked: Asked) -> tuple[Answered, Noted]:
        return Answered(n=1), Noted(n=2)

    one = OneService(service)
    one.deliver(one.envelope(Asked(), "a"))
    assert [each.event_id for each in one.emitted] == [
        emitted_id(SAGA_ID, "pair.both", "", "a", index) for index in (0, 1)
    ]


def test_r09_a_type_missing_from_the_hint_parks_the_step_and_publishes_nothing():
    service = Service("liar")

    @service.handles
    def answer(asked: Asked) -> Answered:
        return Answered(n=1), Noted(n=2)

    one = OneService(service)
    assert one.send(Asked(), "a") == []
    [note] = one.notes
    assert note.kind == "parked"
    assert "Noted" in note.error
    assert one.memory.fences["answer", "", "a"].status is Status.PARKED


def test_r09_an_event_too_large_parks_the_step():
    one = OneService(answering(), event_bytes_max=5)
    assert one.send(Asked(n=1)) == []
    assert "event_bytes_max" in one.notes[0].error


def test_r10_at_least_once_a_trigger_that_comes_again_re_emits_what_is_recorded():
    calls = []
    service = Service("answering")

    @service.handles
    def answer(asked: Asked) -> Answered:
        calls.append(asked)
        return Answered(n=len(calls))

    one = OneService(service, at_least_once=True)
    [first] = one.deliver(one.envelope(Asked(n=7), "a"))
    [again] = one.deliver(one.envelope(Asked(n=7), "a"))
    assert again.event_id == first.event_id
    assert again.event == first.event
    assert len(calls) == 1


def test_a_step_that_emits_nothing_is_journalled():
    service = Service("quiet")

    @service.handles
    def ignore(asked: Asked) -> Answered | None:
        return None

    one = OneService(service)
    assert one.send(Asked()) == []
    assert one.told("completed") == ["ignore"]


def test_r20_unless_skips_a_step_where_the_other_came_first():
    service = Service("careful")

    @service.handles(unless=Refused)
    def answer(asked: Asked) -> Answered:
        return Answered(n=1)

    one = OneService(service)
    assert one.send(Asked()) == [Answered(n=1)]
    one.send(Refused(reason="no"))
    assert one.send(Asked()) == []
    assert one.told("skipped") == ["answer"]


def test_r20_a_failure_stops_nothing_by_itself():
    service = Service("steady")

    @service.handles
    def answer(asked: Asked) -> Answered:
        return Answered(n=1)

    @service.handles
    def note(refused: Refused) -> Noted:
        return Noted(n=1)

    one = OneService(service)
    assert one.send(Refused(reason="no")) == [Noted(n=1)]
    assert one.send(Asked()) == [Answered(n=1)]


def test_a_saga_keeps_its_type_behind_an_event_that_does_not_say_it():
    class Left(Event, topic="left"):
        pass

    class Right(Event, topic="right"):
        pass

    service = Service("joins")

    @service.handles
    def join(_left: Left, _right: Right) -> None:
        return None

    one = OneService(service, saga_type="order")
    saga = SagaMemory(one.rules, one.memory, SAGA_ID)
    Participant(saga).event_arrived(one.envelope(Left(), saga_type=""))
    Participant(saga).event_arrived(one.envelope(Right()))

    assert saga.saga_type == "order"
