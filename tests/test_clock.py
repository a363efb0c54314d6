"""The system's clock gives one answer a millisecond, and never an old one."""

from datetime import UTC, datetime

import pytest

from choreo import clock
from choreo.clock import RESOLUTION_S, ManualClock, SystemClock


def test_the_system_clock_is_never_later_than_its_resolution():
    told = SystemClock()
    for _ in range(1000):
        before = datetime.now(UTC).timestamp()
        assert before - RESOLUTION_S <= told.now().timestamp() <= datetime.now(UTC).timestamp()


def test_one_millisecond_has_one_answer(monkeypatch: pytest.MonkeyPatch):
    at = [100.0]
    monkeypatch.setattr(clock.time, "time", lambda: at[0])
    told = SystemClock()
    first = told.now()
    at[0] += RESOLUTION_S / 2
    assert told.now() is first
    at[0] += RESOLUTION_S
    assert told.now() == datetime.fromtimestamp(at[0], UTC)


def test_a_clock_that_is_set_back_is_followed(monkeypatch: pytest.MonkeyPatch):
    at = [7200.0]
    monkeypatch.setattr(clock.time, "time", lambda: at[0])
    told = SystemClock()
    told.now()
    at[0] = 3600.0
    assert told.now() == datetime.fromtimestamp(3600, UTC)


def test_a_manual_clock_needs_a_zone():
    with pytest.raises(ValueError, match="aware"):
        ManualClock(datetime(2026, 1, 1))  # noqa: DTZ001 - that is what is refused.
