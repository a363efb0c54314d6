"""A run that is played step by step."""

from datetime import timedelta

import pytest

from choreo import SagaState
from choreo.errors import ChoreoError
from choreo.testing import Scenario
from tests.verify.quotes import QUOTES, QuoteAsked, QuoteMissed, QuotesAsked
from tests.verify.trips import FlightFreed, FlightFull, HotelBooked, HotelFull, TripAsked, TripOff, trip


def test_a_service_reads_until_what_it_is_told():
    trips, flights, hotels = trip()
    with Scenario(trips, flights, hotels) as s:
        saga = s.publish(TripAsked())
        s.answer(hotels, "stay", HotelFull(reason="full"))
        assert s.step(hotels, TripAsked)
        assert s.step(flights, HotelFull)

        assert saga.emitted == [TripAsked, HotelFull]
        assert not s.step(flights, HotelFull), "there is no second one"
        assert s.step(flights, "trips")
        s.settle()
        assert saga.state is SagaState.FAILED
        assert [step.status for step in saga.steps if step.name == "fly"] == ["skipped"]
        assert FlightFreed in saga.emitted


def test_an_answer_is_given_once_and_in_place_of_the_handler():
    trips, flights, hotels = trip()
    with Scenario(trips, flights, hotels) as s:
        s.answer(flights, "fly", FlightFull(reason="full"))
        first, second = s.publish(TripAsked(key="1")), s.publish(TripAsked(key="2"))
        s.settle()

        assert TripOff in first.emitted
        assert HotelBooked in second.emitted
        assert second.state is SagaState.COMPLETED


def test_an_answer_to_nobody_is_refused():
    trips, flights, hotels = trip()
    with Scenario(trips, flights, hotels) as s, pytest.raises(ChoreoError, match="swim"):
        s.answer(flights, "swim")


def test_a_timer_fires_before_all_others():
    quotes, sellers = QUOTES
    with Scenario(quotes, sellers) as s:
        saga = s.publish(QuotesAsked())
        s.hold("sellers")
        assert not s.fire(quotes), "nothing is set yet"
        s.step(quotes, QuotesAsked)
        s.step(quotes, QuoteAsked)
        began = s.now
        assert s.fire(quotes)

        assert s.now - began == timedelta(hours=1)
        assert QuoteMissed in saga.emitted
