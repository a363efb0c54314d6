"""A trial subscription: the customer chooses a plan or stops, and two weeks of silence stop it, too.

The silence is an event like the choices, and `convert` joins the first of the three: that decides, once, so no plan is
charged for a trial that has ended. Once it has ended, access must be closed within a day or somebody is called; that
deadline follows a failure, so it says `after_abort=True`.
"""

from datetime import timedelta

from choreo import Context, Event, Saga, Service
from tests.choreographies.fact import Fact, Refusal
from tests.choreographies.ledger import Ledger, ledger
from tests.choreographies.piece import COMPLETED, FAILED, Way

TRIAL = timedelta(days=14)
CLOSED_WITHIN = timedelta(days=1)


class TrialStarted(Fact, topic="trials"): ...


class TrialTimedOut(Fact, topic="trials"): ...


class PlanOrdered(Fact, topic="trials"): ...


class TrialEnded(Refusal, topic="trials"): ...


class ClosingOverdue(Fact, topic="trials"): ...


class SubscriptionBegun(Fact, topic="trials"): ...


class SubscriptionEnded(Fact, topic="trials"): ...


class PlanChosen(Event, topic="choices"): ...


class TrialStopped(Event, topic="choices"): ...


class AccessOpened(Fact, topic="access"): ...


class AccessRefused(Refusal, topic="access"): ...


class AccessClosed(Fact, topic="access"): ...


class PlanCharged(Fact, topic="billing"): ...


class ChargeDeclined(Refusal, topic="billing"): ...


class SupportCalled(Fact, topic="support"): ...


trials, access, billing, support = Service("trials"), Service("access"), Service("billing"), Service("support")
trials.owns(Saga("trial", starts=TrialStarted, completes=SubscriptionBegun, fails=SubscriptionEnded, key="key"))
trials.publishes(PlanChosen, TrialStopped, by="the customer")
access.provides(ledger)
billing.provides(ledger)


@access.handles
def open_access(trial: TrialStarted, ctx: Context, doors: Ledger) -> AccessOpened | AccessRefused:
    if "access" in trial.no or not doors.take(ctx.idempotency_key, trial.key):
        return AccessRefused.after(trial)
    return AccessOpened.after(trial)


@access.compensates
def close_access(
    cause: TrialEnded | ChargeDeclined, _opened: AccessOpened | None, ctx: Context, doors: Ledger
) -> AccessClosed:
    doors.give_back(ctx.undoes_key)
    return AccessClosed.after(cause)


@trials.deadline(PlanChosen | TrialStopped, within=TRIAL)
def time_out(opened: AccessOpened) -> TrialTimedOut:
    return TrialTimedOut.after(opened)


@trials.handles
def convert(opened: AccessOpened, first: PlanChosen | TrialStopped | TrialTimedOut) -> PlanOrdered | TrialEnded:
    return PlanOrdered.after(opened) if isinstance(first, PlanChosen) else TrialEnded.after(opened)


@billing.handles
def charge(ordered: PlanOrdered, ctx: Context, cards: Ledger) -> PlanCharged | ChargeDeclined:
    if "charge" in ordered.no:
        return ChargeDeclined.after(ordered)
    cards.take(ctx.idempotency_key, ordered.key)
    return PlanCharged.after(ordered)


@trials.deadline(AccessClosed, within=CLOSED_WITHIN, after_abort=True)
def chase(failed: TrialEnded | ChargeDeclined) -> ClosingOverdue:
    return ClosingOverdue.after(failed)


@support.handles
def call(overdue: ClosingOverdue) -> SupportCalled:
    return SupportCalled.after(overdue)


@trials.handles
def begin(charged: PlanCharged) -> SubscriptionBegun:
    return SubscriptionBegun.after(charged)


@trials.handles
def end(cause: AccessRefused | AccessClosed) -> SubscriptionEnded:
    return SubscriptionEnded.after(cause)


SERVICES = (trials, access, billing, support)
STARTS = TrialStarted
_CHOSEN = "PlanChosen AccessOpened PlanOrdered"
WAYS = {
    "subscribed": Way(
        COMPLETED,
        f"{_CHOSEN} PlanCharged SubscriptionBegun",
        {"access": 1, "billing": 1},
        outside=(PlanChosen(),),
    ),
    "stopped": Way(
        FAILED, "TrialStopped AccessOpened TrialEnded AccessClosed SubscriptionEnded", outside=(TrialStopped(),)
    ),
    "silence": Way(FAILED, "AccessOpened TrialTimedOut TrialEnded AccessClosed SubscriptionEnded"),
    "not paid": Way(
        FAILED,
        f"{_CHOSEN} ChargeDeclined AccessClosed SubscriptionEnded",
        no=("charge",),
        outside=(PlanChosen(),),
    ),
    "no access": Way(FAILED, "AccessRefused SubscriptionEnded", no=("access",)),
}
