"""Transcripts: what a service hears and what it says to it, one saga a paragraph, in a file beside the service.

`>` is heard, `<` is said, `~` is time going by; `1/2` is the first of two branches, and fields stand beside events.
Reading such a file and playing a paragraph to its service alone live here, and what each example needs for it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import reduce
from operator import or_
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import services
from choreo import Event, Saga, Service
from choreo.scope import fork
from choreo.service import Declaration, declarations
from choreo.testing import Scenario
from services import events as shop
from services.approval import events as office
from services.approval.approvals import approvals
from services.approval.mailroom import mailroom
from services.inventory import inventory
from services.marketplace import events as market
from services.marketplace.billing import billing
from services.marketplace.checkout import checkout
from services.marketplace.delivery import delivery
from services.marketplace.sellers import sellers
from services.notification import notifications
from services.order import orders
from services.order.purchases import order
from services.payment import payments
from services.shipping import shipping
from tests.services.conftest import PURCHASE

FOLDER = Path(services.__file__).parent
AT_ONCE = timedelta(0)
_BRANCH = re.compile(r"(\d)/(\d)")


class Line(NamedTuple):
    """One line: an event that is heard or said, or days that go by.

    Attributes:
        path: Which of `of` branches, from 0; `of` is 0 at the root.
    """

    sign: str
    days: int = 0
    kind: type[Event] = Event
    path: int = 0
    of: int = 0
    fields: Mapping[str, str] = {}


@dataclass(frozen=True, kw_only=True)
class Example:
    """Services that share a saga type.

    Attributes:
        services: By the folders that their transcripts are in.
        events: The module of their events.
        key: The business key of the saga that is played.
        heard: Makes an event of a type and the fields that its line gives.
    """

    services: Mapping[str, Service]
    events: ModuleType
    key: str
    heard: Callable[[type[Event], dict[str, str]], Event]

    @property
    def saga(self) -> Saga:
        """The saga type, as its owner declares it."""
        return next(saga for each in declarations(*self.services.values()) for saga in each.sagas)

    def paragraphs(self, folder: str) -> Iterator[tuple[str, list[Line]]]:
        """Yield (title, lines) of one service's transcript."""
        text = (FOLDER / folder / "transcript.txt").read_text(encoding="utf-8")
        for paragraph in text.split("\n\n"):
            title, *lines = [line for line in paragraph.splitlines() if not line.startswith("#")] or [""]
            if title:
                yield title, [self.line(line) for line in lines]

    def line(self, text: str) -> Line:
        """Read `> Type 1/2 a=1 b=two words`, or `~ 3 days`."""
        sign, name, *parts = text.split(" ")
        if sign == "~":
            return Line(sign, days=int(name))
        branch = _BRANCH.fullmatch(parts[0]) if parts else None
        fields: dict[str, str] = {}
        for part in parts[1:] if branch else parts:
            key, equals, value = part.partition("=")
            if equals:
                fields[key] = value
            else:
                fields[[*fields][-1]] += f" {part}"
        path, of = (int(branch[1]) - 1, int(branch[2])) if branch else (0, 0)
        return Line(sign, 0, getattr(self.events, name), path, of, fields)

    def play(self, folder: str, lines: list[Line]) -> None:
        """Let a service hear what it is to hear, and assert that it says what it is to say, each time."""
        service = self.services[folder]
        [declaration] = declarations(service)
        where = {"key": self.key, "saga": self.saga.name}
        branches: dict[int, str] = {}
        with Scenario(service, self._strangers(declaration, {each.kind for each in lines if each.sign == ">"})) as s:
            said, expected = 0, []
            for line, following in zip(lines, [*lines[1:], Line("")], strict=True):
                if line.sign == "<":
                    expected.append(line)
                elif line.sign == "~":
                    s.advance(timedelta(days=line.days))
                else:
                    branch = {"branch": branches.get(line.path, f"/0badcafe:{line.path}.{line.of}")} if line.of else {}
                    event = self.heard(line.kind, dict(line.fields))
                    saga = s.publish(event, **({} if line.kind is self.saga.starts else where | branch))
                    s.advance(AT_ONCE)
                if following.sign == "<":
                    continue
                own = [each for each in saga.events if each.source.startswith(f"/{service.name}/")][said:]
                assert [type(each.event) for each in own] == [each.kind for each in expected], line
                for envelope, wanted in zip(own, expected, strict=True):
                    found = fork(envelope.branch)
                    assert ((found.path, found.of) if found is not None else (0, 0)) == (wanted.path, wanted.of)
                    branches[wanted.path] = envelope.branch
                    assert {name: str(getattr(envelope.event, name)) for name in wanted.fields} == wanted.fields
                said, expected = said + len(own), []

    def _strangers(self, service: Declaration, kinds: set[type[Event]]) -> Service:
        """Return a service that stands for all others: it may say whatever is to be heard."""
        outside = Service("strangers")
        if not service.sagas:
            # What ends a saga cannot come from outside, so here something ends it that is never said.
            saga = self.saga
            outside.owns(Saga(saga.name, starts=saga.starts, completes=Closed, key=saga.key))
        rest = kinds - {self.saga.starts} - service.publishes.keys()
        if unheard := rest - service.consumes:
            other_types = reduce(or_, unheard)

            @outside.handles
            def look(other: other_types) -> None:
                """Make known what the service under test does not hear."""

        if rest:
            outside.publishes(*rest, by="everybody else")
        return outside


