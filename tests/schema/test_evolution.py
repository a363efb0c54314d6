"""SEMANTICS 37: a new version of an event is read by old code, and reads what old code wrote."""

import copy
import io
import math
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Annotated
from uuid import UUID

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, create_model

from choreo.schema import Sensitive, avro_schema
from choreo.schema.evolution import BreakKind, KnownSchema, breaks
from tests.effort import part

EVENT = "shop.E"
NEW_READS_OLD, OLD_READS_NEW = BreakKind.NEW_READS_OLD, BreakKind.OLD_READS_NEW


def event(**fields):
    return avro_schema(create_model("E", **fields), EVENT)


def of(annotation, default=...):
    return event(f=(annotation, default))


def told(old, new, *, current=True):
    """Return which way each field breaks between two versions of the event."""
    found = breaks([KnownSchema(EVENT, old, "v1", current)], {EVENT: new})
    assert all(each.fix and each.why for each in found)
    return {(each.way, each.path) for each in found}


def decimal(digits, places):
    return Annotated[Decimal, Field(max_digits=digits, decimal_places=places)]


def an_enum(*members):
    return Enum("Size", members)


def a_line(**fields):
    return create_model("Line", **fields)


BOTH = {(NEW_READS_OLD, "E.f"), (OLD_READS_NEW, "E.f")}


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        (of(int), event(f=(int, ...), g=(int, 1)), set()),
        (of(int), event(f=(int, ...), g=(int, ...)), {(NEW_READS_OLD, "E.g")}),
        (event(f=(int, ...), g=(int, 1)), of(int), set()),
        (event(f=(int, ...), g=(int, ...)), of(int), {(OLD_READS_NEW, "E.g")}),
        (event(f=(int, ...), g=(int, ...)), event(g=(int, ...), f=(int, ...)), set()),
        (of(int), event(g=(int, ...)), {(NEW_READS_OLD, "E.g"), (OLD_READS_NEW, "E.f")}),
        (of(int, 1), of(int), set()),
        (of(int), of(int | None), {(OLD_READS_NEW, "E.f")}),
        (of(int | None), of(int), {(NEW_READS_OLD, "E.f")}),
        (of(int), of(float), {(OLD_READS_NEW, "E.f")}),
        (of(int), of(int | str), {(OLD_READS_NEW, "E.f")}),
        (of(int | str), of(str | int), set()),
        (of(str), of(bytes), {(OLD_READS_NEW, "E.f")}),
        (of(bytes), of(str), {(NEW_READS_OLD, "E.f")}),
        (of(int), of(datetime), BOTH),
        (of(date), of(datetime), BOTH),
        (of(time), of(int), BOTH),
        (of(str), of(UUID), BOTH),
        (of(decimal(6, 2)), of(decimal(8, 2)), {(OLD_READS_NEW, "E.f")}),
        (of(decimal(8, 2)), of(decimal(6, 2)), {(NEW_READS_OLD, "E.f")}),
        (of(decimal(8, 2)), of(decimal(8, 3)), BOTH),
        (of(decimal(8, 2)), of(float), BOTH),
        (of(an_enum("S", "M")), of(an_enum("M", "S")), set()),
        (of(an_enum("S", "M")), of(an_enum("S", "M", "L")), {(OLD_READS_NEW, "E.f")}),
        (of(an_enum("S", "M")), of(an_enum("S")), {(NEW_READS_OLD, "E.f")}),
        (of(list[a_line(n=(int, ...))]), of(list[a_line(n=(int, ...), sku=(str, ""))]), set()),
        (
            of(list[a_line(n=(int, ...))]),
            of(list[a_line(n=(int, ...), sku=(str, ...))]),
            {(NEW_READS_OLD, "E.f[].sku")},
        ),
        (
            of(dict[str, a_line(n=(int, ...))]),
            of(dict[str, a_line(n=(bool, ...))]),
            {(NEW_READS_OLD, "E.f[].n"), (OLD_READS_NEW, "E.f[].n")},
        ),
    ],
)
def test_r37_a_change_is_told_with_the_way_it_breaks(old, new, wrong):
    assert told(old, new) == wrong


