"""What ends too early, twice, by the wrong hand or not at all: mutants whose sagas do not end as they should."""

from datetime import timedelta

from choreo import Context, Event, Failure, Saga, Service
from services import events as order
from services.approval import events as approval
from services.marketplace import events as market
from tests.choreographies import checkout, claim, delivery, hotel, loan, purchase, transfer, trip
from tests.choreographies.altering import also, both, exchanged, hinted, instead, owning, without
from tests.choreographies.fact import Refusal
from tests.choreographies.ledger import Ledger
from tests.choreographies.mutants.mutant import Mutant

DAY = timedelta(days=1)


class NotApproved(Failure, topic="answers"): ...


class Fallen(Failure, topic="roads"): ...


class PurchaseExpired(Refusal, topic="budgets"): ...


class MealLate(Refusal, topic="riders"): ...


class ManagerPromoted(Event, topic="answers"): ...


def confirm_without_a_car(hotel_booked: trip.HotelBooked) -> trip.TripConfirmed | trip.TripRejected:
    return trip.TripConfirmed.after(hotel_booked)


def credit_at_once(debited: transfer.Debited, ctx: Context, accounts: Ledger) -> transfer.Credited:
    accounts.take(ctx.idempotency_key, debited.key)
    return transfer.Credited.after(debited)


def complete_uncredited(debited: transfer.Debited, _cleared: transfer.TransferCleared) -> transfer.TransferCompleted:
    return transfer.TransferCompleted.after(debited)


def complete_what_is_packed(packed: checkout.ParcelPacked) -> checkout.CheckoutCompleted:
    return checkout.CheckoutCompleted.after(packed)


def charge_each(
    packed: checkout.ParcelPacked, ctx: Context, cards: Ledger
) -> checkout.PaymentCharged | checkout.PaymentDeclined:
    cards.take(ctx.idempotency_key, packed.key)
    return checkout.PaymentCharged.after(packed)


def settle_each(ready: claim.VehicleReady) -> claim.ClaimSettled:
    return claim.ClaimSettled.after(ready)


def grant_unrated(asked: loan.LoanRequested, _pledged: loan.HousePledged) -> loan.LoanGranted | loan.LoanRefused:
    return loan.LoanGranted.after(asked)


def eat_before_it_is_brought(
    held: delivery.MoneyHeld, answer: delivery.RiderArrived | delivery.RiderFell
) -> delivery.MealEaten | delivery.MealSpoilt:
    arrived = isinstance(answer, delivery.RiderArrived)
    return delivery.MealEaten.after(held) if arrived else delivery.MealSpoilt.after(held)


def confirm_without_a_card(room: hotel.RoomReserved | hotel.PartnerReserved) -> hotel.StayConfirmed:
    return hotel.StayConfirmed.after(room)


def confirm_without_address(placed: order.OrderPlaced, _paid: order.PaymentCaptured) -> order.OrderConfirmed:
    return order.OrderConfirmed(order_id=placed.order_id, total=placed.total, parcel="")


def complete_each(delivered: market.PackageDelivered) -> market.CheckoutCompleted:
    return market.CheckoutCompleted(checkout_id=delivered.checkout_id, packages=1)


def complete_on_the_road(picked_up: list[market.PackagePickedUp]) -> market.CheckoutCompleted:
    return market.CheckoutCompleted(checkout_id=picked_up[0].checkout_id, packages=len(picked_up))


def cancel_the_trip(flights: Service) -> None:
    @flights.handles
    def cancel_trip(refused: trip.FlightRefused) -> trip.TripCancelled:
        return trip.TripCancelled.after(refused)


def approve(budgets: Service) -> None:
    @budgets.handles
    def approve(reserved: purchase.BudgetReserved) -> purchase.PurchaseApproved:
        return purchase.PurchaseApproved.after(reserved)


def cancel_the_order(notifications: Service) -> None:
    @notifications.handles
    def cancel_order(declined: order.PaymentDeclined) -> order.OrderCancelled:
        return order.OrderCancelled(order_id=declined.order_id, reason=declined.reason)


def own_trips(hotels: Service) -> None:
    hotels.owns(Saga("trip", starts=trip.FlightBooked, completes=trip.HotelBooked, key="key"))


def own_journeys(trips: Service) -> None:
    trips.owns(Saga("journey", starts=trip.TripRequested, completes=trip.CarCancelled, key="key"))


def expire_the_budget(budgets: Service) -> None:
    @budgets.deadline(purchase.ManagerApproved | purchase.ManagerDeclined, within=7 * DAY)
    def expire(reserved: purchase.BudgetReserved) -> PurchaseExpired:
        return PurchaseExpired.after(reserved)


def lose_the_rider(riders: Service) -> None:
    @riders.deadline(delivery.RiderArrived | delivery.RiderFell, within=DAY)
    def overdue(assigned: delivery.RiderAssigned) -> MealLate:
        return MealLate.after(assigned)


def expire_the_request(mailroom: Service) -> None:
    @mailroom.deadline(approval.RequestGranted | approval.RequestRejected, within=7 * DAY)
    def expire(escalated: approval.Escalated) -> approval.RequestExpired:
        return approval.RequestExpired(request_id=escalated.request_id, reason="nobody decided")


