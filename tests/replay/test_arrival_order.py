"""The order in which a service took what came: what is certain is kept, and only what may have been is tried."""

from collections.abc import Iterable

from choreo.replay.arrival_order import NEAR_US, ArrivalKind, order_of
from choreo.replay.recorded_saga import RecordedEvent, RecordedSaga
from choreo.tracker.rows import ENDED, EventRow, NoteRow
from choreo.transport import Record

SECOND = 1_000_000


def seen(
    name: str, at_s: float, *, topic: str = "a", offset: int = 0, source: str = "/other/step", cause: str = ""
) -> EventRow:
    return EventRow("s", name, f"{topic}.Event", topic, 0, offset, source, cause, at_us=int(at_s * SECOND))


def noted(kind: str, at_s: float, *, event_id: str = "", offset: int = 0, handler: str = "step") -> NoteRow:
    topic = "choreo.ends" if kind == ENDED else "choreo.journal"
    return NoteRow(
        "s", f"{kind}{offset}", kind, topic, 0, offset, "mine", handler, event_id=event_id, at_us=int(at_s * SECOND)
    )


def order(events: Iterable[EventRow], notes: Iterable[NoteRow] = (), deadlines: Iterable[str] = ()):
    recorded = tuple(
        RecordedEvent(each, Record(each.topic, 0, each.offset, b"s", b"", [], 0))
        for each in sorted(events, key=lambda each: (each.topic, each.offset))
    )
    saga = RecordedSaga(saga_id="s", saga_type="", business_key="", events=recorded, notes=tuple(notes))
    return order_of(saga, "mine", {"a.Event", "b.Event", "c.Event"}, set(deadlines))


def names(taken) -> list[str]:
    return [item.event_id or item.kind.name for item in taken]


def test_topics_are_merged_by_time_and_each_keeps_its_own_order():
    found = order([seen("a1", 5), seen("a2", 3, offset=1), seen("b1", 4, topic="b")])
    assert names(found) == ["b1", "a1", "a2"]


def test_an_event_was_written_after_what_it_follows_from_whatever_the_clocks_say():
    found = order([seen("b1", 1, topic="b", cause="between"), seen("between", 9, topic="x", cause="a1"), seen("a1", 8)])
    assert names(found) == ["a1", "b1"]
    assert {tuple(names(each)) for each in found.others({"a1"})} == {("b1", "a1")}, "and yet it may be read first"


def test_what_follows_from_something_done_here_came_later():
    done = seen("done", 1, topic="x", source="/mine/step", cause="a1")
    found = order([seen("b1", 1, topic="b", cause="done"), done, seen("a1", 1)])
    assert names(found) == ["a1", "b1"]
    assert [*found.others({"a1"})] == []


def test_ids_that_name_each_other_hold_nothing_up():
    assert set(names(order([seen("a1", 1, cause="b1"), seen("b1", 2, topic="b", cause="a1")]))) == {"a1", "b1"}


def test_an_event_was_taken_when_its_step_left_something_behind():
    late = [seen("a1", 1), seen("b1", 2, topic="b"), seen("own", 9, topic="x", source="/mine/step", cause="a1")]
    assert names(order(late)) == ["b1", "a1"]
    assert names(order(late[:2], [noted("skipped", 9, event_id="a1")])) == ["b1", "a1"]


def test_what_a_service_wrote_tells_the_order_of_what_it_was_written_for():
    events = [seen("a1", 1), seen("b1", 1, topic="b")]
    wrote = [
        seen("for b1", 1, topic="x", source="/mine/step", cause="b1"),
        seen("for a1", 1, topic="x", offset=1, source="/mine/step", cause="a1"),
    ]
    assert names(order([*events, *wrote])) == ["b1", "a1"]
    assert names(order(events)) == ["a1", "b1"]


def test_what_came_later_of_an_event_was_due_then():
    retried = order(
        [seen("a1", 1), seen("own", 9, topic="x", source="/mine/step", cause="a1")],
        [noted("retried", 1, event_id="a1")],
    )
    assert [(item.kind, item.at_us) for item in retried] == [
        (ArrivalKind.EVENT, SECOND),
        (ArrivalKind.TIMERS, 9 * SECOND),
    ]
    fired = order([seen("a1", 1), seen("own", 1, topic="x", source="/mine/overdue", cause="a1")], deadlines=["overdue"])
    assert names(fired) == ["a1", "TIMERS"]


def test_an_end_comes_last_of_its_moment_and_a_command_when_it_was_obeyed():
    found = order(
        [seen("a1", 1)],
        [noted(ENDED, 1, handler=""), noted("resumed", 3, event_id="a1"), noted("refused", 2, offset=1)],
    )
    assert names(found) == ["a1", "END", "COMMAND"]


def test_other_orders_keep_what_is_certain():
    found = order([seen("a1", 1), seen("a2", 1, offset=1), seen("b1", 1, topic="b"), seen("c1", 1, topic="c")])
    others = {tuple(names(each)) for each in found.others({"a2"})}
    assert names(found) == ["a1", "a2", "b1", "c1"]
    assert others == {("a1", "b1", "a2", "c1"), ("a1", "c1", "a2", "b1")}


def test_what_needs_what_is_moved_is_moved_with_it():
    found = order([seen("a1", 1), seen("a2", 1, offset=1), seen("b1", 1.5, topic="b")])
    assert {tuple(names(each)) for each in found.others({"b1"})} == {("b1", "a1", "a2"), ("a1", "b1", "a2")}


def test_what_was_far_apart_was_in_that_order():
    apart = NEAR_US / SECOND + 1
    assert [*order([seen("a1", 1), seen("b1", 1 + apart, topic="b")]).others({"a1"})] == []
    assert len([*order([seen("a1", 1), seen("b1", 1.5, topic="b")]).others({"a1"})]) == 1


def test_nothing_is_moved_about_what_nobody_asks_about():
    assert [*order([seen("a1", 1), seen("b1", 1, topic="b")]).others({"c1"})] == []