def test_r37_a_recursive_model_is_compared_to_its_bottom():
    class Tree(BaseModel):
        value: int
        children: "list[Tree]" = []

    def node(value):
        tree = avro_schema(Tree, "shop.Tree")
        tree["fields"][0]["type"] = value
        return {"type": "record", "name": "E", "namespace": "shop", "fields": [{"name": "root", "type": tree}]}

    assert told(node("long"), node("long")) == set()
    assert told(node("long"), node("string")) == {(NEW_READS_OLD, "E.root.value"), (OLD_READS_NEW, "E.root.value")}


def record(*fields, **more):
    return {"type": "record", "name": "E", "namespace": "shop", "fields": list(fields), **more}


def test_r37_an_alias_helps_new_code_and_not_the_old():
    old = record({"name": "a", "type": "int"})
    new = record({"name": "b", "type": "int", "aliases": ["a"]})
    assert told(old, new) == {(OLD_READS_NEW, "E.a")}
    defaulted = record({"name": "a", "type": "int", "default": 0})
    assert told(defaulted, new) == set()


def test_r37_an_alias_does_not_take_what_another_field_has():
    old = record({"name": "a", "type": "int"})
    new = record({"name": "b", "type": "int", "aliases": ["a"]}, {"name": "a", "type": "int"})
    assert told(old, new) == {(NEW_READS_OLD, "E.b")}


def test_r37_a_nested_model_keeps_its_name():
    old, new = (of(create_model(name, n=(int, ...))) for name in ("Line", "Row"))
    assert told(old, new) == BOTH
    new["fields"][0]["type"]["aliases"] = ["Line"]
    assert told(old, new) == {(OLD_READS_NEW, "E.f")}


def test_r37_an_enum_s_default_stands_in_for_members_it_does_not_know():
    def size(*symbols, **more):
        return record({"name": "f", "type": {"type": "enum", "name": "Size", "symbols": list(symbols), **more}})

    assert told(size("S", "M", default="S"), size("S", "M", "L", default="S")) == set()
    assert told(size("S", "M", default="S"), size("S", "M", "L")) == set()
    assert told(size("S", "M"), size("S", "M", "L", default="S")) == {(OLD_READS_NEW, "E.f")}
    assert told(size("S", "M", "L"), size("S", "M", default="S")) == set()


def test_r37_of_two_models_of_one_short_name_each_is_read_as_itself():
    def line(namespace, *fields):
        return {"type": "record", "name": "Line", "namespace": namespace, "fields": list(fields)}

    one, other = line("a", {"name": "n", "type": "int"}), line("b", {"name": "text", "type": "string"})
    old, new = record({"name": "f", "type": [one, other]}), record({"name": "f", "type": [other, one]})
    assert told(old, new) == set()


def test_records_of_versions_that_are_gone_need_only_be_read():
    old, new = of(decimal(8, 2)), event(f=(decimal(8, 2), ...), g=(int, ...))
    assert told(old, of(decimal(9, 2)), current=False) == set()
    assert told(old, new, current=False) == {(NEW_READS_OLD, "E.g")}


