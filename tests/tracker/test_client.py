import json
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from choreo.clock import ManualClock
from choreo.codec import MAGIC
from choreo.errors import ChoreoError, UndecodableRecord
from choreo.manifest import Manifest
from choreo.saga import SagaState
from choreo.schema import fingerprint
from choreo.tracker import AsyncTracker, Flag, Follower, Page, Reason, Store, Tracker, plain
from choreo.tracker.row_decoder import RowDecoder
from choreo.transport import Record
from tests.tracker import market
from tests.tracker.market import Market
from tests.tracker.orders import MANIFESTS, Flow, Topics, completed, failed, full, placed


def store_with(*flows: Flow, path: Path | str = ":memory:", manifests: Sequence[Manifest] = MANIFESTS) -> Store:
    topics = Topics()
    topics.announce(*manifests)
    for flow in flows:
        topics.write(flow.records)
    store = Store(path)
    Follower(store, topics, ManualClock()).catch_up()
    return store


def test_r34_find_by_key_and_generation() -> None:
    flow = completed()
    tracker = Tracker(store_with(flow))
    found = tracker.find("order-fulfilment", key="order-17")
    assert found is not None
    assert found.saga_id == flow.saga_id
    assert tracker.find("order-fulfilment", key="order-17", generation=1) == found
    assert tracker.find("order-fulfilment", key="order-17", generation=2) is None
    assert tracker.find("another", key="order-17") is None
    assert tracker.saga("nobody") is None


def test_r34_wait_returns_what_rests_and_says_what_it_waits_for_else() -> None:
    done, open_ = completed("order-1"), placed("order-2")
    tracker = Tracker(store_with(done, open_))
    assert tracker.wait(done.saga_id, timeout_s=1).state is SagaState.COMPLETED
    with pytest.raises(TimeoutError, match=r"is started after 0 s, waiting for .*inventory"):
        tracker.wait(open_.saga_id, timeout_s=0)
    with pytest.raises(TimeoutError, match="nothing of saga nobody"):
        tracker.wait("nobody", timeout_s=0)


def test_wait_lets_others_work_meanwhile() -> None:
    topics, store, flow = Topics(), Store(), completed()
    topics.announce(*MANIFESTS)
    follower, records = Follower(store, topics), iter(flow.records)

    def nap(_: float) -> None:
        topics.write([next(records)])
        follower.catch_up()

    assert Tracker(store, nap=nap).wait(flow.saga_id).state is SagaState.COMPLETED


def test_pages_hold_every_saga_once() -> None:
    flows = [placed(f"order-{n}") for n in range(23)]
    tracker = Tracker(store_with(*flows))
    seen, after = [], None
    while True:
        page = tracker.sagas(limit=5, after=after)
        seen += [saga.saga_id for saga in page.items]
        after = page.next
        if after is None:
            break
    assert sorted(seen) == sorted(flow.saga_id for flow in flows)
    assert len(page.items) == 3


def test_filters() -> None:
    stuck = placed("order-3")
    stuck.note("parked", "inventory.reserve", "OrderPlaced")
    store = store_with(completed("order-1"), failed("order-2"), stuck)
    tracker = Tracker(store, ManualClock())
    assert [saga.business_key for saga in tracker.sagas(state=SagaState.FAILED).items] == ["order-2"]
    assert [saga.business_key for saga in tracker.sagas(flag="parked").items] == ["order-3"]
    assert tracker.sagas(type="another").items == []
    assert len(tracker.sagas(type="order-fulfilment").items) == 3
    assert tracker.sagas(older_than=timedelta(minutes=5)).items == []
    later = ManualClock()
    later.advance(timedelta(minutes=6))
    assert len(Tracker(store, later).sagas(older_than=timedelta(minutes=5)).items) == 3
    assert tracker.counts()["order-fulfilment"] == {
        SagaState.STARTED: 0,
        SagaState.PENDING: 1,
        SagaState.COMPENSATING: 0,
        SagaState.COMPLETED: 1,
        SagaState.FAILED: 1,
    }
    assert tracker.flag_counts()[Flag.PARKED] == 1
    assert tracker.recent(1)[0].business_key == "order-2"
    for bad in ({"limit": 0}, {"flag": "overdue"}, {"flag": "nonsense"}, {"after": "x"}):
        with pytest.raises(ValueError, match=r".+"):
            tracker.sagas(**bad)


def test_events_and_one_event() -> None:
    flow = completed()
    tracker = Tracker(store_with(flow))
    events = tracker.events(flow.saga_id)
    assert events[0].type == full("OrderPlaced")
    assert tracker.event(events[2].event_id) == events[2]
    assert tracker.event(events[2].event_id, flow.saga_id) == events[2]
    assert tracker.event("nothing") is None


def test_open_reads_while_another_writes(tmp_path: Path) -> None:
    path = tmp_path / "tracker.db"
    flow = completed()
    store = store_with(placed("order-1"), path=path)
    with Tracker.open(f"sqlite:///{path}") as tracker, store.writing():
        store.put_offsets({("x", 0): 1})
        assert tracker.find("order-fulfilment", key="order-1") is not None
        assert tracker.saga(flow.saga_id) is None
    store.close()


