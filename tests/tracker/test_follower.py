import sqlite3
import threading
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from choreo.clock import ManualClock
from choreo.errors import BrokerUnavailable
from choreo.saga import SagaState
from choreo.testing import MemoryBroker
from choreo.tracker import Flag, Follower, Store, Tracker
from choreo.transport import Commit, Outgoing, Record, TopicSpec
from tests.effort import LONG
from tests.tracker import market
from tests.tracker.market import MARKETS
from tests.tracker.orders import (
    INVENTORY,
    MANIFESTS,
    ORDERS,
    PAYMENTS,
    SHIPPING,
    Flow,
    Topics,
    cancelled_before,
    completed,
    failed,
    handler,
    manifest,
    placed,
)

STRIDE = 1 if LONG else 2
"""From one statement to be killed at to the next."""


def topics_with(*flows: Flow, manifests: Sequence = (*MANIFESTS, *market.MANIFESTS)) -> Topics:
    topics = Topics()
    topics.announce(*manifests)
    # Side by side, as topics hold the records of many sagas.
    longest = max(len(flow.records) for flow in flows)
    for index in range(longest):
        for flow in flows:
            topics.write(flow.records[index : index + 1])
    return topics


FLOWS = [placed("order-1"), completed("order-2"), failed("order-3"), cancelled_before("order-4")]
FLOWS += [make(f"order-{number}") for number, make in enumerate(MARKETS, 5)]
STATES = [SagaState.STARTED, SagaState.COMPLETED, SagaState.FAILED, SagaState.FAILED]
STATES += [SagaState.COMPLETED, *[SagaState.FAILED] * 3, SagaState.COMPLETED]


def answers(store: Store) -> list[object]:
    tracker = Tracker(store, ManualClock())
    views = [tracker.saga(flow.saga_id) for flow in FLOWS]
    kept = store.ask(
        "SELECT saga_id, type, state, flags, started_us, updated_us, rested_us FROM views ORDER BY saga_id"
    )
    return [views, kept, tracker.counts()]


def expected() -> list[object]:
    store = Store()
    Follower(store, topics_with(*FLOWS)).catch_up()
    return answers(store)


def test_r31_one_record_at_a_time_is_as_good_as_all_at_once() -> None:
    store = Store()
    Follower(store, topics_with(*FLOWS), batch_records_max=1).catch_up()
    assert answers(store) == expected()
    views = [Tracker(store).saga(flow.saga_id) for flow in FLOWS]
    assert [view.state for view in views if view] == STATES