class TestSensitive:
    HIDDEN = Annotated[str, Sensitive()]

    def test_what_was_hidden_stays_hidden(self):
        found = breaks([KnownSchema(EVENT, event(card=(self.HIDDEN, ...)), "v1")], {EVENT: event(card=(str, ...))})
        (one,) = found
        assert (one.way, one.path) == (BreakKind.SHOWN, "E.card")
        assert "Sensitive()" in one.fix

    def test_it_stays_hidden_within_lists_and_unions(self):
        def lines(number):
            return event(lines=(list[create_model("Line", number=number) | str], ...), n=(int, 0))

        assert told(lines((self.HIDDEN, ...)), lines((str, ...))) == {(BreakKind.SHOWN, "E.lines.number")}

    def test_a_field_that_is_gone_shows_nothing(self):
        assert told(event(n=(int, ...), card=(self.HIDDEN, "")), event(n=(int, ...))) == set()

    def test_the_mark_may_move_outwards_and_not_inwards(self):
        inner = event(card=(create_model("Card", number=(self.HIDDEN, ...), bank=(str, ...)), ...), n=(int, 0))
        outer = event(
            card=(Annotated[create_model("Card", number=(str, ...), bank=(str, ...)), Sensitive()], ...), m=(int, 0)
        )
        assert told(inner, outer) == set()
        assert told(outer, inner) == {(BreakKind.SHOWN, "E.card")}

    def test_a_model_that_nests_itself_is_followed(self):
        class Tree(BaseModel):
            secret: Annotated[str, Sensitive()]
            children: "list[Tree]" = []

        old, more = of(Tree), event(f=(Tree, ...), n=(int, 0))
        assert told(old, more) == set()
        assert told(old, copy.deepcopy(old)) == set()

    def test_a_rename_by_alias_shows_it_too(self):
        old = record({"name": "card", "type": "string", "default": "", "choreo.sensitive": True})
        new = record({"name": "number", "type": "string", "aliases": ["card"]})
        assert told(old, new) == {(BreakKind.SHOWN, "E.card")}

    def test_the_mark_alone_changes_no_fingerprint(self):
        shown, hidden = event(card=(str, ...)), event(card=(self.HIDDEN, ...))
        assert told(shown, hidden) == {(BreakKind.ALIKE, "E.card")}
        assert told(shown, event(card=(self.HIDDEN, ...), n=(int, 0))) == set()


def test_one_thing_that_breaks_several_is_told_once_with_all_of_them():
    old, older, new = of(int), event(f=(int, ...), g=(int, 0)), of(str)
    found = breaks([KnownSchema(EVENT, old, "v2"), KnownSchema(EVENT, older, "v1", current=False)], {EVENT: new})
    assert {each.way: each.out_there for each in found} == {NEW_READS_OLD: ("v2", "v1"), OLD_READS_NEW: ("v2",)}


def test_what_is_out_there_may_be_no_schema():
    found = breaks([KnownSchema(EVENT, "{", "a.avsc"), KnownSchema(EVENT, {"type": "record"}, "v1")], {EVENT: of(int)})
    assert [each.way for each in found] == [BreakKind.UNREADABLE, BreakKind.UNREADABLE]
    assert "not JSON" in found[0].why


def test_of_other_events_nothing_is_told():
    assert breaks([KnownSchema("shop.Other", of(int), "v1")], {EVENT: of(str)}) == []


# What we call compatible, fastavro reads, both ways.

LOGICAL = {
    "date": ("int", st.dates()),
    "time-micros": ("long", st.times()),
    "timestamp-micros": (
        "long",
        st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(lambda each: each.replace(tzinfo=UTC)),  # noqa: DTZ001
    ),
    "uuid": ("string", st.uuids()),
}
PLAIN = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "string": st.text(max_size=5),
    "bytes": st.binary(max_size=5),
}
DEFAULTS = {"boolean": False, "int": 0, "long": 0, "float": 0.5, "double": 0.5, "string": "x", "null": None}
NAMES = ["a", "b", "c", "d"]
SYMBOLS = ["S", "M", "L", "XL"]
FAMILIES = [["string", "bytes"], ["int", "long", "float", "double"]]
CHANGED = {"record", "enum"}


