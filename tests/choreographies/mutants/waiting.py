"""What waits in vain, for ever, or not at all: mutants whose joins, branches and deadlines are wrong."""

from collections.abc import Callable
from datetime import timedelta

from choreo import Context, Later, Service
from choreo.manifest import Manifest
from services import events as order
from services.approval import events as approval
from services.marketplace import events as market
from tests.choreographies import checkout, claim, delivery, hotel, loan, purchase, transfer, translation, trial, trip
from tests.choreographies.altering import (
    Services,
    also,
    both,
    called,
    exchanged,
    hinted,
    instead,
    manifests,
    without,
)
from tests.choreographies.fact import Fact
from tests.choreographies.ledger import Ledger
from tests.choreographies.mutants.mutant import Mutant

DAY = timedelta(days=1)


class CarBoooked(Fact, topic="cars"): ...


class DocumentArchived(Fact, topic="documents"): ...


class FlightBooked(Fact, topic="flights"):
    seat: str


class ClaimLate(Fact, topic="claims"): ...


def split_nothing(started: checkout.CheckoutStarted) -> checkout.ParcelOrdered:
    return checkout.ParcelOrdered.after(started, parcel=started.parcels[0])


def ask_one_seller(placed: market.CheckoutPlaced, _paid: market.PaymentAuthorised) -> market.SellerOrderPlaced:
    return market.SellerOrderPlaced(checkout_id=placed.checkout_id, seller="", lines=placed.lines)


def inspect_the_first(reported: claim.VehicleReported) -> claim.PartNeeded:
    return claim.PartNeeded.after(reported, part=reported.vehicle.parts[0])


def confirm_each_card(guaranteed: list[hotel.CardGuaranteed]) -> hotel.StayConfirmed:
    return hotel.StayConfirmed.after(guaranteed[0])


def guarantee_two_rooms(
    room: hotel.RoomReserved, _partner: hotel.PartnerReserved, ctx: Context, holds: Ledger
) -> hotel.CardGuaranteed | hotel.CardRefused:
    holds.take(ctx.idempotency_key, room.key)
    return hotel.CardGuaranteed.after(room)


def decide_when_freed(
    asked: loan.LoanRequested, _rated: loan.CreditPassed, _freed: loan.HouseFreed
) -> loan.LoanGranted | loan.LoanRefused:
    return loan.LoanGranted.after(asked)


def split_gifts(checkouts: Service) -> None:
    @checkouts.handles
    def split_gifts(started: checkout.CheckoutStarted) -> list[checkout.ParcelOrdered]:
        return [checkout.ParcelOrdered.after(started, parcel=f"{each}, wrapped") for each in started.parcels]


def report_others(claims: Service) -> None:
    @claims.handles
    def report_others(filed: claim.ClaimFiled) -> list[claim.VehicleReported]:
        return [claim.VehicleReported.after(filed, vehicle=each) for each in filed.vehicles]


def archive(desk: Service) -> None:
    @desk.handles
    def archive(archived: DocumentArchived) -> None: ...


def find_the_hotel_again(hotels: Service) -> None:
    @hotels.handles(name="book_hotel")
    def find(flight: trip.FlightBooked) -> trip.HotelBooked:
        return trip.HotelBooked.after(flight)


def translate_again(linguist: Service) -> None:
    @linguist.handles
    def doubt(translated: translation.TextTranslated) -> translation.LanguageFound:
        return translation.LanguageFound.after(translated)


def watch_vehicles(claims: Service) -> None:
    @claims.deadline(claim.VehicleReady | claim.VehicleGivenUp, within=DAY)
    def late(filed: claim.ClaimFiled) -> ClaimLate:
        return ClaimLate.after(filed)


def of_hotels(**fields: object) -> Callable[[Services], list[Manifest]]:
    """Have the hotels announce something else about the event that they wait for."""

    def alter(manifest: Manifest) -> Manifest:
        known = manifest.events.get("flights.FlightBooked")
        if manifest.service != "hotels" or known is None:
            return manifest
        return manifest.model_copy(
            update={"events": manifest.events | {"flights.FlightBooked": known.model_copy(update=fields)}}
        )

    def change(services: Services) -> list[Manifest]:
        return manifests(services, alter)

    return change


def cancel_tomorrow(cause: trip.FlightRefused | trip.FlightCancelled) -> Later[trip.TripCancelled]:
    return Later(trip.TripCancelled.after(cause), after=DAY)


