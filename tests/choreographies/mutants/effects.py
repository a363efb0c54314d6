"""What the graph does not show: mutants whose types are right and whose bodies are not."""

from datetime import timedelta

from choreo import Context, Later
from services import events as order
from services.inventory import Stock
from services.inventory.service import LINE_QUANTITY_MAX
from services.marketplace import events as market
from services.marketplace.sellers import Shelves
from services.payment import Till
from services.payment.service import CARD_LIMIT
from tests.choreographies import checkout, hotel, loan, purchase, transfer, translation, trial, trip
from tests.choreographies.altering import also, both, hinted, instead, without
from tests.choreographies.fact import Fact
from tests.choreographies.ledger import Ledger
from tests.choreographies.mutants.mutant import Mutant


class PledgeMissing(Fact, topic="pledges"): ...


def book_without_a_key(
    asked: trip.TripRequested, ctx: Context, seats: Ledger
) -> trip.FlightBooked | trip.FlightRefused:
    if "flight" in asked.no or not seats.take(f"{ctx.idempotency_key}/{seats.calls}", asked.key):
        return trip.FlightRefused.after(asked)
    return trip.FlightBooked.after(asked)


def charge_without_a_key(
    packed: list[checkout.ParcelPacked], ctx: Context, cards: Ledger
) -> checkout.PaymentCharged | checkout.PaymentDeclined:
    if "charge" in packed[0].no:
        return checkout.PaymentDeclined.after(packed[0])
    cards.take(f"{ctx.idempotency_key}/{cards.calls}", packed[0].key, len(packed))
    return checkout.PaymentCharged.after(packed[0])


def cancel_under_its_own_key(
    cause: trip.CarRefused | trip.CarCancelled, _booked: trip.HotelBooked | None, ctx: Context, rooms: Ledger
) -> trip.HotelCancelled:
    rooms.give_back(ctx.idempotency_key)
    return trip.HotelCancelled.after(cause)


def pay_back(
    cause: transfer.TransferFlagged | transfer.CreditRefused,
    debited: transfer.Debited | None,
    ctx: Context,
    accounts: Ledger,
) -> transfer.DebitReversed:
    if debited is not None:
        accounts.take(f"{ctx.undoes_key}/{accounts.calls}", cause.key, -1)
    return transfer.DebitReversed.after(cause)


def reverse_what_was_cleared(
    cause: transfer.TransferFlagged | transfer.CreditRefused,
    _debited: transfer.Debited | None,
    cleared: transfer.TransferCleared,
    ctx: Context,
    accounts: Ledger,
) -> transfer.DebitReversed:
    accounts.give_back(ctx.undoes_key)
    return transfer.DebitReversed.after(cleared)


def take_for_full(wanted: hotel.StayWanted, _error: Exception) -> hotel.HotelOverbooked:
    return hotel.HotelOverbooked.after(wanted)


def miss_the_pledge(asked: loan.LoanRequested, _error: Exception) -> PledgeMissing:
    return PledgeMissing.after(asked)


def refuse(missing: PledgeMissing) -> loan.LoanRefused:
    return loan.LoanRefused.after(missing)


def free_what_is_known(
    cause: loan.CreditFailed | loan.LoanRefused | loan.PledgeUnknown,
    pledged: loan.HousePledged | None,
    ctx: Context,
    houses: Ledger,
) -> loan.HouseFreed:
    if pledged is not None:
        houses.give_back(ctx.undoes_key)
    return loan.HouseFreed.after(cause)


def release_what_is_known(
    cause: hotel.GuaranteeOverdue, guaranteed: hotel.CardGuaranteed | None, ctx: Context, holds: Ledger
) -> hotel.CardReleased:
    if guaranteed is not None:
        holds.give_back(ctx.undoes_key)
    return hotel.CardReleased.after(cause)


def split_what_is_there(started: checkout.CheckoutStarted) -> list[checkout.ParcelOrdered]:
    there = [each for each in started.parcels if each not in started.no]
    return [checkout.ParcelOrdered.after(started, parcel=each) for each in there]


def say_what_is_not_said(text: translation.LanguageFound) -> translation.TextTranslated:
    if "translate" in text.raises:
        return translation.LanguageUnknown.after(text)
    return translation.TextTranslated.after(text)


def remind_until_a_letter_is_sent(reserved: purchase.BudgetReserved) -> Later[purchase.ManagerReminded]:
    reminder = purchase.ManagerReminded.after(reserved)
    return Later(reminder, after=timedelta(days=1), unless=purchase.LetterSent)


def charge_what_was_chosen(
    opened: trial.AccessOpened, _chosen: trial.PlanChosen, ctx: Context, cards: Ledger
) -> trial.PlanCharged | trial.ChargeDeclined:
    if "charge" in opened.no:
        return trial.ChargeDeclined.after(opened)
    cards.take(ctx.idempotency_key, opened.key)
    return trial.PlanCharged.after(opened)


def order_a_plan(opened: trial.AccessOpened, _chosen: trial.PlanChosen) -> trial.PlanOrdered:
    return trial.PlanOrdered.after(opened)


def stop(opened: trial.AccessOpened, _first: trial.TrialStopped | trial.TrialTimedOut) -> trial.TrialEnded:
    return trial.TrialEnded.after(opened)


def end_in_silence(opened: trial.AccessOpened) -> trial.TrialEnded:
    return trial.TrialEnded.after(opened)


def capture_under_a_new_key(
    placed: order.OrderPlaced, _stock: order.InventoryReserved, ctx: Context, till: Till
) -> order.PaymentCaptured | order.PaymentDeclined:
    if placed.total > CARD_LIMIT:
        return order.PaymentDeclined(order_id=placed.order_id, reason="above the card's limit")
    charged, _ = till.totals()
    till.charge(f"{ctx.idempotency_key}/{charged}", placed.order_id, placed.total)
    return order.PaymentCaptured(order_id=placed.order_id, amount=placed.total, receipt=ctx.idempotency_key)


