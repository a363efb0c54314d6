from datetime import date, datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

import fastavro
import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import parse as avro_parse
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, create_model

from choreo.errors import SchemaError
from choreo.schema import avro_schema, canonical, fingerprint, incompatibilities, meaning, text
from choreo.schema.avro import resolve
from tests.effort import part


def decimal(digits, places):
    return Annotated[Decimal, Field(max_digits=digits, decimal_places=places)]


def schema_of(**fields):
    return avro_schema(create_model("M", **fields), "shop.M")


def of(annotation):
    return schema_of(f=(annotation, ...))


@pytest.mark.parametrize(
    ("writer", "reader", "fits"),
    [
        (of(int), of(int), True),
        (of(int), of(float), True),
        (of(float), of(int), False),
        (of(str), of(bytes), True),
        (of(bytes), of(str), True),
        (of(int), of(str), False),
        (of(int), of(int | None), True),
        (of(int | None), of(int), False),
        (of(int | str), of(str | int), True),
        (of(int), of(float | None), True),
        (of(list[int]), of(list[float]), True),
        (of(list[int]), of(list[str]), False),
        (of(dict[str, int]), of(dict[str, int | None]), True),
        (of(int), of(datetime), False),
        (of(datetime), of(int), False),
        (of(str), of(UUID), False),
        (of(UUID), of(str), False),
        (of(date), of(datetime), False),
        (of(decimal(6, 2)), of(decimal(8, 2)), True),
        (of(decimal(8, 2)), of(decimal(6, 2)), False),
        (of(decimal(8, 2)), of(decimal(8, 3)), False),
        (of(decimal(8, 2)), of(bytes), False),
        (schema_of(a=(int, ...)), schema_of(a=(int, ...), b=(int, 1)), True),
        (schema_of(a=(int, ...)), schema_of(a=(int, ...), b=(int, ...)), False),
        (schema_of(a=(int, ...), b=(int, ...)), schema_of(a=(int, ...)), True),
    ],
)
def test_r37_logical_types_count(writer, reader, fits):
    found = incompatibilities(writer, reader)
    assert (not found) is fits
    assert all(each.startswith("M") for each in found)


def test_every_mismatch_is_named():
    class LineA(BaseModel):
        price: decimal(6, 2)
        weight: float

    class LineB(BaseModel):
        price: decimal(6, 3)
        weight: int

    LineA.__name__ = LineB.__name__ = "Line"
    found = incompatibilities(of(list[LineA]), of(list[LineB]))
    assert found == [
        "M.f[].price: written with scale 2, read with scale 3",
        "M.f[].weight: written as double, read as long",
    ]


def test_enums_need_every_symbol_or_a_default():
    def enum(*symbols, **more):
        return {"type": "enum", "name": "E", "symbols": list(symbols), **more}

    assert incompatibilities(enum("A", "B"), enum("B", "A", "C")) == []
    assert incompatibilities(enum("A", "B"), enum("A")) == ["E: the reader does not know B"]
    assert incompatibilities(enum("A", "B"), enum("A", default="A")) == []
    assert incompatibilities(enum("A"), enum("A") | {"name": "F"})
    assert incompatibilities(enum("A"), enum("A") | {"name": "F", "aliases": ["x.E"]}) == []


def test_recursion_ends():
    class Tree(BaseModel):
        value: int
        children: "list[Tree]"

    schema = avro_schema(Tree, "shop.Tree")
    assert incompatibilities(schema, schema) == []


def test_a_field_may_be_found_by_its_alias():
    old = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]}
    new = {"type": "record", "name": "R", "fields": [{"name": "b", "type": "int", "aliases": ["a"]}]}
    assert incompatibilities(old, new) == []


PRIMITIVES = st.sampled_from(["null", "boolean", "int", "long", "float", "double", "string", "bytes"])


def records(types):
    names = st.sampled_from(["a", "b", "c"])
    fields = st.dictionaries(names, types, min_size=1, max_size=3)
    return fields.map(
        lambda each: {
            "type": "record",
            "name": "R",
            "fields": [{"name": name, "type": type_} for name, type_ in each.items()],
        }
    )


def types(inner):
    arrays = inner.map(lambda each: {"type": "array", "items": each})
    maps = inner.map(lambda each: {"type": "map", "values": each})
    return arrays | maps | inner


SIMPLE = st.recursive(PRIMITIVES, types, max_leaves=3)
UNIONS = st.lists(PRIMITIVES, min_size=1, max_size=3, unique=True)


@settings(max_examples=part(50, of=150), deadline=None)
@given(records(SIMPLE | UNIONS), records(SIMPLE | UNIONS))
def test_without_logical_types_it_agrees_with_avros_own(writer, reader):
    oracle = ReaderWriterCompatibilityChecker().get_compatibility(
        reader=avro_parse(text(reader)), writer=avro_parse(text(writer))
    )
    assert (not incompatibilities(writer, reader)) is (oracle.compatibility is SchemaCompatibilityType.compatible)


class TestCanonical:
    def test_known_fingerprints(self):
        # The specification's own example: the Rabin fingerprint of "int".
        assert fingerprint("int").hex() == "8f5c393f1ad57572"

    def test_the_fingerprint_says_nothing_of_logical_types_and_meaning_does(self):
        plain, logical = of(int), of(datetime)
        assert fingerprint(plain) == fingerprint(logical)
        assert canonical(plain) == canonical(logical)
        assert meaning(plain) != meaning(logical)
        assert meaning(of(decimal(6, 2))) != meaning(of(decimal(6, 3)))

    def test_defaults_mean_nothing(self):
        assert meaning(schema_of(a=(int, 1))) == meaning(schema_of(a=(int, ...)))

    def test_the_text_is_the_same_each_time(self):
        schema = of(list[int])
        assert text(schema) == text(of(list[int]))
        assert text(schema).endswith("}\n")

    def test_it_agrees_with_fastavro(self):
        schema = of(int | None)
        parsed = fastavro.schema.to_parsing_canonical_form(fastavro.parse_schema(schema))
        assert canonical(schema) == parsed


@pytest.mark.parametrize(
    "schema",
    [
        None,
        3,
        {},
        {"type": "record"},
        {"type": "record", "name": "R", "fields": [{"name": "a"}]},
        {"type": "record", "name": "R", "fields": [{"name": "a", "type": "Unknown"}]},
        {"type": "array"},
        "nothing",
        {"type": "enum", "name": "E"},
        {"type": "bytes", "logicalType": "decimal"},
    ],
)
def test_what_is_no_schema_is_refused(schema):
    with pytest.raises(SchemaError):
        resolve(schema)


def test_a_schema_that_nests_for_ever_is_refused():
    schema = "int"
    for _ in range(5000):
        schema = {"type": "array", "items": schema}
    with pytest.raises(SchemaError, match="deep"):
        resolve(schema)
