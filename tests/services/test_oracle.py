"""The oracle, against the file it reads."""

from collections import Counter
from decimal import Decimal

import pytest

from services.oracle import COMPLETED, FAILED, expected
from services.order.purchases import read_purchases


def purchase(**columns: str) -> dict[str, str]:
    return {"customer_id": "00001", "date": "1997-01-01", "quantity": "1", "amount": "14.37"} | columns


def test_an_ordinary_purchase_completes():
    assert expected(purchase()) == (COMPLETED, Decimal("14.37"), 1, frozenset(), frozenset())


@pytest.mark.parametrize(
    ("columns", "reasons", "possible"),
    [
        ({"customer_id": "00003", "quantity": "5"}, {"OutOfStock"}, set()),
        ({"amount": "75.01"}, {"PaymentDeclined"}, set()),
        ({"customer_id": "00019"}, {"AddressRejected"}, set()),
        ({"customer_id": "00003", "quantity": "3"}, {"ShipmentFailed"}, set()),
        ({"customer_id": "00011"}, {"OrderRejected"}, set()),
        ({"customer_id": "00039", "quantity": "5"}, {"AddressRejected", "OutOfStock"}, set()),
        ({"customer_id": "00019", "amount": "75.01"}, {"AddressRejected"}, {"PaymentDeclined"}),
        ({"customer_id": "00003", "quantity": "5", "amount": "75.01"}, {"OutOfStock"}, set()),
    ],
)
def test_a_failure_is_known_from_the_line(columns, reasons, possible):
    outcome = expected(purchase(**columns))
    assert outcome == (FAILED, Decimal("0.00"), 0, frozenset(reasons), frozenset(possible))


def test_the_limits_are_inclusive():
    assert expected(purchase(amount="75.00")).outcome == COMPLETED
    assert expected(purchase(customer_id="00006", quantity="4")).outcome == COMPLETED
    assert expected(purchase(customer_id="00003", quantity="2")).outcome == COMPLETED


def test_every_outcome_has_a_fair_share_of_the_file():
    ends = [expected(each) for each in read_purchases()]
    shares = Counter(reason for end in ends for reason in end.reasons)
    assert len(ends) == 6919
    assert {reason for reason, count in shares.items() if 0.02 * 6919 <= count <= 0.08 * 6919} == {
        "AddressRejected",
        "OrderRejected",
        "OutOfStock",
        "PaymentDeclined",
        "ShipmentFailed",
    }
    assert sum(len(end.reasons | end.possible) == 2 for end in ends) == 71
    assert sum(end.outcome == COMPLETED for end in ends) == 5403