def refund_what_is_known(
    cause: order.AddressRejected | order.ShipmentFailed | order.ShipmentCancelled,
    captured: order.PaymentCaptured | None,
    ctx: Context,
    till: Till,
) -> order.PaymentRefunded:
    amount = till.void(ctx.undoes_key, cause.order_id) if captured is not None else "0.00"
    return order.PaymentRefunded.model_validate({"order_id": cause.order_id, "amount": amount})


def reserve_under_each_attempt(
    placed: order.OrderPlaced, ctx: Context, stock: Stock
) -> order.InventoryReserved | order.OutOfStock:
    if any(line.quantity > LINE_QUANTITY_MAX for line in placed.lines):
        return order.OutOfStock(order_id=placed.order_id, reason="more than is kept")
    quantity = sum(line.quantity for line in placed.lines)
    stock.reserve(f"{ctx.idempotency_key}/{ctx.attempt}", placed.order_id, quantity)
    return order.InventoryReserved(order_id=placed.order_id, quantity=quantity)


def put_back_under_its_own_key(
    returned: market.PackageReturned, _accepted: market.PackageAccepted | None, ctx: Context, shelves: Shelves
) -> market.PackageCancelled:
    checkout_id, seller = returned.checkout_id, returned.seller
    back = shelves.put_back(ctx.idempotency_key, checkout_id, seller, returned.quantity)
    return market.PackageCancelled(checkout_id=checkout_id, seller=seller, quantity=back, reason=returned.reason)


EFFECTS = {
    # Effects that are done once more after a crash, or not undone.
    "a seat is taken without a key": Mutant(
        "trip", "simulation", "I6", instead("flights.book_flight", book_without_a_key)
    ),
    "a card is charged without a key": Mutant(
        "checkout", "simulation", "I6", instead("payments.charge", charge_without_a_key)
    ),
    "a debit is paid back without a key": Mutant("transfer", "simulation", "I6", instead("payers.reverse", pay_back)),
    "a room is given back under another key": Mutant(
        "trip", "simulation", "I6", instead("hotels.cancel_hotel", cancel_under_its_own_key)
    ),
    "a house is freed only where a pledge is known": Mutant(
        "loan", "simulation", "I6", instead("registry.free", free_what_is_known)
    ),
    "a hotel that does not answer is taken for full": Mutant(
        "hotel",
        "verify",
        "I6",
        both(
            instead("hotels.gave_up", take_for_full),
            hinted("hotels.cancel_room", cause=hotel.CardRefused | hotel.CardReleased),
        ),
    ),
    "a pledge that nobody knows of is said to be missing": Mutant(
        "loan",
        "verify",
        "I6",
        both(
            instead("registry.gave_up", miss_the_pledge),
            also("loans", lambda loans: loans.handles(refuse)),
            hinted("registry.free", cause=loan.CreditFailed | loan.LoanRefused),
            hinted("loans.deny", cause=loan.PledgeRejected | loan.HouseFreed | loan.CreditFailed | loan.LoanRefused),
        ),
    ),
    "a card is released only where a guarantee is known": Mutant(
        "hotel", "simulation", "I6", instead("cards.release", release_what_is_known)
    ),
    "a payment is captured under a new key each time": Mutant(
        "order", "simulation", "I6", instead("payments.capture", capture_under_a_new_key)
    ),
    "a void is sent only where a payment is known": Mutant(
        "order", "simulation", "I6", instead("payments.refund", refund_what_is_known)
    ),
    "stock is reserved under a key for each attempt": Mutant(
        "order", "simulation", "I6", instead("inventory.reserve", reserve_under_each_attempt)
    ),
    "nobody cancels the parcel": Mutant(
        "order",
        "simulation",
        "I6",
        both(
            without("shipping.cancel_shipment"),
            hinted("payments.refund", cause=order.AddressRejected | order.ShipmentFailed | order.OrderRejected),
        ),
    ),
    "nobody releases the stock": Mutant("order", "simulation", "I6", without("inventory.release")),
    "a package is put back under another key": Mutant(
        "marketplace", "simulation", "I6", instead("sellers.cancel", put_back_under_its_own_key)
    ),
    # What was charged has no undoing, and more than one thing decides about it.
    "a plan is charged for a trial that has ended": Mutant(
        "trial",
        "simulation",
        "I6",
        both(instead("billing.charge", charge_what_was_chosen), instead("trials.convert", stop)),
    ),
    "a choice and its end are heard alone": Mutant(
        "trial",
        "simulation",
        "I6",
        both(instead("trials.convert", order_a_plan), also("trials", lambda trials: trials.handles(stop))),
    ),
    "silence ends the trial by itself": Mutant(
        "trial",
        "simulation",
        "I6",
        both(
            instead("trials.time_out", end_in_silence),
            hinted("trials.convert", first=trial.PlanChosen | trial.TrialStopped),
        ),
    ),
    # Steps that are parked for what they ask for or return.
    "a reversal asks for what its debit was not given": Mutant(
        "transfer", "simulation", "I4", instead("payers.reverse", reverse_what_was_cleared)
    ),
    "no parcel is ordered where none is there": Mutant(
        "checkout", "simulation", "I4", instead("checkouts.split", split_what_is_there)
    ),
    "a translator says what he does not declare": Mutant(
        "translation", "simulation", "I4", instead("translator.translate", say_what_is_not_said)
    ),
    "a reminder is called off by what nobody here reads": Mutant(
        "purchase", "simulation", "I4", instead("requests.remind", remind_until_a_letter_is_sent)
    ),
}
