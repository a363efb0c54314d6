"""Money from one account to another, screened for fraud meanwhile.

Debiting and screening run side by side, and crediting waits for both: no money arrives before it is cleared. A transfer
that is flagged may overtake the debit; then the debit is cancelled, or reversed if it has run, and the payer is not
told of it. The transfer fails at once with the first failure; it counts as failed once the debit is reversed.
"""

from choreo import Context, Saga, Service
from tests.choreographies.fact import Fact, Refusal
from tests.choreographies.ledger import Ledger, ledger
from tests.choreographies.piece import COMPLETED, FAILED, Way


class TransferRequested(Fact, topic="transfers"): ...


class TransferCompleted(Fact, topic="transfers"): ...


class TransferFailed(Fact, topic="transfers"): ...


class TransferCleared(Fact, topic="screening"): ...


class TransferFlagged(Refusal, topic="screening"): ...


class Debited(Fact, topic="payers"): ...


class DebitDeclined(Refusal, topic="payers"): ...


class DebitReversed(Fact, topic="payers"): ...


class Credited(Fact, topic="payees"): ...


class CreditRefused(Refusal, topic="payees"): ...


class PayerTold(Fact, topic="notices"): ...


transfers, screening, notices = Service("transfers"), Service("screening"), Service("notices")
payers, payees = Service("payers"), Service("payees")
transfers.owns(Saga("transfer", starts=TransferRequested, completes=TransferCompleted, fails=TransferFailed, key="key"))
payers.provides(ledger)
payees.provides(ledger)


@payers.handles
def debit(transfer: TransferRequested, ctx: Context, accounts: Ledger) -> Debited | DebitDeclined:
    if "debit" in transfer.no or not accounts.take(ctx.idempotency_key, transfer.key):
        return DebitDeclined.after(transfer)
    return Debited.after(transfer)


@payers.compensates
def reverse(
    cause: TransferFlagged | CreditRefused, _debited: Debited | None, ctx: Context, accounts: Ledger
) -> DebitReversed:
    accounts.give_back(ctx.undoes_key)
    return DebitReversed.after(cause)


@screening.handles
def screen(transfer: TransferRequested) -> TransferCleared | TransferFlagged:
    return TransferFlagged.after(transfer) if "screen" in transfer.no else TransferCleared.after(transfer)


@payees.handles
def credit(debited: Debited, _cleared: TransferCleared, ctx: Context, accounts: Ledger) -> Credited | CreditRefused:
    if "credit" in debited.no:
        return CreditRefused.after(debited)
    accounts.take(ctx.idempotency_key, debited.key)
    return Credited.after(debited)


@notices.handles(unless=TransferFlagged | CreditRefused)
def tell(debited: Debited) -> PayerTold:
    return PayerTold.after(debited)


@transfers.handles
def complete(credited: Credited) -> TransferCompleted:
    return TransferCompleted.after(credited)


@transfers.handles
def fail(cause: DebitDeclined | TransferFlagged | CreditRefused) -> TransferFailed:
    return TransferFailed.after(cause)


SERVICES = (transfers, payers, payees, screening, notices)
STARTS = TransferRequested
WAYS = {
    "transferred": Way(
        COMPLETED, "Debited TransferCleared PayerTold Credited TransferCompleted", {"payers": 1, "payees": 1}
    ),
    "no money": Way(FAILED, "DebitDeclined TransferCleared TransferFailed", no=("debit",)),
    "flagged": Way(FAILED, "Debited TransferFlagged PayerTold DebitReversed TransferFailed", no=("screen",)),
    "flagged, and no money": Way(FAILED, "DebitDeclined TransferFlagged TransferFailed", no=("debit", "screen")),
    "no such payee": Way(
        FAILED, "Debited TransferCleared PayerTold CreditRefused DebitReversed TransferFailed", no=("credit",)
    ),
}
