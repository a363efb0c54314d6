"""A trip of two bookings, right as it stands, and what is left out of it to break it."""

from collections.abc import Collection

from choreo import Event, Failure, Retry, Saga, Service


class TripAsked(Event, topic="trips"):
    key: str = "1"


class TripBooked(Event, topic="trips"):
    pass


class TripOff(Event, topic="trips"):
    pass


class FlightBooked(Event, topic="flights"):
    pass


class FlightFull(Failure, topic="flights"):
    pass


class FlightFreed(Event, topic="flights"):
    pass


class HotelBooked(Event, topic="hotels"):
    pass


class HotelFull(Failure, topic="hotels"):
    pass


class Airline:
    """Where flights are booked."""


def trip(without: Collection[str] = ()) -> tuple[Service, ...]:
    """Return the services; `without` names what is left out: `free`, `call off` or `null`."""
    hotels = Service("hotels")

    @hotels.handles
    def stay(_asked: TripAsked) -> HotelBooked | HotelFull:
        return HotelBooked()

    return _trips(without), _flights(without), hotels


def _trips(without: Collection[str]) -> Service:
    trips = Service("trips")
    trips.owns(Saga("trip", starts=TripAsked, completes=TripBooked, fails=TripOff, key="key"))

    @trips.handles
    def book(_flight: FlightBooked, _hotel: HotelBooked) -> TripBooked:
        return TripBooked()

    if "call off" not in without:

        @trips.handles
        def call_off(_cause: FlightFull | HotelFull) -> TripOff:
            return TripOff()

    return trips


def _flights(without: Collection[str]) -> Service:
    flights = Service("flights")

    @flights.provides
    def airline() -> Airline:
        return Airline()

    @flights.handles(retry=Retry(attempts=2))
    def fly(_asked: TripAsked, _airline: Airline) -> FlightBooked | FlightFull:
        return FlightBooked()

    def free(_cause: HotelFull, _flight: FlightBooked, _airline: Airline) -> FlightFreed:
        return FlightFreed()

    def unbook(_cause: HotelFull, _flight: FlightBooked | None, _airline: Airline) -> FlightFreed:
        return FlightFreed()

    if "free" not in without:
        flights.compensates(free if "null" in without else unbook)
    return flights
