"""A meal: a restaurant accepts, a rider brings it, and neither is a service, so both answer from outside.

What they say are events. The owner alone listens to them and turns them into what goes on, into the end or into a
failure; and it owns the deadlines, whose silence is one answer more. It joins the first answer that comes, so that a
meal is not cooked, or eaten, once it is given up.
"""

from datetime import timedelta

from choreo import Context, Event, Saga, Service
from tests.choreographies.fact import Fact, Refusal
from tests.choreographies.ledger import Ledger, ledger
from tests.choreographies.piece import COMPLETED, FAILED, Way


class MealOrdered(Fact, topic="meals"): ...


class KitchenSilent(Fact, topic="meals"): ...


class CookingBegun(Fact, topic="meals"): ...


class MealRefused(Refusal, topic="meals"): ...


class MealSpoilt(Refusal, topic="meals"): ...


class RiderSilent(Fact, topic="meals"): ...


class MealEaten(Fact, topic="meals"): ...


class MealCancelled(Fact, topic="meals"): ...


class KitchenAccepted(Event, topic="kitchens"): ...


class KitchenDeclined(Event, topic="kitchens"): ...


class RiderArrived(Event, topic="roads"): ...


class RiderFell(Event, topic="roads"): ...


class MoneyHeld(Fact, topic="money"): ...


class MoneyRefused(Refusal, topic="money"): ...


class MoneyReleased(Fact, topic="money"): ...


class RiderAssigned(Fact, topic="riders"): ...


class NoRider(Refusal, topic="riders"): ...


class RiderDismissed(Fact, topic="riders"): ...


meals, money, riders = Service("meals"), Service("money"), Service("riders")
meals.owns(Saga("meal", starts=MealOrdered, completes=MealEaten, fails=MealCancelled, key="key"))
meals.publishes(KitchenAccepted, KitchenDeclined, by="the restaurant")
meals.publishes(RiderArrived, RiderFell, by="the rider")
for each in (money, riders):
    each.provides(ledger)


@money.handles
def hold(meal: MealOrdered, ctx: Context, cards: Ledger) -> MoneyHeld | MoneyRefused:
    if "money" in meal.no or not cards.take(ctx.idempotency_key, meal.key):
        return MoneyRefused.after(meal)
    return MoneyHeld.after(meal)


@money.compensates
def release(
    cause: MealRefused | NoRider | RiderDismissed, _held: MoneyHeld | None, ctx: Context, cards: Ledger
) -> MoneyReleased:
    cards.give_back(ctx.undoes_key)
    return MoneyReleased.after(cause)


@meals.deadline(KitchenAccepted | KitchenDeclined, within=timedelta(minutes=10))
def give_up(held: MoneyHeld) -> KitchenSilent:
    return KitchenSilent.after(held)


@meals.handles
def hear_kitchen(
    held: MoneyHeld, answer: KitchenAccepted | KitchenDeclined | KitchenSilent
) -> CookingBegun | MealRefused:
    return CookingBegun.after(held) if isinstance(answer, KitchenAccepted) else MealRefused.after(held)


@riders.handles
def assign(cooking: CookingBegun, ctx: Context, roster: Ledger) -> RiderAssigned | NoRider:
    if "rider" in cooking.no or not roster.take(ctx.idempotency_key, cooking.key):
        return NoRider.after(cooking)
    return RiderAssigned.after(cooking)


@riders.compensates
def dismiss(cause: MealSpoilt, _assigned: RiderAssigned | None, ctx: Context, roster: Ledger) -> RiderDismissed:
    roster.give_back(ctx.undoes_key)
    return RiderDismissed.after(cause)


@meals.deadline(RiderArrived | RiderFell, within=timedelta(hours=1))
def overdue(assigned: RiderAssigned) -> RiderSilent:
    return RiderSilent.after(assigned)


@meals.handles
def hear_rider(assigned: RiderAssigned, answer: RiderArrived | RiderFell | RiderSilent) -> MealEaten | MealSpoilt:
    return MealEaten.after(assigned) if isinstance(answer, RiderArrived) else MealSpoilt.after(assigned)


@meals.handles
def cancel(cause: MoneyRefused | MoneyReleased) -> MealCancelled:
    return MealCancelled.after(cause)


SERVICES = (meals, money, riders)
STARTS = MealOrdered
_YES, _COOKED, _UNDONE = KitchenAccepted(), "MoneyHeld CookingBegun", "MoneyReleased MealCancelled"
_BROUGHT, _DISMISSED = f"{_COOKED} RiderAssigned", f"RiderDismissed {_UNDONE}"
_HELD = {"money": 1, "riders": 1}
WAYS = {
    "eaten": Way(
        COMPLETED, f"KitchenAccepted RiderArrived {_BROUGHT} MealEaten", _HELD, outside=(_YES, RiderArrived())
    ),
    "no money": Way(FAILED, "MoneyRefused MealCancelled", no=("money",)),
    "declined": Way(FAILED, f"KitchenDeclined MoneyHeld MealRefused {_UNDONE}", outside=(KitchenDeclined(),)),
    "a silent kitchen": Way(FAILED, f"MoneyHeld KitchenSilent MealRefused {_UNDONE}"),
    "no rider": Way(FAILED, f"KitchenAccepted {_COOKED} NoRider {_UNDONE}", no=("rider",), outside=(_YES,)),
    "spoilt": Way(FAILED, f"KitchenAccepted RiderFell {_BROUGHT} MealSpoilt {_DISMISSED}", outside=(_YES, RiderFell())),
    "a silent rider": Way(FAILED, f"KitchenAccepted {_BROUGHT} RiderSilent MealSpoilt {_DISMISSED}", outside=(_YES,)),
}