class Schemas:
    """Draws schemas of an event, and other versions of them."""

    def __init__(self, draw):
        self.draw = draw
        self.count = 0

    def event(self):
        return record(*(self.field(name, depth=2) for name in self.draw(st.lists(st.sampled_from(NAMES), unique=True))))

    def field(self, name, depth):
        field = {"name": name, "type": self.type(depth)}
        return self.defaulted(field) if self.draw(st.booleans()) else field

    def defaulted(self, field):
        kind = field["type"][0] if isinstance(field["type"], list) else field["type"]
        if isinstance(kind, str) and kind in DEFAULTS:
            field["default"] = DEFAULTS[kind]
        elif isinstance(kind, dict) and kind["type"] in {"array", "map"}:
            field["default"] = [] if kind["type"] == "array" else {}
        elif isinstance(kind, dict) and kind["type"] == "enum":
            field["default"] = kind["symbols"][0]
        return field

    def type(self, depth):
        kinds = ["plain", "logical", "decimal", "enum"]
        match self.draw(st.sampled_from(kinds + ["array", "map", "optional", "union", "record", "tree"] * (depth > 0))):
            case "plain":
                return self.draw(st.sampled_from(sorted(PLAIN)))
            case "logical":
                logical = self.draw(st.sampled_from(sorted(LOGICAL)))
                return {"type": LOGICAL[logical][0], "logicalType": logical}
            case "decimal":
                precision = self.draw(st.integers(1, 6))
                scale = self.draw(st.integers(0, precision))
                return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}
            case "enum":
                symbols = self.draw(st.lists(st.sampled_from(SYMBOLS), min_size=1, unique=True))
                default = {"default": symbols[0]} if self.draw(st.booleans()) else {}
                return {"type": "enum", "name": self.name(), "symbols": symbols, **default}
            case "array":
                return {"type": "array", "items": self.type(depth - 1)}
            case "map":
                return {"type": "map", "values": self.type(depth - 1)}
            case "optional":
                inner = self.type(0)
                return [inner, "null"] if inner != "null" else "null"
            case "union":
                # fastavro reads bytes as the first branch that Avro promotes them to, though there is one of their own.
                kinds = st.sampled_from(sorted(PLAIN.keys() - {"bytes"}))
                return self.draw(st.lists(kinds, min_size=1, unique=True))
            case "record":
                names = self.draw(st.lists(st.sampled_from(NAMES), unique=True))
                return record(*(self.field(name, depth - 1) for name in names), name=self.name())
        name = self.name()
        children = {"name": "children", "type": {"type": "array", "items": name}, "default": []}
        return record({"name": "value", "type": self.type(0)}, children, name=name)

    def name(self):
        self.count += 1
        return f"N{self.count}"

    def version(self, schema):
        """Return another version of a schema, a few changes away."""
        new = copy.deepcopy(schema)
        for _ in range(self.draw(st.integers(1, 3))):
            self.change(
                self.draw(
                    st.sampled_from([each for each in _nodes(new) if each["type"] in CHANGED or "precision" in each])
                )
            )
        return new

    def change(self, node):
        if self.draw(st.integers(0, 5)) == 5:
            self.change_name(node)
        elif node["type"] == "record":
            self.change_record(node)
        elif node["type"] == "enum":
            if self.draw(st.booleans()):
                left = [each for each in SYMBOLS if each not in node["symbols"]]
                node["symbols"] += left[:1]
            elif "default" in node:
                del node["default"]
            else:
                node["default"] = node["symbols"][0]
        else:
            node["precision"] += self.draw(st.integers(0, 2))
            node["scale"] = self.draw(st.sampled_from([node["scale"], 0]))

    def change_name(self, node):
        old = node.get("name", "E")
        if old != "E":
            node["aliases"] = [old] * self.draw(st.booleans())
            node["name"] = self.name()
            for each in node.get("fields", ()):
                if isinstance(each["type"], dict) and each["type"].get("items") == old:
                    each["type"]["items"] = node["name"]

    def change_record(self, node):
        fields = node["fields"]
        free = [name for name in NAMES if name not in {each["name"] for each in fields}]
        changes = ["shuffle", *["add"] * bool(free), *["drop", "retype", "promote", "default", "rename"] * bool(fields)]
        change = self.draw(st.sampled_from(changes))
        if change == "shuffle":
            fields[:] = (
                [fields[at] for at in self.draw(st.permutations(range(len(fields))))] if self.fixed(node) else fields
            )
        elif change == "add":
            fields.append(self.field(free[0], 1))
        else:
            at = self.draw(st.integers(0, len(fields) - 1))
            field = fields[at]
            if change == "drop":
                del fields[at]
            elif change == "retype":
                fields[at] = self.field(field["name"], 1)
            elif change == "promote" and isinstance(field["type"], str):
                family = next((each for each in FAMILIES if field["type"] in each), [field["type"]])
                fields[at] = {"name": field["name"], "type": self.draw(st.sampled_from(family))}
            elif change == "default":
                fields[at] = self.defaulted(field) if "default" not in field else {**field}
                if "default" in field and self.draw(st.booleans()):
                    del fields[at]["default"]
            elif free:
                field["aliases"], field["name"] = [field["name"]], free[0]

    @staticmethod
    def fixed(node):
        # A name is defined where it is first met, so a record that is referred to stays in front.
        return not any(isinstance(each["type"], dict) and each["name"] == "children" for each in node["fields"])


