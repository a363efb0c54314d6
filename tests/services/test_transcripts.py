"""Each service alone, against the transcript it ships: what it hears, in that order, and what it says to it."""

from decimal import Decimal
from pathlib import Path

import pytest

import services
from choreo import Event, Saga, Service
from choreo.testing import Scenario
from services import events
from services.inventory import inventory
from services.notification import notifications
from services.order import orders
from services.order.purchases import order
from services.payment import payments
from services.shipping import shipping

SERVICES = {
    "order": orders,
    "inventory": inventory,
    "payment": payments,
    "shipping": shipping,
    "notification": notifications,
}


class Closed(Event, topic="strangers"):
    order_id: str


FACTS = {
    "reason": "no reason",
    "quantity": 2,
    "amount": Decimal("29.33"),
    "receipt": "r",
    "region": "Ohio",
    "po_box": False,
    "weight_g": 220,
    "parcel": "CD0",
    "total": Decimal("29.33"),
}


def paragraphs(folder):
    text = (Path(services.__file__).parent / folder / "transcript.txt").read_text(encoding="utf-8")
    for paragraph in text.split("\n\n"):
        title, *lines = [line for line in paragraph.splitlines() if not line.startswith("#")] or [""]
        if title:
            yield pytest.param(folder, lines, id=f"{folder}: {title}")


def words(line):
    """Split `Type a=1 b=two words` into the type and its fields."""
    name, *parts = line[2:].split(" ")
    fields = []
    for part in parts:
        key, equals, value = part.partition("=")
        if equals:
            fields.append([key, value])
        else:
            fields[-1][1] += f" {part}"
    return getattr(events, name), dict(fields)


def heard(kind, fields, purchase):
    if kind is events.OrderPlaced:
        return order(1, purchase(**fields))
    facts = {name: FACTS[name] for name in kind.model_fields if name != "order_id"}
    return kind(order_id="1-1", **facts | fields)


def stranger(service, kinds):
    """Return a service that stands for all others: it may say whatever is to be heard."""
    outside = Service("strangers")
    if service is not orders:
        # What ends a saga cannot come from outside, so here something ends it that is never said.
        outside.owns(Saga("order-fulfilment", starts=events.OrderPlaced, completes=Closed, key="order_id"))
    rest = kinds - {events.OrderPlaced}
    if rest:
        outside.publishes(*rest, by="the rest of the shop")
    return outside


@pytest.mark.parametrize(("folder", "lines"), [each for folder in SERVICES for each in paragraphs(folder)])
def test_a_service_says_what_its_transcript_says(folder, lines, purchase):
    service = SERVICES[folder]
    kinds = {words(line)[0] for line in lines if line.startswith(">")}
    first = order(1, purchase())
    with Scenario(service, stranger(service, kinds)) as s:
        said, expected = 0, []
        for index, line in enumerate(lines):
            kind, fields = words(line)
            if line.startswith("<"):
                expected.append((kind, fields))
            else:
                key = {} if kind is events.OrderPlaced else {"key": first.order_id, "saga": "order-fulfilment"}
                saga = s.publish(heard(kind, fields, purchase), **key)
                s.settle()
            if index + 1 < len(lines) and lines[index + 1].startswith("<"):
                continue
            own = [each.event for each in saga.events if each.source.startswith(f"/{service.name}/")]
            assert [type(each) for each in own[said:]] == [kind for kind, _ in expected], lines[: index + 1]
            for event, (_, wanted) in zip(own[said:], expected, strict=True):
                assert {name: str(getattr(event, name)) for name in wanted} == wanted
            said, expected = len(own), []
