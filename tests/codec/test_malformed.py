"""Whatever the bytes: an event, or UndecodableRecord."""

import struct
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, create_model

from choreo.codec import decoder, encoder, plain_decoder
from choreo.codec.wire import long_at, long_bytes, timestamp_at
from choreo.errors import SchemaError, UndecodableRecord
from choreo.schema import avro_schema
from tests.effort import part

HEAD = bytes(10)


class Tree(BaseModel):
    value: int
    left: "Tree | None" = None
    children: "list[Tree]" = []


class Leaf(BaseModel):
    text: str


class Mixed(BaseModel):
    text: str
    number: int
    at: datetime
    price: Annotated[Decimal, Field(max_digits=8, decimal_places=2)]
    tags: list[str]
    by_name: dict[str, float]
    either: Leaf | Tree | None
    uid: UUID
    raw: bytes
    flag: bool


SCHEMA = avro_schema(Mixed, "x.Mixed")
DECODE = decoder(SCHEMA, Mixed, "x.Mixed")
PLAIN = plain_decoder(SCHEMA)
GOOD = encoder(Mixed, "x.Mixed")(
    Mixed(
        text="hällo",
        number=-(2**40),
        at=datetime(2026, 1, 1, tzinfo=UTC),
        price=Decimal("-1.5"),
        tags=["a", "b" * 100],
        by_name={"a": 1.5},
        either=Tree(value=1, left=Tree(value=2), children=[Tree(value=3)]),
        uid=UUID(int=1),
        raw=bytes(70),
        flag=True,
    )
)


def survives(decode, value):
    try:
        return decode(value)
    except UndecodableRecord as error:
        assert error.reason == "undecodable"
        return None


def of(annotation):
    model = create_model("M", f=(annotation, ...))
    return decoder(avro_schema(model, "x.M"), model, "x.M")


@settings(max_examples=part(100, of=300), deadline=None)
@given(st.binary(max_size=120))
def test_r29_any_bytes(body):
    survives(DECODE, HEAD + body)
    survives(PLAIN, HEAD + body)


@settings(max_examples=part(100, of=300), deadline=None)
@given(st.integers(10, len(GOOD) - 1), st.integers(0, 255), st.integers(0, 3))
def test_r29_good_bytes_with_a_flaw(at, byte, more):
    flawed = GOOD[:at] + bytes([byte]) * more + GOOD[at + 1 :]
    found = survives(DECODE, flawed)
    if found is not None:
        assert isinstance(found, Mixed)


def test_r29_every_truncation_is_found():
    for end in range(len(GOOD)):
        with pytest.raises(UndecodableRecord):
            DECODE(GOOD[:end])


def test_r29_trailing_bytes_are_found():
    with pytest.raises(UndecodableRecord, match="ends at byte"):
        DECODE(GOOD + b"\x00")


@pytest.mark.parametrize(
    ("annotation", "body"),
    [
        (str, b"\x01"),  # length -1
        (str, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),  # length -2**63
        (str, b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"),  # length 2**63 - 1
        (str, b"\x80" * 1000 + b"\x01"),
        (str, b"\x02\xff"),  # not UTF-8
        (str, b"\x06\xed\xa0\x80"),  # a lone surrogate, in what would be UTF-8
        (bytes, b"\x80\x80\x80\x80\x20" + bytes(8)),
        (int, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),  # beyond 64 bits
        (bool, b"\x02"),
        (int | None, b"\x04\x00"),
        (int | None, b"\x01\x00"),
        (list[int], b"\x02"),
        (list[int], b"\x80\x80\x80\x80\x80\x20" + bytes(100)),  # a count bomb
        (list[str], b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01" + bytes(100)),
        (list[int], b"\x03\xff\xff\xff\xff\x0f" + bytes(5)),  # a block of more bytes than there are
        (list[int], b"\x03\x01\x00\x00"),  # a block of -1 bytes
        (dict[str, int], b"\x7e"),
        (datetime, b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"),  # beyond the year 9999
        (datetime, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        (Annotated[Decimal, Field(max_digits=4, decimal_places=2)], b"\x06\x7f\xff\xff"),  # too many digits
        (Annotated[Decimal, Field(max_digits=4, decimal_places=2)], b"\x80\x80\x04" + b"\x7f" * (1 << 15)),
        (UUID, b"\x02a"),
        (float, struct.pack("<d", float("nan"))),
        (float, bytes(7)),
    ],
    ids=lambda each: each[:12].hex() if isinstance(each, bytes) else str(each),
)
def test_r29_hostile_bytes(annotation, body):
    with pytest.raises(UndecodableRecord):
        of(annotation)(HEAD + body)


def test_blocks_with_a_size_are_read():
    # Two blocks: one counted backwards with its size in bytes, one plain.
    assert of(list[int])(HEAD + b"\x03\x04\x02\x04" + b"\x02\x06" + b"\x00").f == [1, 2, 3]
    assert of(dict[str, int])(HEAD + b"\x01\x06\x02a\x02" + b"\x02\x02b\x04" + b"\x00").f == {"a": 1, "b": 2}
    many = list(range(300))
    packed = b"".join(map(long_bytes, many))
    assert of(list[int])(HEAD + long_bytes(-300) + long_bytes(len(packed)) + packed + b"\x00").f == many


@pytest.mark.parametrize("depth", [50, 100_000])
def test_r29_depth_is_bounded(depth):
    # Each level: value 0, a left branch, and what closes it again.
    body = b"\x00\x02" * depth + b"\x00\x00\x00" + b"\x00" * depth
    schema = avro_schema(Tree, "x.Tree")
    found = survives(decoder(schema, Tree, "x.Tree"), HEAD + body)
    assert (found is not None) is (depth == 50)
    survives(plain_decoder(schema), HEAD + body)


def test_items_without_bytes_are_refused_beforehand():
    schema: Any = {"type": "record", "name": "M", "fields": [{"name": "f", "type": {"type": "array", "items": "null"}}]}
    with pytest.raises(SchemaError, match="no bytes"):
        plain_decoder(schema)


@settings(max_examples=part(100, of=300), deadline=None)
@given(st.integers(-(2**63), 2**63 - 1))
@example(2**63 - 1)
@example(-(2**63))
@example(2**48)
@example(2**55)
@example(-(2**55) - 1)
def test_longs_there_and_back(number):
    encoded = long_bytes(number)
    assert long_at(encoded, 0) == (number, len(encoded))
    assert timestamp_at(encoded, 0) == (number, len(encoded))
    assert timestamp_at(b"x" + encoded + b"more bytes", 1) == (number, len(encoded) + 1)


def test_a_long_beyond_64_bits_is_refused():
    for number in (2**63, -(2**63) - 1):
        with pytest.raises(SchemaError, match="64 bits"):
            long_bytes(number)
