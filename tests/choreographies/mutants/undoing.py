"""What is not undone, or in the wrong order: mutants whose compensations are wrong."""

from choreo import Context, Service
from services import events as order
from services.marketplace import events as market
from services.marketplace.delivery import Depot
from services.marketplace.delivery.service import FRAGILE_MAX
from services.marketplace.sellers import Shelves
from tests.choreographies import checkout, claim, delivery, hotel, loan, transfer, trial, trip
from tests.choreographies.altering import also, both, called, exchanged, hinted, instead, without
from tests.choreographies.fact import Fact
from tests.choreographies.ledger import Ledger
from tests.choreographies.mutants.mutant import Mutant


class HotelDropped(Fact, topic="hotels"): ...


class FlightRestored(Fact, topic="flights"): ...


class NoHotel(Fact, topic="hotels"): ...


def drop_what_the_car_leaves(hotels: Service) -> None:
    @hotels.compensates
    def drop_hotel(
        cause: trip.CarCancelled, _booked: trip.HotelBooked | None, ctx: Context, rooms: Ledger
    ) -> HotelDropped:
        rooms.give_back(ctx.undoes_key)
        return HotelDropped.after(cause)


def restore(flights: Service) -> None:
    @flights.compensates
    def restore_flight(cause: trip.HotelRefused, _cancelled: trip.FlightCancelled) -> FlightRestored:
        return FlightRestored.after(cause)


def pledge_again(registry: Service) -> None:
    @registry.handles
    def pledge_again(asked: loan.LoanRequested) -> loan.HousePledged:
        return loan.HousePledged.after(asked)


def cook(held: delivery.MoneyHeld, _answer: delivery.KitchenAccepted) -> delivery.CookingBegun:
    return delivery.CookingBegun.after(held)


def hear_the_rest_alone(meals: Service) -> None:
    @meals.handles
    def refuse(
        held: delivery.MoneyHeld, _answer: delivery.KitchenDeclined | delivery.KitchenSilent
    ) -> delivery.MealRefused:
        return delivery.MealRefused.after(held)


def book_at_once(asked: trip.TripRequested, ctx: Context, rooms: Ledger) -> trip.HotelBooked | trip.HotelRefused:
    if "hotel" in asked.no or not rooms.take(ctx.idempotency_key, asked.key):
        return trip.HotelRefused.after(asked)
    return trip.HotelBooked.after(asked)


def capture_at_once(placed: order.OrderPlaced) -> order.PaymentCaptured | order.PaymentDeclined:
    return order.PaymentCaptured(order_id=placed.order_id, amount=placed.total, receipt="")


def create_unpaid(address: order.AddressConfirmed) -> order.ShipmentCreated | order.ShipmentFailed:
    return order.ShipmentCreated(order_id=address.order_id, parcel="")


def carry_and_say_what_became_of_it(
    package: market.PackageAccepted, ctx: Context, depot: Depot
) -> market.PackageDelivered | market.PackageLost:
    checkout_id, seller, lost = package.checkout_id, package.seller, package.fragile > FRAGILE_MAX
    depot.carry(ctx.idempotency_key, checkout_id, seller, package.quantity, lost=lost)
    if lost:
        return market.PackageLost(checkout_id=checkout_id, seller=seller, reason="it broke")
    return market.PackageDelivered(checkout_id=checkout_id, seller=seller)


def put_back_at_once(
    cause: market.PackageRefused | market.PackageLost,
    accepted: market.PackageAccepted | None,
    ctx: Context,
    shelves: Shelves,
) -> market.PackageCancelled:
    quantity = accepted.quantity if accepted is not None else 0
    back = shelves.put_back(ctx.undoes_key, cause.checkout_id, cause.seller, quantity)
    return market.PackageCancelled(
        checkout_id=cause.checkout_id, seller=cause.seller, quantity=back, reason=cause.reason
    )


