"""A loan: the applicant is rated and the house is pledged side by side, and the owner decides on both.

Nobody knows what became of a pledge whose retries are spent. So `gave_up` says so with a failure of its own, which only
the pledge's own undoing takes: freeing comes first, whether there was a pledge or not, and the denial after it.
"""

from choreo import Context, Retry, Saga, Service
from tests.choreographies.fact import Fact, Refusal
from tests.choreographies.ledger import Ledger, ledger
from tests.choreographies.piece import COMPLETED, FAILED, Way


class LoanRequested(Fact, topic="loans"): ...


class LoanRefused(Refusal, topic="loans"): ...


class LoanGranted(Fact, topic="loans"): ...


class LoanDenied(Fact, topic="loans"): ...


class CreditPassed(Fact, topic="ratings"): ...


class CreditFailed(Refusal, topic="ratings"): ...


class HousePledged(Fact, topic="pledges"): ...


class PledgeRejected(Refusal, topic="pledges"): ...


class PledgeUnknown(Refusal, topic="pledges"): ...


class HouseFreed(Fact, topic="pledges"): ...


loans, bureau, registry = Service("loans"), Service("bureau"), Service("registry")
loans.owns(Saga("loan", starts=LoanRequested, completes=LoanGranted, fails=LoanDenied, key="key"))
registry.provides(ledger)


@bureau.handles
def rate(loan: LoanRequested) -> CreditPassed | CreditFailed:
    return CreditFailed.after(loan) if "rate" in loan.no else CreditPassed.after(loan)


@registry.handles(retry=Retry(attempts=3))
def pledge(loan: LoanRequested, ctx: Context, houses: Ledger) -> HousePledged | PledgeRejected:
    if "pledge" in loan.no or not houses.take(ctx.idempotency_key, loan.key):
        return PledgeRejected.after(loan)
    if "pledge" in loan.raises:
        raise ConnectionError("the registry has taken it, and does not answer")
    return HousePledged.after(loan)


@registry.otherwise(pledge)
def gave_up(loan: LoanRequested, error: Exception) -> PledgeUnknown:
    return PledgeUnknown.after(loan, reason=str(error))


@registry.compensates
def free(
    cause: CreditFailed | LoanRefused | PledgeUnknown, _pledged: HousePledged | None, ctx: Context, houses: Ledger
) -> HouseFreed:
    houses.give_back(ctx.undoes_key)
    return HouseFreed.after(cause)


@loans.handles
def decide(loan: LoanRequested, _rated: CreditPassed, _pledged: HousePledged) -> LoanGranted | LoanRefused:
    return LoanRefused.after(loan) if "loan" in loan.no else LoanGranted.after(loan)


@loans.handles
def deny(cause: PledgeRejected | HouseFreed) -> LoanDenied:
    return LoanDenied.after(cause)


SERVICES = (loans, bureau, registry)
STARTS = LoanRequested
WAYS = {
    "granted": Way(COMPLETED, "CreditPassed HousePledged LoanGranted", {"registry": 1}),
    "refused": Way(FAILED, "CreditPassed HousePledged LoanRefused HouseFreed LoanDenied", no=("loan",)),
    "rated badly": Way(FAILED, "CreditFailed HousePledged HouseFreed LoanDenied", no=("rate",)),
    "not to be pledged": Way(FAILED, "CreditPassed PledgeRejected LoanDenied", no=("pledge",)),
    "neither nor": Way(FAILED, "CreditFailed PledgeRejected LoanDenied", no=("rate", "pledge")),
    "nobody knows": Way(FAILED, "CreditPassed PledgeUnknown HouseFreed LoanDenied", raises=("pledge",)),
    "rated badly, and nobody knows": Way(
        FAILED, "CreditFailed HouseFreed LoanDenied", no=("rate",), raises=("pledge",)
    ),
}