def pledge_by_tomorrow(
    asked: loan.LoanRequested, ctx: Context, houses: Ledger
) -> Later[loan.HousePledged] | loan.PledgeRejected:
    if "pledge" in asked.no or not houses.take(ctx.idempotency_key, asked.key):
        return loan.PledgeRejected.after(asked)
    return Later(loan.HousePledged.after(asked), after=DAY)


def release_tomorrow(
    cause: delivery.MealRefused | delivery.NoRider | delivery.RiderDismissed,
    _held: delivery.MoneyHeld | None,
    ctx: Context,
    cards: Ledger,
) -> Later[delivery.MoneyReleased]:
    cards.give_back(ctx.undoes_key)
    return Later(delivery.MoneyReleased.after(cause), after=DAY)


def deny_tomorrow(cause: approval.RequestRejected | approval.RequestExpired) -> Later[approval.RequestDenied]:
    return Later(approval.RequestDenied(request_id=cause.request_id, reason=cause.reason), after=DAY)


def abandon_tomorrow(
    undone: list[market.PackageCancelled | market.PackageRefused],
) -> Later[market.CheckoutAbandoned]:
    abandoned = market.CheckoutAbandoned(checkout_id=undone[0].checkout_id, reason=undone[0].reason)
    return Later(abandoned, after=DAY)


def convert_tomorrow(
    opened: trial.AccessOpened, first: trial.PlanChosen | trial.TrialStopped | trial.TrialTimedOut
) -> Later[trial.PlanOrdered] | trial.TrialEnded:
    if isinstance(first, trial.PlanChosen):
        return Later(trial.PlanOrdered.after(opened), after=DAY, unless=trial.TrialStopped)
    return trial.TrialEnded.after(opened)