@pytest.mark.parametrize(
    "url", ["http://tracker:8000", "postgresql://db/tracker", "tracker.db", "sqlite://", "sqlite:///"]
)
def test_open_says_what_is_supported(url: str) -> None:
    with pytest.raises(ChoreoError, match=r"sqlite:///path/to/file\.db"):
        Tracker.open(url)


def test_a_store_of_another_layout_is_refused_and_can_be_built_again(tmp_path: Path) -> None:
    path = tmp_path / "tracker.db"
    Store(path).close()
    older = sqlite3.connect(path)
    older.execute("PRAGMA user_version = 1")
    older.close()
    with pytest.raises(ChoreoError, match=r"has layout 1, and this choreo reads \d+: delete it"):
        Store(path)


def test_notes_come_back_from_the_store_as_they_were_read() -> None:
    flow = placed()
    flow.note("parked", "inventory.reserve", "OrderPlaced", attempt=3, error="IOError: down")
    told = {"actor": "ana", "command_id": "c-1", "reason": "it works again"}
    flow.note("resumed", "inventory.reserve", "OrderPlaced", **told)
    saga = Tracker(store_with(flow)).saga(flow.saga_id)
    assert saga is not None
    parked, resumed = saga.notes
    assert (parked.kind, parked.attempt, parked.actor) == ("parked", 3, "")
    assert (resumed.kind, resumed.actor, resumed.command_id, resumed.reason) == ("resumed", *told.values())
    assert plain(saga)["notes"][1]["actor"] == "ana"
    assert saga.flags == frozenset()


def test_r30_overdue_is_worked_out_when_a_saga_is_read_and_never_stored() -> None:
    flow = Market(parts=1)
    store, clock = store_with(flow, manifests=market.MANIFESTS), ManualClock()
    tracker = Tracker(store, clock)
    assert tracker.sagas().items[0].flags == frozenset()
    clock.advance(timedelta(hours=2))
    assert tracker.sagas().items[0].flags == {Flag.OVERDUE}
    assert tracker.recent()[0].flags == {Flag.OVERDUE}
    assert store.ask("SELECT flags FROM views") == [(0,)]
    with pytest.raises(ValueError, match="overdue is worked out when a saga is read"):
        tracker.sagas(flag=Flag.OVERDUE)


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    path.write_bytes(b"something else entirely, and long enough to be looked at" * 50)
    with pytest.raises(ChoreoError, match="cannot be opened"):
        Store(path)


async def test_async_tracker_answers_alike(tmp_path: Path) -> None:
    flow = completed()
    path = tmp_path / "tracker.db"
    store_with(flow, path=path).close()
    async with AsyncTracker.open(f"sqlite:///{path}") as tracker:
        saga = await tracker.wait(flow.saga_id, timeout_s=1)
        assert saga.state is SagaState.COMPLETED
        assert await tracker.saga(flow.saga_id) == saga
        assert await tracker.find("order-fulfilment", key="order-17") == saga
        assert (await tracker.sagas(state=SagaState.COMPLETED)).items == [saga]
        assert await tracker.recent() == [saga]
        assert await tracker.events(flow.saga_id) == saga.events
        assert await tracker.event(saga.events[0].event_id) == saga.events[0]
        assert (await tracker.counts())["order-fulfilment"][SagaState.COMPLETED] == 1
        assert sum((await tracker.flag_counts()).values()) == 0
        assert (await tracker.lag()).records == 0
        with pytest.raises(TimeoutError, match=r"after 0.02 s"):
            await tracker.wait("nobody", timeout_s=0.02)


def test_a_body_that_is_nested_beyond_all_measure_is_undecodable():
    """The decoder calls itself once a level: no bytes may bring the process down."""
    link = ["null", "orders.Chain"]
    schema = {"type": "record", "name": "orders.Chain", "fields": [{"name": "next", "type": link}]}
    decoder = RowDecoder()
    decoder.learn(Manifest(service="s", service_version="1", schemas={fingerprint(schema).hex(): schema}))
    headers = [("ce_id", b"1"), ("ce_type", b"orders.Chain")]
    head = MAGIC + fingerprint(schema)
    for depth, fits in ((100, True), (100_000, False)):
        record = Record("orders", 0, 0, b"saga", head + b"\x02" * depth + b"\x00", headers, 0)
        if fits:
            assert decoder.event(record).payload.count("next") == depth + 1
        else:
            with pytest.raises(UndecodableRecord) as caught:
                decoder.event(record)
            assert caught.value.reason == "undecodable"


def test_answers_keep_their_field_names_as_json():
    reason = Reason("orders.OutOfStock", "none left", datetime(2026, 1, 1, tzinfo=UTC))
    assert json.loads(TypeAdapter(Page).dump_json(Page([], "next"))) == {"items": [], "next": "next"}
    assert json.loads(TypeAdapter(Reason).dump_json(reason))["text"] == "none left"
    assert plain(reason) == {"event": "orders.OutOfStock", "text": "none left", "at": "2026-01-01T00:00:00+00:00"}
