"""Every type there and back, with fastavro as the oracle of what the bytes ought to be."""

import enum
import io
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, create_model

from choreo.codec import decoder, encoder, plain_decoder
from choreo.errors import SchemaError
from choreo.event import Event
from choreo.schema import avro_schema, fingerprint
from tests.effort import part

Money = Annotated[Decimal, Field(max_digits=12, decimal_places=2)]
Wide = Annotated[Decimal, Field(max_digits=60, decimal_places=30)]
Whole = Annotated[Decimal, Field(max_digits=5, decimal_places=0)]


class Colour(enum.Enum):
    RED = "r"
    GREEN = "g"
    BLUE = 3


class Card(BaseModel):
    number: str


class Transfer(BaseModel):
    number: str


class Voucher(Card):
    pass


class Line(BaseModel):
    sku: str
    quantity: int
    price: Money
    colour: Colour | None = None
    tags: list[str] = []


class Tree(BaseModel):
    value: int
    left: "Tree | None" = None
    children: "list[Tree]" = []
    by_name: "dict[str, Tree]" = {}


class Everything(Event, topic="everything"):
    text: str
    number: int
    ratio: float
    flag: bool
    raw: bytes
    money: Money
    wide: Wide
    whole: Whole
    uid: UUID
    day: date
    clock: time
    at: datetime
    colour: Colour
    literal: Literal["a", "b"]
    mixed: Literal["a", 1] | None
    lines: list[Line]
    nested: list[list[list[int]]]
    prices: dict[str, Money]
    maybe: str | None = None
    maybe_line: Line | None = None
    paid: Card | Transfer | Voucher | None = None
    either: int | str | bool | bytes | float | list[int] | Line | dict[str, Line] | Colour = 0
    when: date | datetime | None = None
    uid_or_raw: UUID | bytes = b""
    tree: Tree | None = None
    again: "Everything | None" = None
    deep: list[dict[str, list[dict[str, list[dict[str, list[Line]]]]]]] = []  # noqa: RUF012


TEXT = st.text(max_size=10)
LONG = st.integers(-(2**63), 2**63 - 1) | st.integers(-200, 10000)
FLOAT = st.floats(allow_nan=False, allow_infinity=False)
AT = st.datetimes(
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=2)), timezone(-timedelta(hours=5.5))])
).filter(lambda at: 2 < at.year < 9998)


def decimals(least, most, places):
    # fastavro spends a byte too many on -128, -32768 …; choreo writes what Java does, as short as can be.
    edges = {Decimal(-(2 ** (8 * size - 1))).scaleb(-places) for size in range(1, 20)}
    return st.decimals(least, most, places=places).filter(lambda each: each not in edges)


MONEY = decimals(-(10**10) + 1, 10**10 - 1, 2)
UID = st.uuids()
LINE = st.builds(
    Line,
    sku=TEXT,
    quantity=LONG,
    price=MONEY,
    colour=st.none() | st.sampled_from(Colour),
    tags=st.lists(TEXT, max_size=3),
)
TREE = st.recursive(
    st.builds(Tree, value=LONG),
    lambda inner: st.builds(
        Tree,
        value=LONG,
        left=st.none() | inner,
        children=st.lists(inner, max_size=2),
        by_name=st.dictionaries(TEXT, inner, max_size=2),
    ),
    max_leaves=4,
)
EVERYTHING = st.builds(
    Everything,
    text=TEXT,
    number=LONG,
    ratio=FLOAT,
    flag=st.booleans(),
    raw=st.binary(max_size=200),
    money=MONEY,
    wide=decimals(-(10**29), 10**29, 30),
    whole=decimals(-99999, 99999, 0),
    uid=UID,
    day=st.dates(),
    clock=st.times(),
    at=AT,
    colour=st.sampled_from(Colour),
    literal=st.sampled_from(["a", "b"]),
    mixed=st.sampled_from(["a", 1, None]),
    lines=st.lists(LINE, max_size=3),
    nested=st.lists(st.lists(st.lists(LONG, max_size=2), max_size=2), max_size=2),
    prices=st.dictionaries(TEXT, MONEY, max_size=3),
    maybe=st.none() | TEXT,
    maybe_line=st.none() | LINE,
    paid=st.none() | st.sampled_from([Card, Transfer, Voucher]).flatmap(lambda each: st.builds(each, number=TEXT)),
    either=LONG
    | TEXT
    | st.booleans()
    | st.binary(max_size=5)
    | FLOAT
    | st.lists(LONG, max_size=2)
    | LINE
    | st.dictionaries(TEXT, LINE, max_size=2)
    | st.sampled_from(Colour),
    when=st.none() | st.dates() | AT,
    uid_or_raw=UID | st.binary(max_size=20),
    tree=st.none() | TREE,
    deep=st.lists(st.fixed_dictionaries({"a": st.just([{"b": [{"c": []}]}])}), max_size=1),
)
SCHEMA = avro_schema(Everything, Everything.__choreo_type__)
PARSED = fastavro.parse_schema(SCHEMA)
ENCODE = encoder(Everything)
DECODE = decoder(SCHEMA, Everything)
PLAIN = plain_decoder(SCHEMA, hide_sensitive=False)


