"""The examples of this repository, recorded in any order of topics: their own code would do the same."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path

import pytest

from choreo import Event, Service, Settings
from choreo.replay import replayed
from choreo.testing import Recording, Scenario, recorded, replay
from choreo.tracker import Follower, Store
from services.approval.approvals import approvals
from services.approval.events import ApprovalRequested, DirectorRejected, ManagerApproved
from services.approval.mailroom import mailroom
from services.inventory import Stock, inventory
from services.marketplace.billing import billing
from services.marketplace.checkout import checkout
from services.marketplace.delivery import delivery
from services.marketplace.events import CheckoutPlaced, Line
from services.marketplace.sellers import sellers
from services.notification import Postbox, notifications
from services.order import OrderBook, orders
from services.order.purchases import order
from services.payment import Till, payments
from services.shipping import Dispatch, shipping

SHOP = (orders, inventory, payments, shipping, notifications)
MARKET = (checkout, billing, sellers, delivery)
OFFICE = (approvals, mailroom)
PURCHASE = {"customer_id": "00001", "date": "1997-01-01", "quantity": "2", "amount": "29.33"}
PURCHASES = [
    {},
    {"customer_id": "00003", "quantity": "5"},
    {"amount": "75.01"},
    {"customer_id": "00019"},
    {"customer_id": "00039", "quantity": "5"},
    {"customer_id": "00003", "quantity": "3"},
    {"customer_id": "00011"},
]
ORDERS = [order(row, PURCHASE | columns) for row, columns in enumerate(PURCHASES, 1)]


def basket(number: int, *quantities: str) -> CheckoutPlaced:
    """A checkout that asks sellers for so many teapots each, fragile ones where there is a `!`."""
    lines = [
        Line(seller=seller, article="teapot", quantity=each.rstrip("!"), amount="10.00", fragile=each.endswith("!"))
        for seller, each in zip(("Fern", "Moss", "Reed"), quantities, strict=False)
    ]
    return CheckoutPlaced(checkout_id=f"C-{number}", lines=lines, total=10 * len(lines), card="4000")


BASKETS = [basket(1, "2"), basket(2, "2", "12"), basket(3, "2", "6!", "2"), basket(4, "12", "12")]


@pytest.fixture(autouse=True)
def _data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICES_DATA", str(tmp_path))


def recordings(
    services: tuple[Service, ...],
    events: list[Event],
    drive: Callable[[Scenario], None] = Scenario.settle,
    **how: object,
) -> Iterator[Recording]:
    """Yield what topics and a tracker's store hold of the same sagas."""
    with Scenario(*services, **how) as s:
        sagas = [s.publish(event).saga_id for event in events]
        drive(s)
        yield recorded(s.broker, saga_ids=sagas)
        with tempfile.TemporaryDirectory() as folder:
            store = Store(Path(folder) / "tracker.db")
            Follower(store, s.broker).catch_up()
            store.close()
            yield recorded(f"sqlite:///{folder}/tracker.db", saga_ids=sagas)


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
@pytest.mark.parametrize("seed", [0, 1, 5])
@pytest.mark.parametrize(("services", "events"), [(SHOP, ORDERS), (MARKET, BASKETS)], ids=["shop", "marketplace"])
def test_what_its_own_code_has_recorded_differs_nowhere(services, events, seed, guarantee):
    settings = Settings.model_construct(delivery=guarantee)
    for recording in recordings(services, events, seed=seed, settings=settings):
        assert len(recording.sagas) == len(events)
        assert replay(services, recording) == []


def weeks(s: Scenario) -> None:
    """Three requests: one is granted on the second day, one expires, and one a director rejects after escalation."""
    s.advance(timedelta(days=2))
    s.publish(ManagerApproved(manager="Ines"), key="R-0")
    s.advance(timedelta(days=3))
    s.publish(DirectorRejected(director="Olaf", why="not now"), key="R-2")
    s.settle()


@pytest.mark.parametrize("seed", [None, 1])
def test_weeks_of_reminders_and_deadlines_are_the_same_again(seed):
    facts = {"title": "Standing desks", "amount": "1200.00", "requested_by": "kim@example.com"}
    requests = [ApprovalRequested(request_id=f"R-{number}", **facts) for number in range(3)]
    for recording in recordings(OFFICE, requests, weeks, seed=seed):
        assert replay(OFFICE, recording) == []


def test_with_their_resources_at_hand_handlers_are_called_and_say_the_same(tmp_path):
    """Its own effects stand under their keys: whoever asks again is told what was done."""
    made = {OrderBook: "order", Stock: "inventory", Till: "payment", Dispatch: "shipping", Postbox: "notification"}
    # What was undone would be declined: its keys are unusable.
    topics, _ = recordings(SHOP, ORDERS[:2])
    with ExitStack() as stack:
        stand_ins = {kind: stack.enter_context(closing(kind(tmp_path / f"{name}.db"))) for kind, name in made.items()}
        report = replayed(SHOP, topics, replace=stand_ins)
    assert report.uncalled == {}
    assert [saga.differences for saga in report.sagas] == [[], []]