class Closed(Event, topic="strangers"):
    pass


SHOP_FACTS = {"order_id": "1-1", "reason": "no reason", "quantity": 2, "amount": "29.33", "receipt": "r"} | {
    "region": "Ohio",
    "po_box": False,
    "weight_g": 220,
    "parcel": "CD0",
    "total": "29.33",
}


def heard_in_the_shop(kind: type[Event], fields: dict[str, str]) -> Event:
    """Return an event; beside `OrderPlaced` stand columns of a purchase."""
    if kind is shop.OrderPlaced:
        return order(1, PURCHASE | fields)
    return kind(**{name: SHOP_FACTS[name] for name in kind.model_fields} | fields)


OFFICE_FACTS = {"request_id": "R-17", "title": "Standing desks", "amount": "1200.00"} | {
    "requested_by": "kim@example.com",
    "manager": "Ines",
    "director": "Olaf",
    "why": "no budget",
    "decided_by": "Ines",
    "reason": "no reason",
}


def heard_in_the_office(kind: type[Event], fields: dict[str, str]) -> Event:
    return kind(**{name: OFFICE_FACTS[name] for name in kind.model_fields} | fields)


def basket(text: str) -> list[market.Line]:
    """Return the lines of `Fern:2 Moss:6!`: so many teapots of each seller, fragile ones where there is a `!`."""
    return [
        market.Line(
            seller=seller, article="teapot", quantity=quantity.rstrip("!"), amount="10.00", fragile="!" in quantity
        )
        for seller, _, quantity in (each.partition(":") for each in text.split(" "))
    ]


MARKET_FACTS = {"checkout_id": "C-1", "seller": "Fern", "quantity": 2, "fragile": 0, "amount": "29.33"} | {
    "reason": "no reason",
    "card": "4000",
    "total": "29.33",
    "lines": basket("Fern:1"),
}


def heard_on_the_market(kind: type[Event], fields: dict[str, str]) -> Event:
    """Return an event; `basket=` are its lines."""
    lines = {"lines": basket(fields.pop("basket"))} if "basket" in fields else {}
    return kind(**{name: MARKET_FACTS[name] for name in kind.model_fields} | fields | lines)


SHOP = Example(
    services={
        "order": orders,
        "inventory": inventory,
        "payment": payments,
        "shipping": shipping,
        "notification": notifications,
    },
    events=shop,
    key="1-1",
    heard=heard_in_the_shop,
)
OFFICE = Example(
    services={"approval/approvals": approvals, "approval/mailroom": mailroom},
    events=office,
    key="R-17",
    heard=heard_in_the_office,
)
MARKET = Example(
    services={
        "marketplace/checkout": checkout,
        "marketplace/billing": billing,
        "marketplace/sellers": sellers,
        "marketplace/delivery": delivery,
    },
    events=market,
    key="C-1",
    heard=heard_on_the_market,
)
