"""Bodies from what a tracker keeps: the very bytes, but for what is sensitive."""

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Annotated
from uuid import UUID

import pytest
from pydantic import BaseModel, Field

from choreo import Event, Sensitive
from choreo.codec import Codec, Schemas
from choreo.errors import SchemaError
from choreo.manifest import Manifest
from choreo.replay.payload_encoder import PayloadEncoder
from choreo.schema import avro_schema, fingerprint
from choreo.tracker.row_decoder import RowDecoder
from choreo.transport import Record

Money = Annotated[Decimal, Field(max_digits=12, decimal_places=2)]


class Colour(Enum):
    RED = 1
    BLUE = 2


class Card(BaseModel):
    number: str


class Cash(BaseModel):
    amount: Money


class Everything(Event, topic="things"):
    text: str
    number: int
    share: float
    yes: bool
    raw: bytes
    money: Money
    id: UUID
    day: date
    hour: time
    at: datetime
    colour: Colour
    many: list[int]
    named: dict[str, Money]
    card: Card
    maybe: int | None
    either: Card | Cash
    mixed: str | int | list[str] | None
    paid: list[Card | Cash]


VALUES = {
    "text": "***",
    "number": -(2**63),
    "share": 0.1,
    "yes": True,
    "raw": b"\x00\xff",
    "money": Decimal("-12.30"),
    "id": UUID(int=7),
    "day": date(1969, 12, 31),
    "hour": time(23, 59, 59, 999999),
    "at": datetime(2026, 1, 1, 12, 0, 0, 1, tzinfo=UTC),
    "colour": Colour.BLUE,
    "many": [1, 2],
    "named": {"a.b": Decimal("0.01")},
    "card": Card(number="1"),
    "maybe": None,
    "either": Cash(amount=Decimal("1.00")),
    "mixed": "2026-01-01",
    "paid": [Card(number="1"), Cash(amount=Decimal("2.00"))],
}


def kept(event: Event) -> tuple[bytes, dict]:
    """Return an event's value, and what a tracker keeps of it."""
    kind = type(event)
    schema = avro_schema(kind, kind.__choreo_type__)
    key = fingerprint(schema).hex()
    decoder = RowDecoder()
    decoder.learn(Manifest(service="s", service_version="1", schemas={key: schema}))
    value = Codec([kind], Schemas()).encode(event)
    headers = [("ce_id", b"1"), ("ce_type", kind.__choreo_type__.encode())]
    seen = decoder.event(Record("t", 0, 0, b"s", value, headers, 0))
    return value, json.loads(seen.payload)


def body(kind: type[Event]) -> PayloadEncoder:
    schema = avro_schema(kind, kind.__choreo_type__)
    return PayloadEncoder(schema, fingerprint(schema).hex())


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"maybe": 5, "mixed": 7, "either": Card(number="2")},
        {"mixed": ["a", "b"], "many": [], "named": {}},
        {"mixed": None},
    ],
    ids=["one", "other", "lists", "nothing"],
)
def test_what_nobody_hides_comes_back_to_the_byte(changed):
    value, payload = kept(Everything(**VALUES | changed))
    made = body(Everything)
    assert made.encode(payload) == value
    assert not made.masks


class Note(BaseModel):
    text: Annotated[str, Sensitive()]
    author: str


class Person(BaseModel):
    name: str
    tags: list[str]
    colour: Colour
    note: Note | None = None


class Secret(Event, topic="things"):
    plain: str
    text: Annotated[str, Sensitive()]
    number: Annotated[int, Sensitive()]
    share: Annotated[float, Sensitive()]
    raw: Annotated[bytes, Sensitive()]
    money: Annotated[Money, Sensitive()]
    id: Annotated[UUID, Sensitive()]
    at: Annotated[datetime, Sensitive()]
    day: Annotated[date, Sensitive()]
    hour: Annotated[time, Sensitive()]
    yes: Annotated[bool, Sensitive()]
    colour: Annotated[Colour, Sensitive()]
    many: Annotated[list[int], Sensitive()]
    named: Annotated[dict[str, int], Sensitive()]
    person: Annotated[Person, Sensitive()]
    either: Annotated[Card | Cash, Sensitive()]
    maybe: Annotated[int | None, Sensitive()]
    notes: list[Note]


def test_what_is_sensitive_has_something_of_its_type_in_its_place():
    person = Person(name="Kim", tags=["x"], colour=Colour.RED)
    hidden = {
        key: VALUES[key] for key in ("number", "share", "raw", "money", "id", "at", "day", "hour", "yes", "colour")
    }
    hidden |= {"many": [1], "named": {"a": 1}, "person": person, "either": Card(number="1"), "maybe": 5, "text": "Kim"}
    event = Secret(plain="seen", notes=[Note(text="Kim", author="Ines")], **hidden)
    value, payload = kept(event)
    made = body(Secret)
    assert made.masks
    stood_in = Codec([Secret], Schemas()).decode("things.Secret", made.encode(payload))
    assert b"Kim" in value
    assert b"Kim" not in made.encode(payload)
    assert (stood_in.plain, stood_in.notes[0].author) == ("seen", "Ines")
    assert (stood_in.number, stood_in.many, stood_in.maybe, stood_in.text) == (0, [], None, "***")


@pytest.mark.parametrize(
    "changed",
    [
        {"number": "7"},
        {"number": True},
        {"raw": "xyz"},
        {"colour": "GREEN"},
        {"card": {"holder": "Kim"}},
        {"day": "soon"},
        {"mixed": {}},
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(changed):
    _, payload = kept(Everything(**VALUES))
    with pytest.raises(SchemaError, match="do not fit their schema"):
        body(Everything).encode(payload | changed)
