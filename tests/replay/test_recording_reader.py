"""Which sagas are read, and from where."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from choreo import Event, Saga, Service
from choreo.errors import BrokerUnavailable, ChoreoError
from choreo.replay import SAGAS_MAX, Recording, recorded
from choreo.testing import Scenario
from choreo.tracker import Follower, Store
from choreo.transport import Outgoing
from tests.replay.shop import Gateway, Placed, shop

SOURCES = pytest.mark.parametrize("source", ["topics", "store"])


class Asked(Event, topic="questions"):
    ask_id: str


class Answered(Event, topic="questions"):
    ask_id: str


def desk() -> Service:
    desk = Service("desk")
    desk.owns(Saga("question", starts=Asked, completes=Answered, key="ask_id"))

    @desk.handles
    def answer(asked: Asked) -> Answered | None:
        return Answered(ask_id=asked.ask_id) if asked.ask_id != "open" else None

    return desk


@pytest.fixture
def scene(tmp_path: Path):
    """Three questions in turn, the last of which is never answered, and an order that is declined."""
    services = (desk(), *shop())
    with Scenario(*services) as s:
        s.replace(services[3], Gateway, Gateway())
        for event in (Asked(ask_id="1"), Placed(order_id="1", total=200), Asked(ask_id="2"), Asked(ask_id="open")):
            s.publish(event)
            s.advance(timedelta(seconds=1))
        yield s


def read(s: Scenario, source: str, folder: Path, **wanted: object) -> Recording:
    if source == "topics":
        return recorded(s.broker, **wanted)
    store = Store(folder / "tracker.db")
    Follower(store, s.broker).catch_up()
    store.close()
    return recorded(f"sqlite:///{folder}/tracker.db", **wanted)


def keys(recording: Recording) -> list[tuple[str, str]]:
    return [(saga.saga_type, saga.business_key) for saga in recording.sagas]


@SOURCES
def test_the_sagas_that_ended_last_come_first(scene, source, tmp_path):
    found = read(scene, source, tmp_path)
    assert keys(found) == [("question", "2"), ("order", "1"), ("question", "1")]
    assert found.masked is (source == "store")
    assert {each.service for each in found.manifests} == {"desk", "orders", "stock", "payments", "shipping"}
    assert [saga.business_key for saga in read(scene, source, tmp_path, limit=2).sagas] == ["2", "1"]


@SOURCES
def test_those_of_one_type(scene, source, tmp_path):
    assert keys(read(scene, source, tmp_path, saga_type="order")) == [("order", "1")]
    assert keys(read(scene, source, tmp_path, saga_type="question", limit=1)) == [("question", "2")]


@SOURCES
def test_those_that_are_named_ended_or_not(scene, source, tmp_path):
    open_saga = scene.publish(Asked(ask_id="open")).saga_id
    assert keys(read(scene, source, tmp_path, saga_ids=[open_saga, open_saga, "unknown"])) == [("question", "open")]
    assert keys(read(scene, source, tmp_path, saga_ids=[open_saga], saga_type="order")) == []


@SOURCES
def test_all_that_is_recorded_of_a_saga(scene, source, tmp_path):
    [order] = read(scene, source, tmp_path, saga_type="order").sagas
    assert sorted(each.seen.type for each in order.events) == [
        "orders.Cancelled",
        "orders.Placed",
        "payments.Declined",
        "stock.Released",
        "stock.Reserved",
    ]
    assert [each.kind for each in order.notes] == ["ended"]
    assert {each.masked for each in order.events if each.seen.type == "orders.Placed"} == {source == "store"}


def test_a_store_and_the_topics_tell_the_same(scene, tmp_path):
    [topics], [store] = (read(scene, each, tmp_path, saga_type="order").sagas for each in ("topics", "store"))
    for one, other in zip(topics.events, store.events, strict=True):
        told, again = (dict(each.record.headers) for each in (one, other))
        assert datetime.fromisoformat(again.pop("ce_time").decode()) == datetime.fromisoformat(told["ce_time"].decode())
        assert again == {name: told[name] for name in again}
        assert one.masked or other.masked or one.record.value == other.record.value
    assert topics.notes == store.notes


def test_what_belongs_to_no_saga_is_passed_over(scene):
    saga = scene.publish(Asked(ask_id="1")).saga_id.encode()
    scene.broker.write([Outgoing("questions", saga, b"not avro", [("ce_id", b"1"), ("ce_type", b"questions.Asked")])])
    scene.broker.write([Outgoing("choreo.journal", saga, b"not json", [])])
    scene.broker.write([Outgoing("choreo.ends", saga, b"not json", [])])
    scene.broker.write([Outgoing("choreo.manifests", b"x@1", b"not json", [])])
    scene.broker.write([Outgoing("choreo.manifests", b"x@1", None, [])])
    before = {each.business_key: len(each.events) for each in recorded(scene.broker, saga_type="question").sagas}
    assert before == {"1": 3, "2": 2}


def test_what_is_recorded_with_an_unknown_schema_cannot_be_put_together_again(scene, tmp_path):
    read(scene, "store", tmp_path)
    store = Store(tmp_path / "tracker.db")
    store.ask("UPDATE events SET payload = NULL WHERE type = 'questions.Asked'")
    store.ask("UPDATE events SET fingerprint = '' WHERE type = 'questions.Answered'")
    store.close()
    found = recorded(f"sqlite:///{tmp_path}/tracker.db", saga_type="question")
    assert {each.record.value for saga in found.sagas for each in saga.events} == {b""}


@pytest.mark.parametrize("url", ["sqlite:///nowhere.db", "postgresql://x", "sqlite:///"])
def test_a_store_that_is_not_there_is_told_and_not_made(tmp_path, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ChoreoError, match="there is no tracker's store there"):
        recorded(url)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    "wanted", [{"limit": 0}, {"limit": SAGAS_MAX + 1}, {"saga_ids": [str(n) for n in range(SAGAS_MAX + 1)]}]
)
def test_no_more_than_so_many_sagas(scene, wanted):
    with pytest.raises(ValueError, match=f"from 1 to {SAGAS_MAX}"):
        recorded(scene.broker, **wanted)


def test_brokers_that_fall_silent_before_all_is_read_are_told(scene, monkeypatch):
    class Silent:
        def ends(self):
            return {("choreo.manifests", 0): 1}

        def poll(self, timeout_s, records_max):
            return []

        def close(self):
            pass

    ticks = iter(range(0, 1000, 20))
    monkeypatch.setattr("choreo.reading.time.monotonic", lambda: next(ticks))
    monkeypatch.setattr(scene.broker, "reader", lambda topics, offsets=None: Silent())
    with pytest.raises(BrokerUnavailable, match="not all has been read"):
        recorded(scene.broker)
