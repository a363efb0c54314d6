"""Placing orders at a pace, with a publisher that only takes note."""

import threading
from itertools import islice

from services.order.place import place, placed_twice
from services.order.purchases import orders_from, read_purchases


class Noting:
    """Takes orders as a publisher does, and keeps them."""

    def __init__(self):
        self.published = []

    def publish_many(self, events):
        self.published += [event.order_id for event in events]


def source(limit):
    return islice(orders_from(read_purchases()), limit)


def test_every_order_is_published_and_some_starts_twice():
    publisher, placed = Noting(), []
    place(publisher, source(120), 0, threading.Event(), placed.extend)
    assert [order.order_id for order in placed] == [f"{row}-1" for row in range(1, 121)]
    assert sorted(publisher.published) == sorted([f"{row}-1" for row in range(1, 121)] + ["50-1", "100-1"])


def test_one_start_in_fifty_is_published_twice():
    assert sum(placed_twice(order.order_id) for order in source(6919)) == 138


def test_placing_keeps_the_pace_and_stops_when_told():
    publisher, stop, placed = Noting(), threading.Event(), []

    def taken(batch):
        placed.extend(batch)
        if len(placed) >= 20:
            stop.set()

    place(publisher, source(1000), 400.0, stop, taken)
    assert 20 <= len(placed) <= 100


def test_a_slow_pace_places_too():
    publisher, stop, placed = Noting(), threading.Event(), []
    timer = threading.Timer(2.0, stop.set)
    timer.start()
    place(publisher, source(10), 4.0, stop, lambda batch: (placed.extend(batch), len(placed) > 1 and stop.set()))
    timer.cancel()
    assert [order.order_id for order in placed] == ["1-1", "2-1"]
