"""Writers other than readers, models with wishes of their own, and values nobody validated."""

import enum
import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

import fastavro
import pytest
from pydantic import BaseModel, ConfigDict, Field, create_model

from choreo.codec import decoder, encoder, plain_decoder
from choreo.errors import IncompatibleSchema, SchemaError, UndecodableRecord
from choreo.schema import Sensitive, avro_schema

Money = Annotated[Decimal, Field(max_digits=12, decimal_places=2)]
Wide = Annotated[Decimal, Field(max_digits=60, decimal_places=30)]


class Colour(enum.Enum):
    RED = "r"


class Card(BaseModel):
    number: str


class Transfer(BaseModel):
    number: str


class Line(BaseModel):
    sku: str


class Tree(BaseModel):
    value: int
    left: "Tree | None" = None
    children: "list[Tree]" = []
    by_name: "dict[str, Tree]" = {}


class TestEvolution:
    def test_what_the_reader_lacks_is_dropped_and_what_the_writer_lacks_is_filled_in(self):
        class OldLine(BaseModel):
            sku: str
            gone: list[dict[str, Money]] = []
            also_gone: UUID | None = None

        class NewLine(BaseModel):
            new: list[int] = [7]
            sku: str

        OldLine.__name__ = NewLine.__name__ = "Line"
        old = create_model("Placed", total=(int, ...), gone=(Tree, ...), lines=(list[OldLine], ...), last=(str, ...))
        new = create_model("Placed", last=(str, ...), lines=(list[NewLine], ...), total=(float, ...), more=(str, "x"))
        event = old(
            total=3,
            gone=Tree(value=1, left=Tree(value=2), children=[Tree(value=3)], by_name={"a": Tree(value=4)}),
            lines=[OldLine(sku="a", gone=[{"k": Decimal(1)}], also_gone=UUID(int=3)), OldLine(sku="b")],
            last="z",
        )
        body = encoder(old, "orders.Placed")(event)
        read = decoder(avro_schema(old, "orders.Placed"), new, "orders.Placed")(body)
        assert read == new(last="z", lines=[NewLine(sku="a"), NewLine(sku="b")], total=3.0, more="x")
        assert type(read.total) is float

    def test_union_branches_may_move(self):
        old = create_model("M", f=(Card | Transfer, ...))
        new = create_model("M", f=(Transfer | Line | Card | None, ...))
        decode = decoder(avro_schema(old, "x.M"), new, "x.M")
        encode = encoder(old, "x.M")
        for value in (Card(number="1"), Transfer(number="1")):
            assert type(decode(encode(old(f=value))).f) is type(value)

    def test_enums_go_by_symbol(self):
        old = enum.Enum("E", {"A": 1, "B": 2})
        new = enum.Enum("E", {"C": 0, "B": "b", "A": "a"})
        writer, reader = create_model("M", f=(old, ...)), create_model("M", f=(new, ...))
        decode = decoder(avro_schema(writer, "x.M"), reader, "x.M")
        assert decode(encoder(writer, "x.M")(writer(f=old.B))).f is new.B

    @pytest.mark.parametrize(
        ("old", "new"), [(datetime, int), (Money, bytes), (Money, Wide), (str, UUID), (float, int)]
    )
    def test_r37_what_does_not_fit_is_refused(self, old, new):
        writer, reader = create_model("M", f=(old, ...)), create_model("M", f=(new, ...))
        with pytest.raises(IncompatibleSchema, match=r"M\.f: "):
            decoder(avro_schema(writer, "x.M"), reader, "x.M")

    def test_schemas_of_other_languages_are_read(self):
        writer = {
            "type": "record",
            "name": "M",
            "namespace": "x",
            "fields": [
                {"name": "gone", "type": {"type": "fixed", "name": "F", "size": 3}},
                {"name": "small", "type": "int"},
                {"name": "ratio", "type": "float"},
                {"name": "text", "type": "bytes"},
            ],
        }
        reader = create_model("M", small=(int, ...), ratio=(float, ...), text=(str, ...))
        out = io.BytesIO()
        datum = {"gone": b"abc", "small": -5, "ratio": 1.5, "text": b"abc"}
        fastavro.schemaless_writer(out, fastavro.parse_schema(writer), datum)
        assert decoder(writer, reader, "x.M")(bytes(10) + out.getvalue()) == reader(small=-5, ratio=1.5, text="abc")


class TestPydantic:
    def test_aliases_are_filled(self):
        model = create_model("M", f=(int, Field(alias="eff")), g=(int, Field(validation_alias="gee")))
        made = model(eff=1, gee=2)
        assert decoder(avro_schema(model, "x.M"), model, "x.M")(encoder(model, "x.M")(made)) == made

    def test_strict_models_come_back(self):
        class Inner(BaseModel):
            model_config = ConfigDict(strict=True)
            uid: UUID
            at: datetime
            price: Money
            colour: Colour

        model = create_model("M", __config__=ConfigDict(strict=True), inner=(Inner, ...), uids=(list[UUID], ...))
        inner = Inner(uid=UUID(int=1), at=datetime.now(UTC), price=Decimal(1), colour=Colour.RED)
        made = model(inner=inner, uids=[UUID(int=5)])
        assert decoder(avro_schema(model, "x.M"), model, "x.M")(encoder(model, "x.M")(made)) == made

    def test_what_was_never_validated_is_refused_with_its_name(self):
        model = create_model("M", f=(Money, ...), g=(int, 1))
        encode = encoder(model, "x.M")
        for wrong in (
            {"f": Decimal("1.001")},
            {"f": Decimal(1), "g": 2**63},
            {"f": "text"},
            {},
            {"f": Decimal(10**11)},
        ):
            with pytest.raises(SchemaError):
                encode(model.model_construct(**wrong))

    def test_what_pydantic_refuses_is_undecodable_and_its_value_unsaid(self):
        loose, tight = create_model("M", f=(str, ...)), create_model("M", f=(Literal["a"], ...))
        body = encoder(loose, "x.M")(loose(f="secret-4111"))
        with pytest.raises(UndecodableRecord, match="f: ") as caught:
            decoder(avro_schema(loose, "x.M"), tight, "x.M")(body)
        assert "4111" not in str(caught.value)

    def test_nan_from_elsewhere_is_undecodable(self):
        model = create_model("M", f=(float, ...))
        body = encoder(model, "x.M")(model(f=float("nan")))
        with pytest.raises(UndecodableRecord, match="f: "):
            decoder(avro_schema(model, "x.M"), model, "x.M")(body)


def test_plain_dicts_hide_what_is_sensitive():
    class Holder(BaseModel):
        name: str
        number: Annotated[str, Sensitive()]

    model = create_model("M", card=(Annotated[str, Sensitive()], ...), holders=(list[Holder], ...))
    body = encoder(model, "x.M")(model(card="4111", holders=[Holder(name="a", number="4222")]))
    schema = avro_schema(model, "x.M")
    assert plain_decoder(schema)(body) == {"card": "***", "holders": [{"name": "a", "number": "***"}]}
    assert plain_decoder(schema, hide_sensitive=False)(body)["card"] == "4111"