WAITING = {
    # An event that nobody emits, or that is not the same everywhere.
    "a car is boooked": Mutant("trip", "check", "CH012", exchanged(trip.CarBooked, CarBoooked, only="cars")),
    "a document is archived that nobody sends": Mutant("translation", "check", "CH070", also("desk", archive)),
    "silence is not noticed": Mutant("trial", "check", "CH070", without("trials.time_out")),
    "two have the name of one event": Mutant(
        "trip", "check", "CH061", exchanged(trip.FlightBooked, FlightBooked, only="hotels")
    ),
    "two handlers have one name": Mutant("trip", "check", "CH021", also("hotels", find_the_hotel_again)),
    "a flight has another schema elsewhere": Mutant("trip", "check", "CH119", of_hotels(fingerprint="00000000")),
    "a flight has another topic elsewhere": Mutant("trip", "check", "CH119", of_hotels(topic="planes")),
    # Branches: none are opened, or one of them brings nothing.
    "a checkout opens no branches": Mutant("checkout", "check", "CH062", instead("checkouts.split", split_nothing)),
    "only one seller is asked": Mutant("marketplace", "check", "CH062", instead("checkout.split", ask_one_seller)),
    "a card is guaranteed in branches that nobody opens": Mutant(
        "hotel", "check", "CH062", instead("stays.confirm", confirm_each_card)
    ),
    "a vehicle's parts are not in branches": Mutant(
        "claim", "check", "CH114", instead("garages.inspect", inspect_the_first)
    ),
    "gifts are split beside the parcels": Mutant("checkout", "check", "CH105", also("checkouts", split_gifts)),
    "other vehicles are reported beside them": Mutant("claim", "check", "CH105", also("claims", report_others)),
    "a missing parcel is not gathered": Mutant(
        "checkout", "check", "CH112", hinted("checkouts.fail", undone=list[checkout.ParcelUnpacked])
    ),
    "an unpacked parcel is not gathered": Mutant(
        "checkout", "check", "CH112", hinted("checkouts.fail", undone=list[checkout.ParcelMissing])
    ),
    "an unavailable part is not gathered": Mutant(
        "claim", "check", "CH112", hinted("garages.give_up", undone=list[claim.PartReturned])
    ),
    "a refused package is not gathered": Mutant(
        "marketplace", "check", "CH100", hinted("checkout.abandon", undone=list[market.PackageCancelled])
    ),
    "a deadline looks out for what happens in branches": Mutant(
        "claim", "check", "CH108", also("claims", watch_vehicles)
    ),
    # A join that never has all it waits for, a step that may say nothing or is skipped.
    "a card waits for both rooms": Mutant("hotel", "check", "CH114", instead("cards.guarantee", guarantee_two_rooms)),
    "a loan waits until its pledge is freed": Mutant(
        "loan", "check", "CH073", instead("loans.decide", decide_when_freed)
    ),
    "a translator may say nothing": Mutant(
        "translation", "check", "CH115", hinted("translator.translate", returns=translation.TextTranslated | None)
    ),
    "a flight may be neither booked nor refused": Mutant(
        "trip", "check", "CH115", hinted("flights.book_flight", returns=trip.FlightBooked | trip.FlightRefused | None)
    ),
    "a charge is skipped when the customer changes his mind": Mutant(
        "trial", "check", "CH109", called("billing.charge", unless=trial.TrialStopped)
    ),
    "a transfer is complete unless it was requested": Mutant(
        "transfer", "check", "CH109", called("transfers.complete", unless=transfer.TransferRequested)
    ),
    "a trip is not cancelled once it is rejected": Mutant(
        "trip", "check", "CH109", called("trips.cancel", unless=trip.TripRejected)
    ),
    "a loan is not decided on once it is rated": Mutant(
        "loan", "check", "CH109", called("loans.decide", unless=loan.CreditPassed)
    ),
    "a purchase is not decided on once an answer is missing": Mutant(
        "purchase", "check", "CH109", called("requests.decide", unless=purchase.AnswerMissing)
    ),
    "a subscription does not begin where there is access": Mutant(
        "trial", "check", "CH109", called("trials.begin", unless=trial.AccessOpened)
    ),
    "an order is not confirmed if its address is the first to be": Mutant(
        "order", "check", "CH109", called("orders.confirm", unless=order.AddressConfirmed)
    ),
    # Deadlines.
    "nobody keeps the manager's time": Mutant(
        "purchase",
        "check",
        "CH115",
        both(
            without("requests.expire"),
            hinted("requests.decide", answer=purchase.ManagerApproved | purchase.ManagerDeclined),
        ),
    ),
    "nobody keeps the restaurant's time": Mutant("delivery", "check", "CH070", without("meals.give_up")),
    "nobody keeps the rider's time": Mutant(
        "delivery",
        "check",
        "CH115",
        both(without("meals.overdue"), hinted("meals.hear_rider", answer=delivery.RiderArrived | delivery.RiderFell)),
    ),
    "nobody keeps the director's time": Mutant(
        "approval",
        "check",
        "CH115",
        both(without("approvals.expire"), hinted("approvals.deny", cause=approval.RequestRejected)),
    ),
    "silence decides nothing": Mutant(
        "trial", "check", "CH115", hinted("trials.convert", first=trial.PlanChosen | trial.TrialStopped)
    ),
    "an answer is missing unless it is": Mutant(
        "purchase", "check", "CH116", called("requests.expire", awaits=purchase.AnswerMissing)
    ),
    "a request is escalated unless it is": Mutant(
        "approval", "check", "CH116", called("approvals.escalate", awaits=approval.Escalated)
    ),
    "a reminder calls off the deadline": Mutant(
        "purchase",
        "check",
        "CH115",
        called(
            "requests.expire",
            awaits=purchase.ManagerApproved | purchase.ManagerDeclined | purchase.ManagerReminded,
        ),
    ),
    "a rider calls off the kitchen's deadline": Mutant(
        "delivery",
        "check",
        "CH115",
        called("meals.give_up", awaits=delivery.KitchenAccepted | delivery.KitchenDeclined | delivery.RiderArrived),
    ),
    "a manager does not count once a director is asked": Mutant(
        "approval", "check", "CH115", called("approvals.hear_manager", unless=approval.Escalated)
    ),
    "a closing that is overdue ends with the failure": Mutant(
        "trial", "check", "CH116", called("trials.chase", after_abort=False)
    ),
    "a kitchen has no time at all": Mutant("delivery", "check", "CH039", called("meals.give_up", within=timedelta(0))),
    # What is to come later ends with the first failure, or is called off, and then nothing comes at all.
    "a trip is cancelled tomorrow": Mutant("trip", "check", "CH112", instead("trips.cancel", cancel_tomorrow)),
    "a pledge takes a day": Mutant("loan", "check", "CH112", instead("registry.pledge", pledge_by_tomorrow)),
    "money is released tomorrow": Mutant("delivery", "check", "CH112", instead("money.release", release_tomorrow)),
    "a request is denied tomorrow": Mutant("approval", "check", "CH112", instead("approvals.deny", deny_tomorrow)),
    "a checkout is abandoned tomorrow": Mutant(
        "marketplace", "check", "CH100", instead("checkout.abandon", abandon_tomorrow)
    ),
    "a plan that is ordered tomorrow is called off today": Mutant(
        "trial", "simulation", "I4", instead("trials.convert", convert_tomorrow)
    ),
    # Circles.
    "a translation is doubted for ever": Mutant("translation", "check", "CH113", also("linguist", translate_again)),
}
