"""What the tests of the example share: a place for the databases, and purchases that end as wanted."""

import pytest

PURCHASE = {"customer_id": "00001", "date": "1997-01-01", "quantity": "2", "amount": "29.33"}


@pytest.fixture(autouse=True)
def services_data(tmp_path, monkeypatch):
    """Keep every service's database file in the test's own folder."""
    monkeypatch.setenv("SERVICES_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def purchase():
    """Return a function that makes a purchase, ordinary but for the columns given."""
    return lambda **columns: PURCHASE | columns
