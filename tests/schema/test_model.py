import enum
import typing
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NewType, TypeVar
from uuid import UUID

import fastavro
import pytest
from pydantic import (
    AliasChoices,
    AliasPath,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    EmailStr,
    Field,
    RootModel,
    create_model,
)
from typing_extensions import TypeAliasType

from choreo.errors import SchemaError
from choreo.schema import Sensitive, avro_schema, sensitive_fields

Money = Annotated[Decimal, Field(max_digits=12, decimal_places=2)]
T = TypeVar("T")
OrderId = NewType("OrderId", str)
Alias = TypeAliasType("Alias", Annotated[int, Field(gt=0)])


class Colour(enum.Enum):
    RED = "r"
    GREEN = "g"


class Line(BaseModel):
    sku: str
    price: Money


class Tree(BaseModel):
    left: "Tree | None" = None
    others: "list[Tree]" = []


class Page(BaseModel, Generic[T]):
    items: list[T]


@dataclass
class Plain:
    a: int


def field_schema(annotation, **field):
    model = create_model("M", f=(annotation, Field(**field)))
    schema = avro_schema(model, "shop.M")
    fastavro.parse_schema(schema)
    return schema["fields"][0]


def refusal(annotation, **field):
    with pytest.raises(SchemaError) as caught:
        avro_schema(create_model("M", f=(annotation, Field(**field))), "shop.M")
    return str(caught.value)


LINE = {
    "type": "record",
    "name": "Line",
    "fields": [
        {"name": "sku", "type": "string"},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
    ],
}
COLOUR = {"type": "enum", "name": "Colour", "symbols": ["RED", "GREEN"]}


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (str, "string"),
        (int, "long"),
        (float, "double"),
        (bool, "boolean"),
        (bytes, "bytes"),
        (None, "null"),
        (UUID, {"type": "string", "logicalType": "uuid"}),
        (date, {"type": "int", "logicalType": "date"}),
        (time, {"type": "long", "logicalType": "time-micros"}),
        (datetime, {"type": "long", "logicalType": "timestamp-micros"}),
        (AwareDatetime, {"type": "long", "logicalType": "timestamp-micros"}),
        (Money, {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}),
        (Money | None, [{"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}, "null"]),
        (Colour, COLOUR),
        (Literal[Colour.RED], COLOUR),
        (Literal["a", "b"], "string"),
        (Literal[1, 2], "long"),
        (Literal[True], "boolean"),
        (Literal["a", 1, None], ["string", "long", "null"]),  # noqa: PYI061
        (Literal["a"] | str, "string"),  # noqa: PYI051
        (list[int], {"type": "array", "items": "long"}),
        (list[list[Line]], {"type": "array", "items": {"type": "array", "items": LINE}}),
        (dict[str, Money], {"type": "map", "values": field_schema(Money)["type"]}),
        (int | None, ["long", "null"]),
        (Line | Colour | None, [LINE, COLOUR, "null"]),
        (int | str | bool | bytes | float, ["long", "string", "boolean", "bytes", "double"]),
        (
            date | datetime,
            [{"type": "int", "logicalType": "date"}, {"type": "long", "logicalType": "timestamp-micros"}],
        ),
        (OrderId, "string"),
        (Alias, "long"),
        (typing.Optional[typing.List[int]], [{"type": "array", "items": "long"}, "null"]),  # noqa: UP006, UP045
    ],
    ids=str,
)
def test_every_type_has_its_avro(annotation, expected):
    assert field_schema(annotation)["type"] == expected


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (Any, "name its type"),
        (object, "name its type"),
        (Decimal, "max_digits"),
        (Annotated[Decimal, Field(max_digits=5)], "max_digits"),
        (tuple[int, str], "list"),
        (set[int], "list"),
        (list, "what it holds"),
        (dict, "what it holds"),
        (dict[int, str], "keys"),
        (timedelta, "int"),
        (complex, "floats"),
        (RootModel[int], "no exact Avro form"),
        (Plain, "no exact Avro form"),
        (int | datetime, "long"),
        (str | UUID, "string"),
        (bytes | Money, "bytes"),
        (list[int] | list[str], "array"),
        (dict[str, int] | dict[str, str], "map"),
        (T, "give it a type"),
        (list[None], "no bytes"),
        (enum.IntFlag("Flags", "A B"), "Flag"),
        (enum.Enum("Wide", {"ä": 1}), "no Avro names"),
        (Literal[b"a", "b"] | list[set[int]], "list"),
    ],
    ids=str,
)
def test_what_the_two_do_not_both_say_is_refused(annotation, reason):
    message = refusal(annotation)
    assert message.startswith("M.f: ")
    assert reason in message


def test_email_needs_no_package_to_be_refused():
    with pytest.raises((SchemaError, ImportError)):
        avro_schema(create_model("M", f=(EmailStr, ...)), "shop.M")


def test_a_refusal_names_the_nested_model():
    class Inner(BaseModel):
        bad: set[int]

    class Outer(BaseModel):
        inner: Inner
        worse: Any

    with pytest.raises(SchemaError) as caught:
        avro_schema(Outer, "shop.Outer")
    assert str(caught.value).splitlines()[0].startswith("Inner.bad: ")
    assert str(caught.value).splitlines()[1].startswith("Outer.worse: ")