class Breaking(Store):
    """A store that breaks at one statement, as a killed process does: nothing after it happens."""

    def __init__(self, path: Path, survives: int) -> None:
        self.left = survives
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=self.connection))
            super().__init__(path)

    def connection(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        store = self

        class BreakingConnection(sqlite3.Connection):
            def executemany(self, statement: str, rows: Iterable[Any]) -> sqlite3.Cursor:
                store.left -= 1
                if store.left < 0:
                    raise sqlite3.OperationalError("killed here")
                return super().executemany(statement, rows)

        return BreakingConnection(*arguments, **options)


def test_r31_killed_anywhere_and_started_again(tmp_path: Path) -> None:
    topics, want = topics_with(*FLOWS), expected()
    survives, done = 0, False
    while not done:
        path = tmp_path / f"{survives}.db"
        store = Breaking(path, survives)
        try:
            Follower(store, topics, batch_records_max=7).catch_up()
            done = True
        except sqlite3.OperationalError:
            pass
        store.close()
        again = Store(path)
        Follower(again, topics, batch_records_max=5).catch_up()
        assert answers(again) == want
        again.close()
        survives += STRIDE
    assert survives > 20


def test_r31_a_step_that_broke_can_be_taken_again(tmp_path: Path) -> None:
    store = Breaking(tmp_path / "tracker.db", 4)
    follower = Follower(store, topics_with(*FLOWS), batch_records_max=6)
    with pytest.raises(sqlite3.OperationalError):
        follower.catch_up()
    store.left = 1_000_000
    follower.catch_up()
    assert answers(store) == expected()


def test_r31_offsets_that_overlap_change_nothing() -> None:
    topics, store = topics_with(*FLOWS), Store()
    Follower(store, topics).catch_up()
    for back in (0, 3, 10):
        store.put_offsets({position: min(back, len(log)) for position, log in topics.logs.items()})
        Follower(store, topics).catch_up()
    assert answers(store) == expected()


def test_r31_events_before_their_manifests_are_read_again() -> None:
    topics, store = topics_with(*FLOWS, manifests=[ORDERS]), Store()
    follower = Follower(store, topics)
    follower.catch_up()
    tracker = Tracker(store)
    first = tracker.saga(FLOWS[1].saga_id)
    assert first is not None
    assert Flag.VIOLATION in first.flags
    assert tracker.lag().undecoded > 0
    for each in (SHIPPING, PAYMENTS, *market.MANIFESTS, INVENTORY):
        topics.announce(each)
        follower.catch_up()
    assert tracker.lag().undecoded == 0
    assert answers(store) == expected()


def test_r31_a_body_that_turns_out_to_be_none_is_no_event() -> None:
    topics, store = Topics(), Store()
    topics.announce(ORDERS)
    flow = placed()
    flow.emit("InventoryReserved", "inventory.reserve", "OrderPlaced")
    flow.emit("AddressConfirmed", "shipping.check", "OrderPlaced")
    broken = flow.records[-1]._replace(value=(flow.records[-1].value or b"") + b"x")
    topics.write([*flow.records[:-1], broken])
    follower = Follower(store, topics)
    follower.catch_up()
    tracker = Tracker(store)
    assert len(tracker.events(flow.saga_id)) == 3
    topics.announce(INVENTORY, PAYMENTS, SHIPPING)
    follower.catch_up()
    assert len(tracker.events(flow.saga_id)) == 2
    assert tracker.lag().undecodable == 1


def test_r31_differing_duplicates_fold_in_the_store_as_in_the_projection() -> None:
    flow, answer = completed(), []
    other = flow.records[3]._replace(value=FLOWS[0].records[0].value)
    for order in ([*flow.records, other], [other, *flow.records]):
        topics = topics_with(flow)
        topics.logs["orders", 0] = [
            each._replace(offset=index) for index, each in enumerate(r for r in order if r.topic == "orders")
        ]
        store = Store()
        Follower(store, topics, batch_records_max=2).catch_up()
        saga = Tracker(store).saga(flow.saga_id)
        assert saga is not None
        assert saga.flags == {Flag.DIFFERS}
        answer.append(next(each for each in saga.events if each.event_id == dict(other.headers)["ce_id"].decode()))
    # The first committed wins.
    assert answer[0].payload != answer[1].payload


def test_r32_sensitive_values_are_nowhere_in_the_store(tmp_path: Path) -> None:
    path = tmp_path / "tracker.db"
    for manifests in (MANIFESTS, [INVENTORY]):
        store = Store(path)
        topics = topics_with(completed(), manifests=manifests)
        Follower(store, topics).catch_up()
        store.close()
    for file in tmp_path.iterdir():
        assert b"SECRET" not in file.read_bytes()


def test_r33_what_cannot_be_read_is_counted_and_never_fatal() -> None:
    topics = topics_with(*FLOWS)
    good = FLOWS[1].records[0]
    topics.append("orders", b"not avro", good.key or b"", good.headers)
    topics.append("orders", None, good.key or b"", good.headers)
    topics.append("orders", (good.value or b"")[:-1], good.key or b"", good.headers)
    topics.append("orders", good.value, good.key or b"", [])
    topics.append("orders", good.value, b"another", good.headers)
    topics.append("orders", good.value, b"\xff", good.headers)
    topics.append("orders", good.value, good.key or b"", [("ce_id", b"\xff")])
    topics.append("choreo.journal", b"[]", b"x")
    topics.append("choreo.journal", b'{"saga_id": 7}')
    topics.append("choreo.ends", b"{")
    topics.append("choreo.manifests", b"{}")
    store = Store()
    follower = Follower(store, topics)
    follower.catch_up()
    store.put_offsets({("orders", 0): 0})
    Follower(store, topics).catch_up()
    assert Tracker(store).lag().undecodable == 11
    assert answers(store) == expected()


def test_r33_a_rebuild_changes_no_answer() -> None:
    topics = topics_with(*FLOWS)
    one, other = Store(), Store()
    Follower(one, topics).catch_up()
    Follower(other, topics, batch_records_max=3).catch_up()
    assert answers(one) == answers(other)


def test_r33_a_new_version_judges_every_saga_again() -> None:
    topics = topics_with(*FLOWS)
    store = Store()
    follower = Follower(store, topics)
    follower.catch_up()
    same = INVENTORY.model_copy(update={"service_version": "1.1"})
    topics.announce(same)
    follower.catch_up()
    assert answers(store) == expected()
    gone = manifest("shipping", [handler("check", "OrderPlaced", emits="AddressConfirmed AddressRejected")], "2")
    topics.announce(gone)
    follower.catch_up()
    assert store.stale(10) == []


def test_r34_lag_in_records_and_seconds() -> None:
    topics, store, clock = topics_with(*FLOWS), Store(), ManualClock()
    tracker, follower = Tracker(store, clock), Follower(store, topics, clock, batch_records_max=4)
    assert tracker.lag().seconds is None
    follower.catch_up()
    assert (tracker.lag().records, tracker.lag().seconds, tracker.lag().partitions) == (0, 0.0, 0)
    clock.advance(timedelta(seconds=90))
    assert tracker.lag().seconds == 90.0
    follower.step()
    assert tracker.lag().seconds == 0.0


def test_r34_marks_of_transactions_are_no_lag_and_move_no_offset() -> None:
    logs = topics_with(*FLOWS).logs
    broker = MemoryBroker()
    broker.create([TopicSpec(name, 1) for name in ("asked", "some.memory", *(topic for topic, _ in logs))])
    source = broker.source(
        group="some", topics=["asked"], memory_topic="some.memory", delivery="exactly_once", instance="one"
    )
    outputs = [Outgoing(each.topic, each.key, each.value, each.headers, 0) for log in logs.values() for each in log]
    source.commit(Commit(source.poll(1.0, 1).token, [], outputs, {}))
    store = Store()
    follower = Follower(store, broker)
    follower.catch_up()
    follower.step()
    follower.step()
    assert Tracker(store).lag().records == 0
    assert store.offsets() == {position: len(log) for position, log in logs.items()}


def test_topics_that_appear_later_are_followed() -> None:
    topics, store = Topics(), Store()
    follower = Follower(store, topics)
    assert follower.step() == 0
    topics.announce(*MANIFESTS)
    follower.catch_up()
    flow = failed()
    topics.write(flow.records)
    follower.catch_up()
    saga = Tracker(store).saga(flow.saga_id)
    assert saga is not None
    assert saga.state is SagaState.FAILED


def test_brokers_that_go_away_are_tried_again() -> None:
    class Absent(Topics):
        def describe(self, names=None):
            raise BrokerUnavailable("nobody there")

    follower = Follower(Store(), Absent())
    with pytest.raises(BrokerUnavailable):
        follower.step()
    stop = threading.Event()
    stop.set()
    follower.run(stop)


def test_run_follows_until_told_to_stop() -> None:
    store, stop = Store(), threading.Event()
    thread = threading.Thread(target=Follower(store, topics_with(*FLOWS)).run, args=(stop,))
    thread.start()
    try:
        assert Tracker(store).wait(FLOWS[2].saga_id, timeout_s=10).state is SagaState.FAILED
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()


def test_a_saga_with_nothing_but_notes_is_shown() -> None:
    topics = Topics()
    topics.announce(*MANIFESTS)
    flow = placed()
    flow.note("parked", "shipping.gone", "OrderPlaced", error="Timeout")
    records: list[Record] = flow.records[1:]
    topics.write(records)
    store = Store()
    Follower(store, topics).catch_up()
    saga = Tracker(store).saga(flow.saga_id)
    assert saga is not None
    assert (saga.state, saga.saga_type) == (SagaState.PENDING, "order-fulfilment")
    assert [(each.name, each.error) for each in saga.steps] == [("gone", "Timeout")]


def test_rested_sagas_can_be_forgotten() -> None:
    store = Store()
    Follower(store, topics_with(*FLOWS)).catch_up()
    assert store.forget(2**62) == len(FLOWS) - 1
    assert store.ask("SELECT count(*) FROM views") == [(1,)]
    assert {row[0] for row in store.ask("SELECT DISTINCT saga_id FROM events")} == {FLOWS[0].saga_id}