def _nodes(schema):
    if isinstance(schema, list):
        return [each for inner in schema for each in _nodes(inner)]
    if isinstance(schema, str):
        return []
    inner = [schema[key] for key in ("items", "values") if key in schema]
    inner += [each["type"] for each in schema.get("fields", ())]
    return [schema, *(each for one in inner for each in _nodes(one))]


def values(schema, named=None, depth=3):
    """Return a strategy of values of a schema."""
    named = {} if named is None else named
    if isinstance(schema, list):
        return st.one_of([values(each, named, depth) for each in schema])
    if isinstance(schema, str):
        return PLAIN[schema] if schema in PLAIN else st.deferred(lambda: values(named[schema], named, depth - 1))
    if "precision" in schema:
        limit = 10 ** schema["precision"] - 1
        return st.integers(-limit, limit).map(lambda each: Decimal(each).scaleb(-schema["scale"]))
    if "logicalType" in schema:
        return LOGICAL[schema["logicalType"]][1]
    match schema["type"]:
        case "array":
            return st.lists(values(schema["items"], named, depth), max_size=2) if depth > 0 else st.just([])
        case "map":
            return st.dictionaries(st.text(max_size=2), values(schema["values"], named, depth), max_size=2)
        case "enum":
            return st.sampled_from(schema["symbols"])
    named[schema["name"]] = schema
    return st.fixed_dictionaries({each["name"]: values(each["type"], named, depth) for each in schema["fields"]})


def transferred(value, writer, reader):
    file = io.BytesIO()
    fastavro.schemaless_writer(file, writer, value)
    file.seek(0)
    return fastavro.schemaless_reader(file, writer, reader)


def agree(written, read):
    """Tell whether what both sides have a name for came over, as far as Avro's promotions and defaults let it."""
    if isinstance(written, dict):
        return all(agree(value, read[key]) for key, value in written.items() if key in read)
    if isinstance(written, list):
        return len(written) == len(read) and all(map(agree, written, read))
    if isinstance(read, float):
        return math.isclose(written, read, rel_tol=1e-6)
    return read == written or (isinstance(written, str) and (read in SYMBOLS or read == written.encode()))


@settings(max_examples=part(60, of=200), deadline=None)
@given(st.data())
def test_r37_what_is_called_compatible_fastavro_reads_both_ways(data):
    draw = Schemas(data.draw)
    old = draw.event()
    new = draw.version(old)
    found = {each.way for each in breaks([KnownSchema(EVENT, old, "v1")], {EVENT: new})}
    for way, writer, reader in ((NEW_READS_OLD, old, new), (OLD_READS_NEW, new, old)):
        if way not in found:
            value = data.draw(values(writer))
            assert agree(value, transferred(value, writer, reader))
