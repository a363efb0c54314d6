"""A purchase that a manager approves: a reminder after a day, no answer after a week is a no.

Answers come from outside and are events, and so is what the deadline says. The owner joins the first of them, and that
decides, once: whatever comes later changes nothing, be it another answer or the deadline.
"""

from datetime import timedelta

from choreo import Context, Event, Later, Saga, Service
from tests.choreographies.fact import Fact, Refusal
from tests.choreographies.ledger import Ledger, ledger
from tests.choreographies.piece import COMPLETED, FAILED, Way

REMIND_AFTER = timedelta(days=1)
EXPIRE_AFTER = timedelta(days=7)


class PurchaseRequested(Fact, topic="purchases"): ...


class ManagerReminded(Fact, topic="purchases"): ...


class PurchaseApproved(Fact, topic="purchases"): ...


class PurchaseDeclined(Refusal, topic="purchases"): ...


class AnswerMissing(Fact, topic="purchases"): ...


class PurchaseDenied(Fact, topic="purchases"): ...


class ManagerApproved(Event, topic="answers"): ...


class ManagerDeclined(Event, topic="answers"): ...


class BudgetReserved(Fact, topic="budgets"): ...


class BudgetExceeded(Refusal, topic="budgets"): ...


class BudgetFreed(Fact, topic="budgets"): ...


class LetterSent(Fact, topic="letters"): ...


requests, budgets, mailroom = Service("requests"), Service("budgets"), Service("mailroom")
requests.owns(Saga("purchase", starts=PurchaseRequested, completes=PurchaseApproved, fails=PurchaseDenied, key="key"))
requests.publishes(ManagerApproved, ManagerDeclined, by="a manager")
budgets.provides(ledger)


@budgets.handles
def reserve(asked: PurchaseRequested, ctx: Context, budget: Ledger) -> BudgetReserved | BudgetExceeded:
    if "budget" in asked.no or not budget.take(ctx.idempotency_key, asked.key):
        return BudgetExceeded.after(asked)
    return BudgetReserved.after(asked)


@budgets.compensates
def free(cause: PurchaseDeclined, _reserved: BudgetReserved | None, ctx: Context, budget: Ledger) -> BudgetFreed:
    budget.give_back(ctx.undoes_key)
    return BudgetFreed.after(cause)


@requests.handles
def remind(reserved: BudgetReserved) -> Later[ManagerReminded]:
    return Later(ManagerReminded.after(reserved), after=REMIND_AFTER, unless=ManagerApproved | ManagerDeclined)


@requests.handles
def decide(
    reserved: BudgetReserved, answer: ManagerApproved | ManagerDeclined | AnswerMissing
) -> PurchaseApproved | PurchaseDeclined:
    if isinstance(answer, ManagerApproved):
        return PurchaseApproved.after(reserved)
    return PurchaseDeclined.after(reserved)


@requests.deadline(ManagerApproved | ManagerDeclined, within=EXPIRE_AFTER)
def expire(reserved: BudgetReserved) -> AnswerMissing:
    return AnswerMissing.after(reserved)


@requests.handles
def deny(cause: BudgetExceeded | BudgetFreed) -> PurchaseDenied:
    return PurchaseDenied.after(cause)


@mailroom.handles(unless=ManagerApproved | ManagerDeclined)
def write(reminded: ManagerReminded) -> LetterSent:
    return LetterSent.after(reminded)


SERVICES = (requests, budgets, mailroom)
STARTS = PurchaseRequested
WAYS = {
    "approved": Way(
        COMPLETED, "ManagerApproved BudgetReserved PurchaseApproved", {"budgets": 1}, outside=(ManagerApproved(),)
    ),
    "declined": Way(
        FAILED,
        "ManagerDeclined BudgetReserved PurchaseDeclined BudgetFreed PurchaseDenied",
        outside=(ManagerDeclined(),),
    ),
    "no answer": Way(
        FAILED, "BudgetReserved ManagerReminded LetterSent AnswerMissing PurchaseDeclined BudgetFreed PurchaseDenied"
    ),
    "two answers": Way(
        COMPLETED,
        "ManagerApproved ManagerDeclined BudgetReserved PurchaseApproved",
        {"budgets": 1},
        outside=(ManagerApproved(), ManagerDeclined()),
    ),
    "no budget": Way(FAILED, "BudgetExceeded PurchaseDenied", no=("budget",)),
    "no budget for an answer": Way(
        FAILED, "ManagerApproved BudgetExceeded PurchaseDenied", no=("budget",), outside=(ManagerApproved(),)
    ),
}