def for_fastavro(value):
    match value:
        case BaseModel():
            fields = {name: for_fastavro(getattr(value, name)) for name in type(value).model_fields}
            return {"-type": f"everything.{type(value).__name__}", **fields}
        case enum.Enum():
            return value.name
        case list():
            return [for_fastavro(each) for each in value]
        case dict():
            return {key: for_fastavro(each) for key, each in value.items()}
    return value


def from_fastavro(value):
    """Return what fastavro reads as `plain_decoder` says it."""
    match value:
        case UUID():
            return str(value)
        case list():
            return [from_fastavro(each) for each in value]
        case dict():
            return {key: from_fastavro(each) for key, each in value.items()}
    return value


@settings(max_examples=part(30, of=100), deadline=None)
@given(EVERYTHING)
def test_there_and_back(event):
    body = ENCODE(event)
    assert body[:10] == b"\xc3\x01" + fingerprint(SCHEMA)
    back = DECODE(body)
    assert back == event
    # Equal is not enough: True == 1, a Card == a Voucher to no one but us.
    for name in ("paid", "either", "mixed", "when", "uid_or_raw"):
        assert type(getattr(back, name)) is type(getattr(event, name))
    assert ENCODE(back) == body


@settings(max_examples=part(30, of=100), deadline=None)
@given(EVERYTHING)
def test_fastavro_reads_what_is_written(event):
    read = fastavro.schemaless_reader(io.BytesIO(ENCODE(event)[10:]), PARSED, None)
    assert from_fastavro(read) == PLAIN(ENCODE(event))


@settings(max_examples=part(30, of=100), deadline=None)
@given(EVERYTHING)
def test_what_fastavro_writes_is_read_and_the_same(event):
    out = io.BytesIO()
    datum = for_fastavro(event)
    for name in ("either", "uid_or_raw", "when"):
        # fastavro chooses branches by looks, and more than one may look right: tell it.
        datum[name] = tagged(getattr(event, name), datum[name])
    fastavro.schemaless_writer(out, PARSED, datum)
    body = ENCODE(event)
    assert out.getvalue() == body[10:]
    assert DECODE(body[:10] + out.getvalue()) == event


def tagged(value, datum):
    names = {bool: "boolean", int: "long", float: "double", str: "string", bytes: "bytes", list: "array", dict: "map"}
    names |= {date: "int", datetime: "long", UUID: "string", Colour: "everything.Colour"}
    return (names[type(value)], datum) if type(value) in names else datum


@pytest.mark.parametrize(
    ("value", "digits"),
    [
        ("0", "00"),
        ("1.27", "7f"),
        ("1.28", "0080"),
        ("-1.28", "80"),
        ("-1.29", "ff7f"),
        ("-0.01", "ff"),
        ("2.56", "0100"),
    ],
)
def test_decimals_are_as_short_as_can_be(value, digits):
    model = create_model("M", f=(Money, ...))
    body = encoder(model, "x.M")(model(f=value))
    assert body[11:].hex() == digits
    assert decoder(avro_schema(model, "x.M"), model, "x.M")(body).f == Decimal(value)


@settings(max_examples=part(30, of=100), deadline=None)
@given(st.data())
def test_any_two_types_side_by_side(data):
    pairs = {
        str: TEXT,
        int: LONG,
        float: FLOAT,
        bool: st.booleans(),
        bytes: st.binary(max_size=9),
        Money: MONEY,
        UUID: UID,
        date: st.dates(),
        datetime: AT,
        Colour: st.sampled_from(Colour),
        Line: LINE,
        Card: st.builds(Card, number=TEXT),
    }
    one, two = data.draw(st.lists(st.sampled_from(list(pairs)), min_size=2, max_size=2, unique=True))
    try:
        model = create_model("Pair", f=(one | two | None, ...), g=(list[one | two], ...), h=(two, ...))
        schema = avro_schema(model, "pairs.Pair")
    except SchemaError as error:
        assert "are both Avro's" in str(error)
        return
    either = pairs[one] | pairs[two]
    made = model(f=data.draw(st.none() | either), g=data.draw(st.lists(either, max_size=3)), h=data.draw(pairs[two]))
    back = decoder(schema, model, "pairs.Pair")(encoder(model, "pairs.Pair")(made))
    assert back == made
    assert [type(each) for each in back.g] == [type(each) for each in made.g]
