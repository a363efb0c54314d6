"""Bytes to events, by code written for each pair of writer's schema and event type.

The generator of decoders lives here; whether a pair fits is decided in `schema`. The codec makes one decoder a pair
and keeps it; the tracker, which has schemas and no classes, uses `plain_decoder`.
"""

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from struct import Struct
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ValidationError

from choreo.clock import EPOCH
from choreo.codec.code_writer import INLINE_DEPTH_MAX, CodeWriter
from choreo.codec.wire import EXACT, count_at, long_at, span_at, timestamp_at
from choreo.errors import IncompatibleSchema, SchemaError, UndecodableRecord
from choreo.schema import Schema, avro_schema, form_of, incompatibilities, tightened
from choreo.schema.avro import SchemaNode, resolve
from choreo.schema.compatibility import matching_branch
from choreo.schema.forms import EPOCH_ORDINAL, Form, members

HEAD_BYTES = 10
DAY_MICROSECONDS = 86_400_000_000
HIDDEN = "***"
# What a reader makes of a value is a value of any type, or nothing at all where it has no such field.
Decoder = Callable[[bytes], Any]


def decoder(writer: Schema, model: type[BaseModel], full_name: str = "") -> Decoder:
    """Return a function that decodes what was written with this schema into instances of this class.

    Fields that the class lacks are dropped, and those that the writer lacks get their defaults.

    Args:
        writer: The schema that the records were written with.
        model: An event class, or another complete model.
        full_name: Avro full name; an event class has its own.

    Returns:
        A function of a whole framed value, whose first 10 bytes it takes for granted. It raises UndecodableRecord, and
        nothing else, for bytes that are not what the schema says or that Pydantic refuses.

    Raises:
        IncompatibleSchema: If the two do not fit; the message has a line for each reason.
        SchemaError: If the writer's is no Avro schema.
    """
    name = full_name or str(getattr(model, "__choreo_type__", "")) or model.__name__
    reader = avro_schema(model, name)
    problems = incompatibilities(writer, reader)
    if problems:
        raise IncompatibleSchema("\n".join(problems))
    read = _Decoding(name, hide=False).compiled(resolve(writer), _Target(resolve(reader), form_of(model, name)))
    # Only what an event's own class would let in is let in, and no value gets into a message.
    validate = tightened(model.__pydantic_core_schema__, hide_input=True, decoded=True).validate_python

    def decode(value: bytes) -> Any:
        try:
            return validate(read(value))
        except ValidationError as error:
            raise UndecodableRecord("undecodable", f"{name}: {described(error)}") from None
        except Exception as error:  # Whatever bytes can do, a bad record is only a bad record.
            raise UndecodableRecord("undecodable", f"{name}: {error!r}") from error

    return decode


def plain_decoder(writer: Schema, *, hide_sensitive: bool = True) -> Decoder:
    """Return a function that decodes what was written with this schema into plain dicts, no class needed.

    Enums become their symbols and UUIDs their text; decimals, dates and times are Python's own.

    Args:
        writer: The schema that the records were written with.
        hide_sensitive: Put HIDDEN in the place of sensitive fields, so that nobody can show or store them.

    Returns:
        As `decoder`, for dicts.

    Raises:
        SchemaError: If the writer's is no Avro schema.
    """
    node = resolve(writer)
    read = _Decoding(str(node), hide=hide_sensitive).compiled(node, None)

    def decode(value: bytes) -> Any:
        try:
            return read(value)
        except Exception as error:  # As above.
            raise UndecodableRecord("undecodable", f"{node}: {error!r}") from error

    return decode


def described(error: ValidationError) -> str:
    """Return what Pydantic refused, without the values: they may be sensitive."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in details)


class _Target:
    """What a value becomes: the reader's type, as Avro and Python have it."""

    __slots__ = ("construct", "form", "node")

    def __init__(self, node: SchemaNode, form: Form, *, construct: bool = False) -> None:
        self.node = node
        self.form = form
        # In a union of several the dict alone would not say which model it is for.
        self.construct = construct

    def inner(self) -> "_Target":
        return _Target(self.node.inner[0], self.form.inner)

    def branch(self, written: SchemaNode) -> "_Target":
        """Return the branch that a written value is read as."""
        if self.node.type != "union":
            return self
        chosen = matching_branch(written, self.node)
        if chosen is None:
            raise IncompatibleSchema(f"{written} is read as nothing")
        at = next(at for at, branch in enumerate(self.node.inner) if branch is chosen)
        several = sum(branch.kind != "null" for branch in self.form.branches) > 1
        return _Target(chosen, self.form.branches[at], construct=several)

    def fields(self) -> "dict[str, tuple[str, _Target]]":
        """Return what each written field's name is read as: Pydantic's key, and the type."""
        found: dict[str, tuple[str, _Target]] = {}
        for node, form in zip(self.node.fields, self.form.fields, strict=True):
            for name in (node.name, *node.aliases):
                found.setdefault(name, (form.key, _Target(node.node, form.form)))
        return found


def _milliseconds(number: int) -> datetime:
    return EPOCH + timedelta(milliseconds=number)


