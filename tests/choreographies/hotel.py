"""A stay: an overbooked hotel passes its guest on to a partner, and a card guarantees the room.

Whatever cannot be had, everything is undone in reverse: the card, then whichever room it was. A reservation whose
retries are spent ends as `ReservationUnknown`, which only its own undoing takes. A guarantee whose retries are spent is
parked for a person; if nobody sees to it in two days the owner's deadline cancels it, and its undoing takes back what
it may have done.
"""

from datetime import timedelta

from choreo import Context, Retry, Saga, Service
from tests.choreographies.fact import Fact, Refusal
from tests.choreographies.ledger import Ledger, ledger
from tests.choreographies.piece import COMPLETED, FAILED, Way


class StayWanted(Fact, topic="stays"): ...


class StayConfirmed(Fact, topic="stays"): ...


class StayDenied(Fact, topic="stays"): ...


class GuaranteeOverdue(Refusal, topic="stays"): ...


class RoomReserved(Fact, topic="hotels"): ...


class HotelOverbooked(Fact, topic="hotels"): ...


class ReservationUnknown(Refusal, topic="hotels"): ...


class RoomCancelled(Fact, topic="hotels"): ...


class PartnerReserved(Fact, topic="partners"): ...


class NoRoomAnywhere(Refusal, topic="partners"): ...


class PartnerCancelled(Fact, topic="partners"): ...


class CardGuaranteed(Fact, topic="cards"): ...


class CardRefused(Refusal, topic="cards"): ...


class CardReleased(Fact, topic="cards"): ...


stays, hotels, partners, cards = Service("stays"), Service("hotels"), Service("partners"), Service("cards")
stays.owns(Saga("stay", starts=StayWanted, completes=StayConfirmed, fails=StayDenied, key="key"))
for each in (hotels, partners, cards):
    each.provides(ledger)


@hotels.handles(retry=Retry(attempts=3))
def reserve(wanted: StayWanted, ctx: Context, rooms: Ledger) -> RoomReserved | HotelOverbooked:
    if "room" in wanted.no or not rooms.take(ctx.idempotency_key, wanted.key):
        return HotelOverbooked.after(wanted)
    if "reserve" in wanted.raises:
        raise ConnectionError("the hotel has noted it, and does not answer")
    return RoomReserved.after(wanted)


@hotels.otherwise(reserve)
def gave_up(wanted: StayWanted, error: Exception) -> ReservationUnknown:
    return ReservationUnknown.after(wanted, reason=str(error))


@hotels.compensates
def cancel_room(
    cause: CardRefused | CardReleased | ReservationUnknown, _room: RoomReserved | None, ctx: Context, rooms: Ledger
) -> RoomCancelled:
    rooms.give_back(ctx.undoes_key)
    return RoomCancelled.after(cause)


@partners.handles
def pass_on(overbooked: HotelOverbooked, ctx: Context, rooms: Ledger) -> PartnerReserved | NoRoomAnywhere:
    if "partner" in overbooked.no or not rooms.take(ctx.idempotency_key, overbooked.key):
        return NoRoomAnywhere.after(overbooked)
    return PartnerReserved.after(overbooked)


@partners.compensates
def cancel_partner(
    cause: CardRefused | CardReleased, _room: PartnerReserved | None, ctx: Context, rooms: Ledger
) -> PartnerCancelled:
    rooms.give_back(ctx.undoes_key)
    return PartnerCancelled.after(cause)


@cards.handles(retry=Retry(attempts=2))
def guarantee(
    wanted: StayWanted, _room: RoomReserved | PartnerReserved, ctx: Context, holds: Ledger
) -> CardGuaranteed | CardRefused:
    if "card" in wanted.no or not holds.take(ctx.idempotency_key, wanted.key):
        return CardRefused.after(wanted)
    if "guarantee" in wanted.raises:
        raise ConnectionError("the bank holds it, and does not answer")
    return CardGuaranteed.after(wanted)


@cards.compensates
def release(cause: GuaranteeOverdue, _guaranteed: CardGuaranteed | None, ctx: Context, holds: Ledger) -> CardReleased:
    holds.give_back(ctx.undoes_key)
    return CardReleased.after(cause)


@stays.deadline(CardGuaranteed | CardRefused, within=timedelta(days=2))
def lapse(room: RoomReserved | PartnerReserved) -> GuaranteeOverdue:
    return GuaranteeOverdue.after(room)


@stays.handles
def confirm(guaranteed: CardGuaranteed) -> StayConfirmed:
    return StayConfirmed.after(guaranteed)


@stays.handles
def deny(cause: NoRoomAnywhere | RoomCancelled | PartnerCancelled) -> StayDenied:
    return StayDenied.after(cause)


SERVICES = (stays, hotels, partners, cards)
STARTS = StayWanted
_PASSED_ON, _LAPSED = "HotelOverbooked PartnerReserved", "GuaranteeOverdue CardReleased"
WAYS = {
    "in the hotel": Way(COMPLETED, "RoomReserved CardGuaranteed StayConfirmed", {"hotels": 1, "cards": 1}),
    "with a partner": Way(
        COMPLETED, f"{_PASSED_ON} CardGuaranteed StayConfirmed", {"partners": 1, "cards": 1}, no=("room",)
    ),
    "no room": Way(FAILED, "HotelOverbooked NoRoomAnywhere StayDenied", no=("room", "partner")),
    "no card": Way(FAILED, "RoomReserved CardRefused RoomCancelled StayDenied", no=("card",)),
    "no card, and a partner": Way(FAILED, f"{_PASSED_ON} CardRefused PartnerCancelled StayDenied", no=("room", "card")),
    "nobody knows of the room": Way(FAILED, "ReservationUnknown RoomCancelled StayDenied", raises=("reserve",)),
    "nobody knows of the card": Way(FAILED, f"RoomReserved {_LAPSED} RoomCancelled StayDenied", raises=("guarantee",)),
    "of neither card nor partner": Way(
        FAILED, f"{_PASSED_ON} {_LAPSED} PartnerCancelled StayDenied", no=("room",), raises=("guarantee",)
    ),
}
