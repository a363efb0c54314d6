"""What the demo shows and sums up, from plain data."""

from datetime import UTC, datetime
from decimal import Decimal

from rich.console import Console

from choreo import SagaState
from choreo.tracker import EventView, Reason, SagaStep, SagaView, StepStatus
from services.demo.feed import KEPT_MAX, Feed, row
from services.demo.screen import Row, Snapshot, clock, plain_lines, rows_that_fit, screen, summary_screen
from services.demo.summary import Books, account
from services.inventory import Stock
from services.notification import Postbox
from services.order import OrderBook
from services.order.purchases import order
from services.payment import Till
from services.shipping import Dispatch

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DONE = dict.fromkeys(("reserve", "capture", "address", "ship", "confirm", "notice"), "done")


def step(service, name, status):
    return SagaStep(
        name=name,
        service=service,
        branch="",
        action="",
        compensation="",
        status=status,
        result=None,
        error="",
        attempts=1,
        executed_at=None,
        compensated_at=None,
        since=None,
        trigger="",
    )


def saga(key, state=SagaState.COMPLETED, steps=(), reasons=()):
    placed = EventView(
        "s", "e", "orders.OrderPlaced", "orders", 0, 0, "", "", (), "", "", 0, NOW, {"total": "29.33"}, "", "", "", key
    )
    return SagaView(
        saga_id=key,
        saga_type="order-fulfilment",
        business_key=key,
        state=state,
        flags=frozenset(),
        waiting_for=[],
        steps=list(steps),
        events=[placed],
        reasons=list(reasons),
        notes=[],
        violations=[],
        started_at=NOW,
        updated_at=NOW,
    )


def printed(renderable, width=120, height=40):
    console = Console(width=width, height=height, force_terminal=False)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def test_a_row_says_how_far_each_step_has_come():
    steps = [
        step("inventory", "reserve", StepStatus.COMPENSATED),
        step("payments", "capture", StepStatus.SKIPPED),
        step("shipping", "check_address", StepStatus.FAILED),
        step("orders", "cancel", StepStatus.COMPLETED),
        step("notifications", "send_cancellation", StepStatus.COMPLETED),
    ]
    reason = Reason("shipping.AddressRejected", "nobody goes there", NOW)
    assert row(saga("7-1", SagaState.FAILED, steps, [reason])) == Row(
        "7-1",
        "29.33",
        SagaState.FAILED,
        {"reserve": "undone", "capture": "skipped", "address": "failed", "notice": "done"},
        "nobody goes there",
    )


def test_one_saga_a_frame_comes_in_and_a_failed_one_every_now_and_then():
    feed = Feed()
    failed = saga("2-1", SagaState.FAILED, reasons=[Reason("shipping.AddressRejected", "nobody goes there", NOW)])
    shown = feed.take([saga("3-1"), failed, saga("1-1")])
    assert [each.order_id for each in shown] == ["2-1"]
    assert [each.order_id for each in feed.take([saga("4-1"), saga("3-1")])] == ["4-1", "2-1"]
    assert [each.order_id for each in feed.take([saga("4-1"), saga("3-1")])] == ["4-1", "2-1"]


def test_rows_on_the_screen_change_in_place():
    feed = Feed()
    feed.take([saga("1-1", SagaState.PENDING)])
    assert feed.unsettled() == ["1-1"]
    told = step("notifications", "send_confirmation", StepStatus.COMPLETED)
    shown = feed.take([], [saga("1-1", SagaState.COMPLETED, [told])])
    assert [(each.order_id, each.state) for each in shown] == [("1-1", SagaState.COMPLETED)]
    assert feed.unsettled() == []


def test_the_feed_keeps_a_bounded_number_of_rows():
    feed = Feed()
    for number in range(KEPT_MAX + 5):
        shown = feed.take([saga(f"{number}-1")])
    assert len(shown) == KEPT_MAX


def test_the_screen_fits_its_terminal():
    rows = [Row(f"{number}-1", "29.33", SagaState.COMPLETED, DONE) for number in range(60)]
    for width, height in ((80, 24), (100, 30), (120, 40), (200, 60)):
        text = printed(screen(Snapshot(phase="placing", placed=60, rows=rows), width, height), width, height)
        lines = text.splitlines()
        assert len(lines) <= height
        assert max(map(len, lines)) <= width
        assert f"{rows_that_fit(width, height) - 1}-1" in text


def test_the_screen_says_states_in_words_and_what_embedded_does_not_promise():
    counts = {SagaState.COMPLETED: 3, SagaState.FAILED: 1, SagaState.STARTED: 1, SagaState.PENDING: 2}
    text = printed(screen(Snapshot(phase="placing", placed=7, counts=counts), 120, 40))
    for words in ("7 placed", "3 completed", "1 failed", "0 compensating", "3 under way", "at least once"):
        assert words in text


def test_plain_lines_say_the_counts_and_the_latest_saga():
    latest = Row("9-1", "81.00", SagaState.FAILED, {"reserve": "undone", "capture": "failed"}, "too much")
    snapshot = Snapshot(phase="placing", elapsed_s=61, placed=9, counts={SagaState.FAILED: 9}, rows=[latest])
    assert plain_lines(snapshot) == [
        "01:01  placed 9  completed 0  failed 9  compensating 0  under way 0  0 a second",
        "       order 9-1  81.00  reserve ↩  capture ✗  failed: too much",
    ]
    assert clock(3599) == "59:59"


def written(folder, *, refund):
    """Write the books of one confirmed order and one that was cancelled after its capture."""
    Stock(folder / "inventory.db").reserve("a", "1-1", 2)
    till = Till(folder / "payment.db")
    till.charge("a", "1-1", Decimal("29.33"))
    till.charge("b", "2-1", Decimal("10.00"))
    if refund:
        till.void("b", "2-1")
    Dispatch(folder / "shipping.db").book("a", "1-1")
    book = OrderBook(folder / "order.db")
    book.end("a", "1-1", "confirmed")
    book.end("b", "2-1", "cancelled")
    postbox = Postbox(folder / "notification.db")
    postbox.post("a", "1-1", "on its way")
    postbox.post("b", "2-1", "cancelled")
    return Books.read(folder)


def test_the_account_holds_when_all_adds_up_and_names_what_does_not(purchase, tmp_path):
    purchases = [purchase(), purchase(customer_id="00019")]
    placed = [order(number, line) for number, line in enumerate(purchases, start=1)]
    counts = {SagaState.COMPLETED: 1, SagaState.FAILED: 1}
    good = account(placed, purchases, counts, written(tmp_path / "good", refund=True))
    assert [line.label for line in good if not line.holds] == []
    assert "2 placed = 1 completed + 1 failed + 0 still running" in printed(summary_screen(good, 20))
    bad = account(placed, purchases, counts, written(tmp_path / "bad", refund=False))
    assert [line.label for line in bad if not line.holds] == ["Money"]
    running = account(placed, purchases, {SagaState.COMPLETED: 1}, Books.read(tmp_path / "good"))
    assert [line.label for line in running if not line.holds] == ["Orders"]
