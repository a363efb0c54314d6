"""Orders made of the file's lines."""

from decimal import Decimal
from itertools import islice

from services.order.purchases import order, orders_from, read_purchases


def test_an_order_says_what_the_line_says():
    lines = read_purchases()
    for row, line in enumerate(lines, start=1):
        made = order(row, line)
        assert made.order_id == f"{row}-1"
        assert made.total == Decimal(line["amount"])
        assert sum(each.amount for each in made.lines) == made.total
        assert sum(each.quantity for each in made.lines) == int(line["quantity"])
        assert len({each.title for each in made.lines}) == len(made.lines)


def test_the_file_holds_purchases_of_nothing():
    assert sum(order(row, line).total == 0 for row, line in enumerate(read_purchases(), start=1)) == 8


def test_the_same_line_makes_the_same_order():
    line = read_purchases()[41]
    assert order(42, line) == order(42, dict(line))


def test_repetitions_have_order_ids_of_their_own():
    lines = read_purchases()[:3]
    assert [each.order_id for each in islice(orders_from(lines), 5)] == ["1-1", "2-1", "3-1", "1-2", "2-2"]
    assert [each.order_id for each in islice(orders_from(lines, 7), 2)] == ["1-7", "2-7"]


def test_a_customer_keeps_address_and_card():
    first, second = (
        order(row, {"customer_id": "00017", "date": "1997-02-01", "quantity": "1", "amount": "9.99"}) for row in (1, 2)
    )
    assert (first.address, first.card) == (second.address, second.card)
    assert first.card not in repr(first)
