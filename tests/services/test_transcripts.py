"""Each service alone, against the transcript it ships: what it hears, in that order, and what it says to it."""

from collections import Counter
from datetime import timedelta
from typing import NamedTuple

import pytest

from choreo import Event, Failure
from choreo.service import declarations
from choreo.testing import Scenario
from services.approval.events import RequestExpired, RequestRejected
from services.events import AddressRejected, OrderRejected, OutOfStock, PaymentDeclined, ShipmentFailed
from services.marketplace.events import CheckoutAbandoned, PackageLost, PackageRefused, PaymentRefused
from tests.services.transcripts import MARKET, OFFICE, SHOP, Example, Line

EXAMPLES = (SHOP, OFFICE, MARKET)


class Outcome(NamedTuple):
    """How one saga comes to its end; events as lines of transcripts say them, `~` for days that go by."""

    example: Example
    failures: set[type[Failure]]
    lines: tuple[str, ...]


OUTCOMES = {
    "the order is confirmed": Outcome(SHOP, set(), ("> OrderPlaced",)),
    "out of stock": Outcome(SHOP, {OutOfStock}, ("> OrderPlaced customer_id=00003 quantity=5",)),
    "the card is declined": Outcome(SHOP, {PaymentDeclined}, ("> OrderPlaced amount=75.01",)),
    "the address is rejected": Outcome(SHOP, {AddressRejected}, ("> OrderPlaced customer_id=00019",)),
    "the shipment fails": Outcome(SHOP, {ShipmentFailed}, ("> OrderPlaced customer_id=00003 quantity=3",)),
    "the order is rejected": Outcome(SHOP, {OrderRejected}, ("> OrderPlaced customer_id=00011",)),
    "the manager approves": Outcome(OFFICE, set(), ("> ApprovalRequested", "> ManagerApproved")),
    "the manager rejects": Outcome(OFFICE, {RequestRejected}, ("> ApprovalRequested", "> ManagerRejected")),
    "the director approves": Outcome(OFFICE, set(), ("> ApprovalRequested", "~ 4 days", "> DirectorApproved")),
    "the director rejects": Outcome(
        OFFICE, {RequestRejected}, ("> ApprovalRequested", "~ 4 days", "> DirectorRejected")
    ),
    "nobody decides": Outcome(OFFICE, {RequestExpired}, ("> ApprovalRequested", "~ 30 days")),
    "the packages are delivered": Outcome(MARKET, set(), ("> CheckoutPlaced basket=Fern:2 Moss:2",)),
    "the payment is refused": Outcome(MARKET, {PaymentRefused}, ("> CheckoutPlaced total=500.01",)),
    "a seller refuses": Outcome(
        MARKET, {PackageRefused, CheckoutAbandoned}, ("> CheckoutPlaced basket=Fern:2 Moss:12",)
    ),
    "a package is lost": Outcome(MARKET, {PackageLost, CheckoutAbandoned}, ("> CheckoutPlaced basket=Fern:2 Moss:6!",)),
}


@pytest.mark.parametrize(
    ("example", "folder", "lines"),
    [
        pytest.param(example, folder, lines, id=f"{folder}: {title}")
        for example in EXAMPLES
        for folder in example.services
        for title, lines in example.paragraphs(folder)
    ],
)
def test_a_service_says_what_its_transcript_says(example: Example, folder: str, lines: list[Line]):
    example.play(folder, lines)


def heard_and_said(lines: list[Line]) -> tuple[Counter[type[Event]], Counter[type[Event]]]:
    """Return what a paragraph has heard and said, whatever the order: topics have none between them."""
    heard, said = (Counter(line.kind for line in lines if line.sign == sign) for sign in "><")
    return heard, said


@pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=OUTCOMES)
def test_every_service_has_a_transcript_of_each_outcome(outcome: Outcome):
    example = outcome.example
    with Scenario(*example.services.values()) as s:
        for line in map(example.line, outcome.lines):
            if line.sign == "~":
                s.advance(timedelta(days=line.days))
                continue
            event = example.heard(line.kind, dict(line.fields))
            saga = s.publish(event, **({} if line.kind is example.saga.starts else {"key": example.key}))
        s.settle()
        events = Counter(saga.emitted)
        assert {kind for kind in events if issubclass(kind, Failure)} == outcome.failures
        for folder, service in example.services.items():
            [declaration] = declarations(service)
            said = Counter(type(each.event) for each in saga.events if each.source.startswith(f"/{service.name}/"))
            heard = Counter({kind: many for kind, many in events.items() if kind in declaration.consumes}) - said
            told = [heard_and_said(lines) for _, lines in example.paragraphs(folder)]
            assert (heard, said) in told or not heard, folder


def test_the_outcomes_have_every_failure_of_the_examples():
    kinds = {
        kind for example in EXAMPLES for each in declarations(*example.services.values()) for kind in each.event_types
    }
    assert {kind for kind in kinds if issubclass(kind, Failure)} == set().union(
        *(each.failures for each in OUTCOMES.values())
    )
