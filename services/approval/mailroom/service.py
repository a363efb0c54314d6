"""Handlers of mailroom: a reminder, an escalation, an answer.

A mail cannot be taken back, so none is sent before something has really come to pass, and none has a compensation. The
answer is a join: whom it goes to stands in the request, and what it says in the event that ended it.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from choreo import Context, Service

from ..events import ApprovalRequested, Escalated, MailSent, ManagerReminded, RequestDenied, RequestGranted
from .outbox import Outbox

MANAGER = "manager@example.com"
DIRECTOR = "director@example.com"

mailroom = Service("mailroom")


@mailroom.provides
def outbox() -> Iterator[Outbox]:
    with closing(Outbox(Path(os.environ.get("SERVICES_DATA", "data")) / "mailroom.db")) as opened:
        yield opened


@mailroom.handles
def send_reminder(reminded: ManagerReminded, ctx: Context, outbox: Outbox) -> MailSent:
    mail = MailSent(
        request_id=reminded.request_id,
        to=MANAGER,
        subject=f"Still to decide: {reminded.title}",
    )
    outbox.send(ctx.idempotency_key, mail.request_id, mail.to, mail.subject)
    return mail


@mailroom.handles
def send_escalation(escalated: Escalated, ctx: Context, outbox: Outbox) -> MailSent:
    subject = f"Yours to decide: {escalated.title}, {escalated.amount}"
    mail = MailSent(request_id=escalated.request_id, to=DIRECTOR, subject=subject)
    outbox.send(ctx.idempotency_key, mail.request_id, mail.to, mail.subject)
    return mail


@mailroom.handles
def send_answer(
    asked: ApprovalRequested, answer: RequestGranted | RequestDenied, ctx: Context, outbox: Outbox
) -> MailSent:
    if isinstance(answer, RequestGranted):
        subject = f"Granted by {answer.decided_by}: {asked.title}"
    else:
        subject = f"Denied: {asked.title} ({answer.reason})"
    mail = MailSent(request_id=asked.request_id, to=asked.requested_by, subject=subject)
    outbox.send(ctx.idempotency_key, mail.request_id, mail.to, mail.subject)
    return mail
