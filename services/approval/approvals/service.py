"""Handlers of approvals: what days without an answer bring, what an answer decides, and the two ends of the saga.

Every handler is a plain function of events, so the service keeps no rows and asks no clock: `Later` and `deadline` say
what is to come, and choreo remembers it. A director's answer is joined with `Escalated`, so it decides nothing before;
one that comes early waits for it. Answers that come after the end find nothing to decide: a saga ends once.
"""

from datetime import timedelta

from choreo import Later, Saga, Service

from ..events import (
    ApprovalRequested,
    DirectorApproved,
    DirectorRejected,
    Escalated,
    ManagerApproved,
    ManagerRejected,
    ManagerReminded,
    RequestDenied,
    RequestExpired,
    RequestGranted,
    RequestRejected,
)

REMIND_AFTER = timedelta(days=1)
ESCALATE_AFTER = timedelta(days=3)
EXPIRE_AFTER = timedelta(days=7)

approvals = Service("approvals")
approvals.owns(
    Saga(
        "approval",
        starts=ApprovalRequested,
        completes=RequestGranted,
        fails=RequestDenied,
        key="request_id",
    ),
)
approvals.publishes(ManagerApproved, ManagerRejected, by="a manager")
approvals.publishes(DirectorApproved, DirectorRejected, by="a director")


@approvals.handles
def remind(asked: ApprovalRequested) -> Later[ManagerReminded]:
    reminder = ManagerReminded(request_id=asked.request_id, title=asked.title)
    return Later(reminder, after=REMIND_AFTER, unless=ManagerApproved | ManagerRejected)


@approvals.deadline(ManagerApproved | ManagerRejected, within=ESCALATE_AFTER)
def escalate(asked: ApprovalRequested) -> Escalated:
    return Escalated(
        request_id=asked.request_id,
        title=asked.title,
        amount=asked.amount,
    )


@approvals.deadline(
    ManagerApproved | ManagerRejected | DirectorApproved | DirectorRejected,
    within=EXPIRE_AFTER,
)
def expire(escalated: Escalated) -> RequestExpired:
    return RequestExpired(
        request_id=escalated.request_id,
        reason=f"nobody decided within {EXPIRE_AFTER.days} days of escalation",
    )


@approvals.handles
def hear_manager(
    asked: ApprovalRequested,
    answer: ManagerApproved | ManagerRejected,
) -> RequestGranted | RequestRejected:
    if isinstance(answer, ManagerApproved):
        return RequestGranted(request_id=asked.request_id, decided_by=answer.manager)
    return RequestRejected(
        request_id=asked.request_id,
        reason=f"{answer.manager}: {answer.why}",
    )


@approvals.handles
def hear_director(
    escalated: Escalated,
    answer: DirectorApproved | DirectorRejected,
) -> RequestGranted | RequestRejected:
    if isinstance(answer, DirectorApproved):
        return RequestGranted(
            request_id=escalated.request_id,
            decided_by=answer.director,
        )
    return RequestRejected(
        request_id=escalated.request_id,
        reason=f"{answer.director}: {answer.why}",
    )


@approvals.handles
def deny(cause: RequestRejected | RequestExpired) -> RequestDenied:
    return RequestDenied(request_id=cause.request_id, reason=cause.reason)