UNDOING = {
    # Somebody does not undo what was done.
    "nobody cancels the flight": Mutant("trip", "check", "CH070", without("flights.cancel_flight")),
    "nobody cancels the hotel": Mutant("trip", "check", "CH070", without("hotels.cancel_hotel")),
    "nobody cancels the car": Mutant("trip", "check", "CH070", without("cars.cancel_car")),
    "nobody frees the budget": Mutant("purchase", "check", "CH070", without("budgets.free")),
    "nobody cancels the shipment": Mutant("order", "check", "CH070", without("shipping.cancel_shipment")),
    # A cause is forgotten: a failure, or the undoing of what was done behind it.
    "a flight is kept for want of a hotel": Mutant(
        "trip", "check", "CH100", hinted("flights.cancel_flight", cause=trip.HotelCancelled)
    ),
    "a hotel is kept for want of a car": Mutant(
        "trip", "check", "CH100", hinted("hotels.cancel_hotel", cause=trip.CarCancelled)
    ),
    "a hotel is kept though the car is cancelled": Mutant(
        "trip", "check", "CH100", hinted("hotels.cancel_hotel", cause=trip.CarRefused)
    ),
    "a debit is kept though it was flagged": Mutant(
        "transfer", "check", "CH100", hinted("payers.reverse", cause=transfer.CreditRefused)
    ),
    "a debit is kept though nobody was credited": Mutant(
        "transfer", "check", "CH100", hinted("payers.reverse", cause=transfer.TransferFlagged)
    ),
    "parcels stay packed though they are not paid": Mutant(
        "checkout", "check", "CH100", hinted("warehouse.unpack", _cause=checkout.ParcelMissing)
    ),
    "access stays open though nothing was charged": Mutant(
        "trial", "check", "CH100", hinted("access.close_access", cause=trial.TrialEnded)
    ),
    "a house stays pledged for a bad rating": Mutant(
        "loan", "check", "CH100", hinted("registry.free", cause=loan.LoanRefused | loan.PledgeUnknown)
    ),
    "money is held for want of a rider": Mutant(
        "delivery", "check", "CH100", hinted("money.release", cause=delivery.MealRefused | delivery.RiderDismissed)
    ),
    "money is held though the rider is dismissed": Mutant(
        "delivery", "check", "CH100", hinted("money.release", cause=delivery.MealRefused | delivery.NoRider)
    ),
    "a room is kept though the card is released": Mutant(
        "hotel", "check", "CH100", hinted("hotels.cancel_room", cause=hotel.CardRefused | hotel.ReservationUnknown)
    ),
    "a partner's room is kept for want of a card": Mutant(
        "hotel", "check", "CH100", hinted("partners.cancel_partner", cause=hotel.CardReleased)
    ),
    "a payment is kept for a rejected address": Mutant(
        "order", "check", "CH100", hinted("payments.refund", cause=order.ShipmentFailed | order.ShipmentCancelled)
    ),
    "stock is kept for a declined payment": Mutant(
        "order", "check", "CH100", hinted("inventory.release", cause=order.PaymentRefunded)
    ),
    "packages stay on the road when a seller refuses": Mutant(
        "marketplace", "check", "CH100", hinted("delivery.take_back", cause=market.PackageLost)
    ),
    # A step runs where a failure that it does not know may come.
    "a hotel is booked beside the flight": Mutant("trip", "check", "CH100", instead("hotels.book_hotel", book_at_once)),
    "a card is charged before there is stock": Mutant(
        "order", "check", "CH100", instead("payments.capture", capture_at_once)
    ),
    "a parcel is sent before it is paid": Mutant("order", "check", "CH100", instead("shipping.create", create_unpaid)),
    "each of a restaurant's answers is heard alone": Mutant(
        "delivery",
        "check",
        "CH100",
        both(instead("meals.hear_kitchen", cook), also("meals", hear_the_rest_alone)),
    ),
    # The order is wrong.
    "two cancellations have each other's causes": Mutant(
        "trip",
        "check",
        "CH100",
        both(
            hinted("flights.cancel_flight", cause=trip.CarRefused | trip.CarCancelled),
            hinted("hotels.cancel_hotel", cause=trip.HotelRefused | trip.TripRejected),
        ),
    ),
    "everything is cancelled at once": Mutant(
        "trip",
        "check",
        "CH102",
        both(
            hinted("flights.cancel_flight", cause=trip.HotelRefused | trip.CarRefused | trip.TripRejected),
            hinted("hotels.cancel_hotel", cause=trip.CarRefused | trip.TripRejected),
        ),
    ),
    "packages go back to the shelf while they are on the road": Mutant(
        "marketplace", "check", "CH102", instead("sellers.cancel", put_back_at_once)
    ),
    "two cancel the hotel, and one tells nobody": Mutant(
        "trip",
        "check",
        "CH100",
        both(hinted("hotels.cancel_hotel", cause=trip.CarRefused), also("hotels", drop_what_the_car_leaves)),
    ),
    # What nobody knows to have happened stays.
    "a flight is cancelled only where it is known": Mutant(
        "trip", "check", "CH103", hinted("flights.cancel_flight", _booked=trip.FlightBooked)
    ),
    "a car is cancelled only where it is known": Mutant(
        "trip", "check", "CH103", hinted("cars.cancel_car", _booked=trip.CarBooked)
    ),
    "a debit is reversed only where it is known": Mutant(
        "transfer", "check", "CH103", hinted("payers.reverse", _debited=transfer.Debited)
    ),
    "a parcel is unpacked only where it is known": Mutant(
        "checkout", "check", "CH101", hinted("warehouse.unpack", _packed=checkout.ParcelPacked)
    ),
    "a part is returned only where it is known": Mutant(
        "claim", "check", "CH101", hinted("parts.give_back", _reserved=claim.PartReserved)
    ),
    "a house is freed only where it is known": Mutant(
        "loan", "check", "CH101", hinted("registry.free", _pledged=loan.HousePledged)
    ),
    "a payment is refunded only where it is known": Mutant(
        "order", "check", "CH101", hinted("payments.refund", _captured=order.PaymentCaptured)
    ),
    "a package is cancelled only where it is known": Mutant(
        "marketplace", "check", "CH101", hinted("sellers.cancel", _accepted=market.PackageAccepted)
    ),
    "only what was delivered is taken back": Mutant(
        "marketplace",
        "check",
        "CH100",
        both(
            instead("delivery.carry", carry_and_say_what_became_of_it),
            hinted("delivery.take_back", _picked_up=market.PackageDelivered | None),
        ),
    ),
    "a hotel that refuses is to cancel itself": Mutant(
        "trip",
        "check",
        "CH100",
        both(
            hinted("flights.cancel_flight", cause=trip.HotelCancelled),
            hinted("hotels.cancel_hotel", cause=trip.HotelRefused | trip.CarRefused | trip.CarCancelled),
        ),
    ),
    "a pledge that nobody knows of is not freed": Mutant(
        "loan", "check", "CH104", hinted("registry.free", cause=loan.CreditFailed | loan.LoanRefused)
    ),
    "a pledge that nobody knows of is taken for rejected": Mutant(
        "loan", "check", "CH104", hinted("registry.gave_up", returns=loan.PledgeRejected)
    ),
    "a loan is denied before its pledge is freed": Mutant(
        "loan", "check", "CH120", hinted("loans.deny", cause=loan.PledgeRejected | loan.HouseFreed | loan.PledgeUnknown)
    ),
    # It is undone, and maybe nobody hears of it.
    "a hotel is cancelled, and may say nothing": Mutant(
        "trip", "check", "CH100", hinted("hotels.cancel_hotel", returns=trip.HotelCancelled | None)
    ),
    "a house is freed, and nobody may hear of it": Mutant(
        "loan", "check", "CH112", hinted("registry.free", returns=loan.HouseFreed | None)
    ),
    "a parcel is unpacked, and may say nothing": Mutant(
        "checkout", "check", "CH112", hinted("warehouse.unpack", returns=checkout.ParcelUnpacked | None)
    ),
    "money is released, and nobody may hear of it": Mutant(
        "delivery", "check", "CH112", hinted("money.release", returns=delivery.MoneyReleased | None)
    ),
    # It cannot be meant so.
    "one cancels what another has booked": Mutant(
        "trip", "check", "CH032", hinted("flights.cancel_flight", _booked=trip.HotelBooked | None)
    ),
    "a cancellation is undone": Mutant("trip", "check", "CH033", also("flights", restore)),
    "two pledge what one frees": Mutant("loan", "check", "CH034", also("registry", pledge_again)),
    "a cancellation causes itself": Mutant(
        "trip",
        "check",
        "CH035",
        hinted("flights.cancel_flight", cause=trip.HotelRefused | trip.HotelCancelled | trip.FlightCancelled),
    ),
    "a flag prevents the debit that it also reverses": Mutant(
        "transfer", "check", "CH036", called("payers.debit", unless=transfer.TransferFlagged)
    ),
    "no hotel is no failure": Mutant("trip", "check", "CH072", exchanged(trip.HotelRefused, NoHotel)),
    "an otherwise stands in for nobody": Mutant("loan", "check", "CH037", called("registry.gave_up", guards="plegde")),
    "an otherwise takes what its step is not given": Mutant(
        "loan", "check", "CH038", hinted("registry.gave_up", loan=loan.CreditFailed)
    ),
}
