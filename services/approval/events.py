"""The events of approvals: all that the two services and the people who decide know of each other.

Requests, answers and what time brings live here; who emits and who reacts does not. Answers have a topic of their own,
one for all four: within a topic one saga's events keep their order, so which answer came first is a fact.
"""

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from choreo import Event, Failure

Money = Annotated[Decimal, Field(max_digits=12, decimal_places=2)]
"""US dollars, to the cent."""


class ApprovalRequested(Event, topic="approvals"):
    """Somebody asks for money. Starts the saga."""

    request_id: str
    title: str
    amount: Money
    requested_by: str


class ManagerReminded(Event, topic="approvals"):
    """The manager has not answered for a day."""

    request_id: str
    title: str


class Escalated(Event, topic="approvals"):
    """The manager has not answered for three days: a director may decide, too."""

    request_id: str
    title: str
    amount: Money


class RequestGranted(Event, topic="approvals"):
    """The money may be spent. Completes the saga."""

    request_id: str
    decided_by: str


class RequestRejected(Failure, topic="approvals"):
    """Somebody who may decide said no."""

    request_id: str


class RequestExpired(Failure, topic="approvals"):
    """Nobody decided, not even the director."""

    request_id: str


class RequestDenied(Event, topic="approvals"):
    """The money may not be spent. Fails the saga."""

    request_id: str
    reason: str


class ManagerApproved(Event, topic="decisions"):
    """A manager's yes, from outside."""

    manager: str


class ManagerRejected(Event, topic="decisions"):
    """A manager's no, from outside."""

    manager: str
    why: str


class DirectorApproved(Event, topic="decisions"):
    """A director's yes, from outside; it counts once the request is escalated."""

    director: str


class DirectorRejected(Event, topic="decisions"):
    """A director's no, from outside; it counts once the request is escalated."""

    director: str
    why: str


class MailSent(Event, topic="mailroom"):
    """Somebody was told."""

    request_id: str
    to: str
    subject: str