ENDING = {
    # A failure may follow the end: it does not wait for all that may fail.
    "a trip is confirmed without its car": Mutant(
        "trip", "check", "CH105", instead("trips.confirm", confirm_without_a_car)
    ),
    "a payee is credited before it is cleared": Mutant(
        "transfer", "check", "CH105", instead("payees.credit", credit_at_once)
    ),
    "a transfer is complete before the payee is credited": Mutant(
        "transfer", "check", "CH105", instead("transfers.complete", complete_uncredited)
    ),
    "a loan is granted without a rating": Mutant("loan", "check", "CH105", instead("loans.decide", grant_unrated)),
    "a meal is eaten before there is a rider": Mutant(
        "delivery", "check", "CH105", instead("meals.hear_rider", eat_before_it_is_brought)
    ),
    "a stay is confirmed without a card": Mutant(
        "hotel", "check", "CH105", instead("stays.confirm", confirm_without_a_card)
    ),
    "an order is confirmed without its address": Mutant(
        "order", "check", "CH105", instead("orders.confirm", confirm_without_address)
    ),
    "a checkout is complete while packages are on the road": Mutant(
        "marketplace", "check", "CH105", instead("checkout.complete", complete_on_the_road)
    ),
    # A failure may follow the end: somebody else than the owner decides.
    "a manager's no is a failure": Mutant(
        "purchase",
        "check",
        "CH105",
        both(
            exchanged(purchase.ManagerDeclined, NotApproved),
            hinted("budgets.free", cause=purchase.PurchaseDeclined | NotApproved),
        ),
    ),
    "a rider's fall is a failure": Mutant(
        "delivery",
        "check",
        "CH105",
        both(exchanged(delivery.RiderFell, Fallen), hinted("riders.dismiss", cause=delivery.MealSpoilt | Fallen)),
    ),
    "the budget keeps the manager's time": Mutant(
        "purchase",
        "check",
        "CH105",
        both(
            also("budgets", expire_the_budget),
            hinted("budgets.free", cause=purchase.PurchaseDeclined | PurchaseExpired),
        ),
    ),
    "riders keep their own time": Mutant(
        "delivery",
        "check",
        "CH105",
        both(also("riders", lose_the_rider), hinted("riders.dismiss", cause=delivery.MealSpoilt | MealLate)),
    ),
    "the mailroom keeps the director's time": Mutant(
        "approval", "check", "CH105", both(without("approvals.expire"), also("mailroom", expire_the_request))
    ),
    # Each branch ends it.
    "a checkout is complete with each parcel": Mutant(
        "checkout", "check", "CH107", instead("checkouts.complete", complete_what_is_packed)
    ),
    "each parcel is charged by itself": Mutant("checkout", "check", "CH107", instead("payments.charge", charge_each)),
    "a claim is settled with each vehicle": Mutant("claim", "check", "CH107", instead("claims.settle", settle_each)),
    "a claim is settled with the parts of one vehicle": Mutant(
        "claim", "check", "CH107", hinted("claims.settle", ready=list[claim.PartReserved])
    ),
    "a checkout is complete with each package": Mutant(
        "marketplace", "check", "CH107", instead("checkout.complete", complete_each)
    ),
    # The wrong hand ends it.
    "the flight cancels the trip": Mutant("trip", "check", "CH045", also("flights", cancel_the_trip)),
    "the budget approves the purchase": Mutant("purchase", "check", "CH045", also("budgets", approve)),
    "a notification cancels the order": Mutant("order", "check", "CH045", also("notifications", cancel_the_order)),
    "a purchase is approved from outside": Mutant(
        "purchase", "check", "CH026", also("requests", lambda requests: requests.publishes(purchase.PurchaseApproved))
    ),
    "nobody hears of the manager's promotion": Mutant(
        "purchase", "check", "CH071", also("requests", lambda requests: requests.publishes(ManagerPromoted))
    ),
    "two services own a trip": Mutant("trip", "check", "CH044", also("hotels", own_trips)),
    "a request starts a trip and a journey": Mutant("trip", "check", "CH043", also("trips", own_journeys)),
    # It does not end.
    "a trip never completes": Mutant("trip", "check", "CH041", owning(completes=None)),
    "nobody confirms the trip": Mutant("trip", "check", "CH073", without("trips.confirm")),
    "a confirmation also fails the trip": Mutant("trip", "check", "CH047", owning(fails=trip.TripConfirmed)),
    "a trip cannot fail": Mutant("trip", "check", "CH106", owning(fails=None)),
    "a checkout cannot fail": Mutant("checkout", "check", "CH106", owning(fails=None)),
    "an approval cannot fail": Mutant("approval", "check", "CH106", owning(fails=None)),
    "nobody hears that there is no flight": Mutant(
        "trip", "check", "CH112", hinted("trips.cancel", cause=trip.FlightCancelled)
    ),
    "nobody hears that there is no room anywhere": Mutant(
        "hotel", "check", "CH112", hinted("stays.deny", cause=hotel.RoomCancelled | hotel.PartnerCancelled)
    ),
    "a transfer does not fail when it is flagged": Mutant(
        "transfer", "check", "CH112", hinted("transfers.fail", cause=transfer.DebitDeclined | transfer.CreditRefused)
    ),
    "an order is not cancelled for want of a parcel": Mutant(
        "order",
        "check",
        "CH112",
        hinted(
            "orders.cancel",
            cause=order.OutOfStock | order.PaymentDeclined | order.AddressRejected | order.OrderRejected,
        ),
    ),
}