def test_two_models_of_one_name_are_refused():
    def other():
        class Line(BaseModel):
            x: int

        return Line

    message = refusal(dict[str, Line] | list[other()])
    assert "two types are called shop.Line" in message


def test_lists_of_empty_models_are_refused_and_their_fields_are_not():
    class Empty(BaseModel):
        pass

    assert "no bytes" in refusal(list[Empty])
    assert field_schema(Empty)["type"] == {"type": "record", "name": "Empty", "fields": []}
    assert field_schema(dict[str, Empty])["type"]["type"] == "map"


def test_recursion_refers_to_the_name():
    schema = avro_schema(Tree, "shop.Tree")
    fastavro.parse_schema(schema)
    assert schema["fields"][0]["type"] == ["null", "shop.Tree"]
    assert schema["fields"][1]["type"] == {"type": "array", "items": "shop.Tree"}


def test_names_live_in_the_events_namespace():
    schema = avro_schema(create_model("M", a=(Line, ...), b=(Line, ...)), "shop.eu.M")
    assert (schema["name"], schema["namespace"]) == ("M", "shop.eu")
    assert "namespace" not in schema["fields"][0]["type"]
    assert schema["fields"][1]["type"] == "shop.eu.Line"
    bare = avro_schema(create_model("M", a=(Line, ...), b=(Line, ...)), "M")
    assert bare["fields"][1]["type"] == "Line"
    fastavro.parse_schema(bare)


def test_a_generic_model_is_called_after_its_types():
    assert field_schema(Page[int])["type"]["name"] == "Page_int"


@pytest.mark.parametrize(
    ("annotation", "default", "expected", "first"),
    [
        (int, 3, 3, None),
        (str, "a", "a", None),
        (bytes, b"\x00\xff", "\x00\xff", None),
        (Money, Decimal("1.5"), "\x00\x96", None),
        (Money, Decimal("-1.28"), "\x80", None),
        (UUID, UUID(int=1), "00000000-0000-0000-0000-000000000001", None),
        (date, date(1970, 1, 2), 1, None),
        (time, time(0, 0, 1), 1_000_000, None),
        (datetime, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), 1_000_000, None),
        (Colour, Colour.GREEN, "GREEN", None),
        (list[int], [1, 2], [1, 2], None),
        (dict[str, int], {"a": 1}, {"a": 1}, None),
        (Line, Line(sku="a", price=Decimal(1)), {"sku": "a", "price": "d"}, None),
        (str | None, None, None, "null"),
        (None | str, "a", "a", "string"),
        (str | int, 3, 3, "long"),
    ],
    ids=str,
)
def test_defaults_are_avros(annotation, default, expected, first):
    entry = field_schema(annotation, default=default)
    assert entry["default"] == expected
    if first:
        assert entry["type"][0] == first


def test_factories_that_make_the_same_each_time_are_defaults():
    assert field_schema(list[int], default_factory=list)["default"] == []
    assert field_schema(dict[str, int], default_factory=dict)["default"] == {}
    assert "default" not in field_schema(int, default_factory=lambda: 3)


@pytest.mark.parametrize(("annotation", "default"), [(int, None), (int, True), (str, 1), (str | None, 1.5)])
def test_a_default_of_another_type_is_refused(annotation, default):
    assert "its default" in refusal(annotation, default=default)


def test_a_default_that_avro_cannot_say_is_left_out():
    class Inner(BaseModel):
        x: int | None = None

    assert "default" not in field_schema(Inner, default=Inner(x=3))
    assert field_schema(Inner, default=Inner())["default"] == {"x": None}


def test_aliases_do_not_reach_avro():
    assert field_schema(int, alias="F")["name"] == "f"
    assert field_schema(int, validation_alias=AliasChoices(AliasPath("a", 0), "F"))["name"] == "f"
    assert "alias" in refusal(int, validation_alias=AliasPath("a", 0))


@pytest.mark.parametrize("config", [ConfigDict(extra="allow"), ConfigDict(use_enum_values=True)])
def test_configurations_that_lose_values_are_refused(config):
    with pytest.raises(SchemaError, match="M: "):
        avro_schema(create_model("M", __config__=config, f=(int, ...)), "shop.M")


def test_excluded_fields_are_refused():
    assert "exclude" in refusal(int, exclude=True)


@pytest.mark.parametrize(
    "annotation",
    [
        Annotated[str, Sensitive()],
        Annotated[str, Sensitive],
        Annotated[str, Sensitive()] | None,
        list[Annotated[str, Sensitive()]],
        TypeAliasType("Card", Annotated[str, Sensitive()]),
        Annotated[TypeAliasType("Card", Annotated[str, Sensitive()]), Field(max_length=9)],
    ],
    ids=str,
)
def test_sensitive_is_a_property_of_the_field(annotation):
    assert field_schema(annotation)["choreo.sensitive"] is True


def test_sensitive_fields_are_found_in_everything_nested():
    class Address(BaseModel):
        street: Annotated[str, Sensitive()]
        city: str

    class Person(BaseModel):
        home: Address
        works: list[Address] = []
        boss: "Person | None" = None

    schema = avro_schema(Person, "shop.Person")
    assert sensitive_fields(schema) == ["boss", "home.street", "works.street"]
    assert sensitive_fields(avro_schema(Tree, "shop.Tree")) == []
