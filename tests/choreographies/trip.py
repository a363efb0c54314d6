"""A trip: flight, hotel and car, one after the other, and undone in the reverse of that order.

Each failure undoes the booking before it, and that undoing the one before that. The flight comes first and is cancelled
last, so the trip has failed when that is done: nothing of it is booked any more.
"""

from choreo import Context, Saga, Service
from tests.choreographies.fact import Fact, Refusal
from tests.choreographies.ledger import Ledger, ledger
from tests.choreographies.piece import COMPLETED, FAILED, Way


class TripRequested(Fact, topic="trips"): ...


class TripRejected(Refusal, topic="trips"): ...


class TripConfirmed(Fact, topic="trips"): ...


class TripCancelled(Fact, topic="trips"): ...


class FlightBooked(Fact, topic="flights"): ...


class FlightRefused(Refusal, topic="flights"): ...


class FlightCancelled(Fact, topic="flights"): ...


class HotelBooked(Fact, topic="hotels"): ...


class HotelRefused(Refusal, topic="hotels"): ...


class HotelCancelled(Fact, topic="hotels"): ...


class CarBooked(Fact, topic="cars"): ...


class CarRefused(Refusal, topic="cars"): ...


class CarCancelled(Fact, topic="cars"): ...


trips, flights, hotels, cars = Service("trips"), Service("flights"), Service("hotels"), Service("cars")
trips.owns(Saga("trip", starts=TripRequested, completes=TripConfirmed, fails=TripCancelled, key="key"))
for each in (flights, hotels, cars):
    each.provides(ledger)


@flights.handles
def book_flight(trip: TripRequested, ctx: Context, seats: Ledger) -> FlightBooked | FlightRefused:
    if "flight" in trip.no or not seats.take(ctx.idempotency_key, trip.key):
        return FlightRefused.after(trip)
    return FlightBooked.after(trip)


@flights.compensates
def cancel_flight(
    cause: HotelRefused | HotelCancelled, _booked: FlightBooked | None, ctx: Context, seats: Ledger
) -> FlightCancelled:
    seats.give_back(ctx.undoes_key)
    return FlightCancelled.after(cause)


@hotels.handles
def book_hotel(flight: FlightBooked, ctx: Context, rooms: Ledger) -> HotelBooked | HotelRefused:
    if "hotel" in flight.no or not rooms.take(ctx.idempotency_key, flight.key):
        return HotelRefused.after(flight)
    return HotelBooked.after(flight)


@hotels.compensates
def cancel_hotel(
    cause: CarRefused | CarCancelled, _booked: HotelBooked | None, ctx: Context, rooms: Ledger
) -> HotelCancelled:
    rooms.give_back(ctx.undoes_key)
    return HotelCancelled.after(cause)


@cars.handles
def book_car(hotel: HotelBooked, ctx: Context, garage: Ledger) -> CarBooked | CarRefused:
    if "car" in hotel.no or not garage.take(ctx.idempotency_key, hotel.key):
        return CarRefused.after(hotel)
    return CarBooked.after(hotel)


@cars.compensates
def cancel_car(cause: TripRejected, _booked: CarBooked | None, ctx: Context, garage: Ledger) -> CarCancelled:
    garage.give_back(ctx.undoes_key)
    return CarCancelled.after(cause)


@trips.handles
def confirm(car: CarBooked) -> TripConfirmed | TripRejected:
    return TripRejected.after(car) if "trip" in car.no else TripConfirmed.after(car)


@trips.handles
def cancel(cause: FlightRefused | FlightCancelled) -> TripCancelled:
    return TripCancelled.after(cause)


SERVICES = (trips, flights, hotels, cars)
STARTS = TripRequested
WAYS = {
    "all is booked": Way(
        COMPLETED, "FlightBooked HotelBooked CarBooked TripConfirmed", {"flights": 1, "hotels": 1, "cars": 1}
    ),
    "no flight": Way(FAILED, "FlightRefused TripCancelled", no=("flight",)),
    "no hotel": Way(FAILED, "FlightBooked HotelRefused FlightCancelled TripCancelled", no=("hotel",)),
    "no car": Way(
        FAILED, "FlightBooked HotelBooked CarRefused HotelCancelled FlightCancelled TripCancelled", no=("car",)
    ),
    "rejected": Way(
        FAILED,
        "FlightBooked HotelBooked CarBooked TripRejected CarCancelled HotelCancelled FlightCancelled TripCancelled",
        no=("trip",),
    ),
}