def _local(number: int) -> datetime:
    return (EPOCH + timedelta(microseconds=number)).replace(tzinfo=None)


def _time(number: int) -> time:
    if not 0 <= number < DAY_MICROSECONDS:
        raise ValueError(f"{number} microseconds are no time of day")
    seconds, micros = divmod(number, 1_000_000)
    return time(seconds // 3600, seconds // 60 % 60, seconds % 60, micros)


_LOGICAL = {
    "date": "from_ordinal({} + " + str(EPOCH_ORDINAL) + ")",
    "time-micros": "time_of({})",
    "time-millis": "time_of({} * 1000)",
    "timestamp-micros": "EPOCH + timedelta(0, 0, {})",
    "timestamp-millis": "milliseconds({})",
    "local-timestamp-micros": "local({})",
    "local-timestamp-millis": "local({} * 1000)",
}


class _Decoding:
    """The writing of one decoder."""

    def __init__(self, title: str, *, hide: bool) -> None:
        self.title = title
        self.hide = hide
        self.functions: dict[tuple[int, int, bool, bool], str] = {}
        self.source = CodeWriter(
            long_at=long_at,
            timestamp_at=timestamp_at,
            span_at=span_at,
            count_at=count_at,
            float4=Struct("<f").unpack_from,
            float8=Struct("<d").unpack_from,
            multiply=EXACT.multiply,
            from_bytes=int.from_bytes,
            from_ordinal=date.fromordinal,
            time_of=_time,
            milliseconds=_milliseconds,
            local=_local,
            EPOCH=EPOCH,
            timedelta=timedelta,
            UUID=UUID,
            BOOLEANS=(False, True),
            HIDDEN=HIDDEN,
        )

    def compiled(self, node: SchemaNode, target: _Target | None) -> Callable[[bytes], Any]:
        source = self.source
        with source.block("def read(b):"):
            source.line(f"i = {HEAD_BYTES}")
            self._read(node, target, "value", want=True)
            # Slices end where the bytes do, without a word: that shows here, or at the next byte.
            with source.block("if i != len(b):"):
                source.line("raise ValueError(f'it ends at byte {i} of {len(b)}')")
            source.line("return value")
        return source.compiled("read", f"decoder of {self.title}")

    def _read(self, node: SchemaNode, target: _Target | None, into: str, *, want: bool) -> None:
        """Write the reading of one value; without `want` it is only passed over."""
        if node.type == "union":
            self._union(node, target, into, want=want)
            return
        if target is not None:
            target = target.branch(node)
        match node.type:
            case "record" | "array" | "map":
                self._composite(node, target, into, want=want)
            case "enum":
                self._long_into(into)
                self._enum(node, target, into)
            case "string" | "bytes" | "fixed":
                self._bytes(node, target, into, want=want)
            case _:
                self._number(node, target, into)

    def _long_into(self, into: str) -> None:
        source = self.source
        source.line(f"{into} = b[i]")
        with source.block(f"if {into} > 127:"):
            source.line(f"{into}, i = long_at(b, i)")
        with source.block("else:"):
            source.line(f"i += 1; {into} = ({into} >> 1) ^ -({into} & 1)")

    def _number(self, node: SchemaNode, target: _Target | None, into: str) -> None:
        source = self.source
        match node.type:
            case "null":
                source.line(f"{into} = None")
            case "boolean":
                source.line(f"{into} = BOOLEANS[b[i]]; i += 1")
            case "float" | "double":
                size = 4 if node.type == "float" else 8
                source.line(f"{into} = float{size}(b, i)[0]; i += {size}")
            case _ if node.logical.startswith("timestamp"):
                source.line(f"{into}, i = timestamp_at(b, i)")
            case _:
                self._long_into(into)
        if node.logical in _LOGICAL:
            source.line(f"{into} = {_LOGICAL[node.logical].format(into)}")
        elif target is not None and target.form.kind == "double" and node.type in {"int", "long"}:
            source.line(f"{into} = float({into})")

    def _enum(self, node: SchemaNode, target: _Target | None, into: str) -> None:
        source = self.source
        values: tuple[object, ...] = node.symbols
        if target is not None:
            by_name = {member.name: member for member in members(target.form)}
            fallback = by_name.get(target.node.default or "")
            values = tuple(by_name.get(symbol, fallback) for symbol in node.symbols)
        with source.block(f"if {into} < 0:"):
            source.line("raise ValueError('a negative symbol')")
        source.line(f"{into} = {source.constant(values)}[{into}]")

    def _bytes(self, node: SchemaNode, target: _Target | None, into: str, *, want: bool) -> None:
        source = self.source
        end = source.name("j")
        if node.type == "fixed":
            source.line(f"{end} = i + {node.size}")
        else:
            source.line(f"{end} = b[i]")
            # Odd is negative, and beyond 127 there are more bytes to the length.
            with source.block(f"if {end} & 129:"):
                source.line(f"i, {end} = span_at(b, i)")
            with source.block("else:"):
                source.line(f"i += 1; {end} = i + ({end} >> 1)")
        if not want:
            source.line(f"i = {end}; {into} = None")
            return
        if node.logical == "decimal":
            unit, limit = source.constant(Decimal((0, (1,), -node.scale))), source.constant(10**node.precision)
            source.line(f"{into} = from_bytes(b[i:{end}], 'big', signed=True)")
            with source.block(f"if not -{limit} < {into} < {limit}:"):
                source.line("raise ValueError('a decimal of more digits than its type')")
            value = f"multiply({unit}, {into})"
        elif target.form.kind in {"string", "uuid"} if target else node.type == "string":
            value = f"b[i:{end}].decode()"
            if target is not None and target.form.kind == "uuid" and target.form.strict:
                value = f"UUID({value})"
        else:
            value = f"b[i:{end}]"
        source.line(f"{into} = {value}; i = {end}")

    def _union(self, node: SchemaNode, target: _Target | None, into: str, *, want: bool) -> None:
        source = self.source
        chosen = source.name("k")
        self._long_into(chosen)
        for at, branch in enumerate(node.inner):
            with source.block(f"{'elif' if at else 'if'} {chosen} == {at}:"):
                self._read(branch, target, into, want=want)
        with source.block("else:"):
            source.line(f"raise ValueError(f'branch {{{chosen}}} of a union of {len(node.inner)}')")

    def _composite(self, node: SchemaNode, target: _Target | None, into: str, *, want: bool) -> None:
        source = self.source
        if source.depth < INLINE_DEPTH_MAX and node.type != "record":
            source.depth += 1
            self._blocks(node, target, into, want=want)
            source.depth -= 1
        elif source.depth < INLINE_DEPTH_MAX and not _recurs(node):
            source.depth += 1
            self._record(node, target, into, want=want)
            source.depth -= 1
        else:
            source.line(f"{into}, i = {self._function(node, target, want=want)}(b, i)")

    def _function(self, node: SchemaNode, target: _Target | None, *, want: bool) -> str:
        source = self.source
        construct = target is not None and target.construct
        key = (id(node), id(target.form) if target else 0, want, construct)
        if key in self.functions:
            return self.functions[key]
        name = self.functions[key] = source.name("read")
        with source.function(f"def {name}(b, i):"):
            if node.type == "record":
                self._record(node, target, "value", want=want)
            else:
                self._blocks(node, target, "value", want=want)
            source.line("return value, i")
        return name

    def _record(self, node: SchemaNode, target: _Target | None, into: str, *, want: bool) -> None:
        source = self.source
        wanted = target.fields() if target is not None else {}
        pairs = []
        for each in node.fields:
            value = source.name("v")
            key, inner = wanted.get(each.name, (each.name, None))
            keep = want and (target is None or each.name in wanted)
            hidden = keep and self.hide and each.sensitive
            self._read(each.node, inner, value, want=keep and not hidden)
            if keep:
                pairs.append(f"{key!r}: {'HIDDEN' if hidden else value}")
        made = f"{{{', '.join(pairs)}}}" if want else "None"
        if target is not None and target.construct and want:
            model = target.form.python
            made = f"{source.constant(model.__pydantic_validator__.validate_python)}({made})"
        source.line(f"{into} = {made}")

    def _blocks(self, node: SchemaNode, target: _Target | None, into: str, *, want: bool) -> None:
        source = self.source
        held = node.inner[0]
        if node.type == "array" and not _takes_room(held, ()):
            raise SchemaError(f"{self.title}: items of {held} have no bytes to count")
        inner = target.inner() if target is not None else None
        result, count, item, key = source.name("r"), source.name("n"), source.name("v"), source.name("m")
        source.line(f"{result} = {'[]' if node.type == 'array' else '{}'}")
        source.line(f"{count} = b[i]; i += 1")
        with source.block(f"while {count}:"):
            with source.block(f"if {count} & 129:"):
                source.line(f"{count}, i = count_at(b, i - 1)")
            with source.block("else:"):
                source.line(f"{count} >>= 1")
            with source.block(f"for _ in range({count}):"):
                if node.type == "map":
                    self._bytes(SchemaNode("string"), None, key, want=want)
                self._read(held, inner, item, want=want)
                if want:
                    source.line(f"{result}.append({item})" if node.type == "array" else f"{result}[{key}] = {item}")
            source.line(f"{count} = b[i]; i += 1")
        source.line(f"{into} = {result}")


def _recurs(record: SchemaNode) -> bool:
    """Tell whether a record is within itself."""
    seen: set[int] = set()
    below = [each.node for each in record.fields]
    while below:
        node = below.pop()
        if node is record:
            return True
        if id(node) not in seen:
            seen.add(id(node))
            below += node.inner
            below += [each.node for each in node.fields]
    return False


def _takes_room(node: SchemaNode, above: tuple[SchemaNode, ...]) -> bool:
    """Tell whether every value takes at least one byte."""
    if any(node is each for each in above):
        return False
    if node.type == "record":
        return any(_takes_room(each.node, (*above, node)) for each in node.fields)
    return node.type != "null" and (node.type != "fixed" or node.size > 0)
