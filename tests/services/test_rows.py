"""The database files: a key works once, in both directions."""

import multiprocessing
import sqlite3
from contextlib import closing
from decimal import Decimal

from services.inventory import Stock
from services.notification import Postbox
from services.order import OrderBook
from services.payment import Till
from services.shipping import Dispatch


def rows(path, table):
    with closing(sqlite3.connect(path)) as db:
        return db.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()


def test_r11_a_repeated_charge_changes_nothing_but_the_count_of_repeats(tmp_path):
    path = tmp_path / "payment.db"
    with closing(Till(path)) as till:
        assert till.charge("k", "1-1", Decimal("29.33"))
        assert till.charge("k", "1-1", Decimal("29.33"))
        assert till.totals() == (Decimal("29.33"), Decimal("0.00"))
    assert rows(path, "charges") == [("k", "1-1", 2933, 1)]


def test_r11_a_voided_charge_goes_back_once(tmp_path):
    with closing(Till(tmp_path / "payment.db")) as till:
        till.charge("k", "1-1", Decimal("29.33"))
        assert till.void("k", "1-1") == till.void("k", "1-1") == Decimal("29.33")
        assert till.totals() == (Decimal("29.33"), Decimal("29.33"))


def test_r11_a_voided_key_is_declined_whether_it_was_used_or_not(tmp_path):
    with closing(Till(tmp_path / "payment.db")) as till:
        assert till.void("unused", "1-1") == Decimal("0.00")
        assert not till.charge("unused", "1-1", Decimal("5.00"))
        till.charge("used", "2-1", Decimal("5.00"))
        till.void("used", "2-1")
        assert not till.charge("used", "2-1", Decimal("5.00"))
        assert till.totals() == (Decimal("5.00"), Decimal("5.00"))


def test_r11_stock_is_reserved_and_released_once(tmp_path):
    with closing(Stock(tmp_path / "inventory.db")) as stock:
        assert stock.reserve("k", "1-1", 3)
        assert stock.reserve("k", "1-1", 3)
        assert stock.totals() == (3, 0)
        assert stock.release("k", "1-1") == stock.release("k", "1-1") == 3
        assert not stock.reserve("k", "1-1", 3)
        assert stock.release("unused", "2-1") == 0
        assert not stock.reserve("unused", "2-1", 1)
        assert stock.totals() == (3, 3)


def test_r11_a_parcel_is_booked_and_cancelled_once(tmp_path):
    with closing(Dispatch(tmp_path / "shipping.db")) as dispatch:
        parcel = dispatch.book("k", "1-1")
        assert parcel is not None
        assert dispatch.book("k", "1-1") == parcel
        dispatch.cancel("k", "1-1")
        dispatch.cancel("k", "1-1")
        dispatch.cancel("unused", "2-1")
        assert dispatch.book("k", "1-1") is None
        assert dispatch.book("unused", "2-1") is None
        assert dispatch.totals() == (1, 1)


def test_r11_a_message_is_sent_once(tmp_path):
    path = tmp_path / "notification.db"
    with closing(Postbox(path)) as postbox:
        postbox.post("k", "1-1", "on its way")
        postbox.post("k", "1-1", "on its way")
        assert postbox.total() == 1
    assert rows(path, "messages") == [("k", "1-1", "on its way", 1)]


def test_an_order_ends_once(tmp_path):
    path = tmp_path / "order.db"
    with closing(OrderBook(path)) as book:
        book.end("first", "1-1", "cancelled")
        book.end("first", "1-1", "cancelled")
        book.end("second", "1-1", "cancelled")
        book.end("third", "2-1", "confirmed")
        assert book.endings() == {"1-1": "cancelled", "2-1": "confirmed"}
    assert rows(path, "endings") == [("1-1", "first", "cancelled", 1), ("2-1", "third", "confirmed", 0)]


def _charge(path, name):
    with closing(Till(path)) as till:
        for number in range(200):
            till.charge(f"{name}-{number}", "1-1", Decimal("0.01"))
            till.charge(f"shared-{number}", "1-1", Decimal("0.01"))


def test_several_processes_share_a_file_from_its_first_moment_on(tmp_path):
    path = tmp_path / "new" / "payment.db"
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_charge, args=(path, name)) for name in ("a", "b", "c")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    with closing(Till(path)) as till:
        assert till.totals() == (Decimal("8.00"), Decimal("0.00"))
