"""A tracker whose disk is full: nothing is half written, and it goes on where it was once there is room."""

import logging
import sqlite3
import threading
from pathlib import Path

import pytest

from choreo import Event, Saga, SagaState, Service
from choreo.testing import Scenario
from choreo.tracker import Follower, Store, Tracker, follower

WAIT_S = 20.0
SAGAS = 200


class Placed(Event, topic="orders"):
    order_id: str
    text: str


class Confirmed(Event, topic="orders"):
    pass


def orders() -> Service:
    service = Service("orders")
    service.owns(Saga("order", starts=Placed, completes=Confirmed, key="order_id"))

    @service.handles
    def confirm(placed: Placed) -> Confirmed:
        return Confirmed()

    return service


def pages(store: Store, most: int) -> None:
    """Let the database grow to so many pages; SQLite then says what it says of a full disk."""
    store.ask(f"PRAGMA max_page_count = {most}")


def test_a_full_disk_is_waited_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr(follower, "RETRY_S", 0.01)
    path = tmp_path / "tracker.db"
    with Scenario(orders()) as s:
        sagas = [s.publish(Placed(order_id=str(n), text="x" * 500)) for n in range(SAGAS)]
        s.settle()
        store = Store(path)
        pages(store, 40)
        following = Follower(store, s.broker)
        stop = threading.Event()
        full = threading.Event()

        class Heard(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if "cannot be written" in record.getMessage():
                    full.set()

        logging.getLogger("choreo").addHandler(heard := Heard())
        thread = threading.Thread(target=following.run, args=(stop,))
        thread.start()
        try:
            assert full.wait(WAIT_S), "it says so, and does not end"
            # Offsets and views are one transaction: what is there is whole.
            tracker = Tracker.open(f"sqlite:///{path}")
            assert sum(tracker.counts().get("order", {}).values()) < SAGAS
            pages(store, 1_000_000)
            for saga in sagas:
                assert tracker.wait(saga.saga_id, timeout_s=WAIT_S).state is SagaState.COMPLETED
            assert tracker.counts()["order"][SagaState.COMPLETED] == SAGAS
        finally:
            stop.set()
            thread.join(WAIT_S)
            logging.getLogger("choreo").removeHandler(heard)
            store.close()


def test_one_step_tells_whoever_drives_it(tmp_path: Path):
    with Scenario(orders()) as s:
        for n in range(SAGAS):
            s.publish(Placed(order_id=str(n), text="x" * 500))
        s.settle()
        store = Store(tmp_path / "tracker.db")
        pages(store, 40)
        following = Follower(store, s.broker)
        with pytest.raises(sqlite3.OperationalError, match="full"):
            following.catch_up()
        pages(store, 1_000_000)
        following.catch_up()
        assert sum(Tracker.open(f"sqlite:///{tmp_path}/tracker.db").counts()["order"].values()) == SAGAS
        following.close()
        store.close()
