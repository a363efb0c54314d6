"""Events to bytes, by code written for each event type.

The generator of encoders lives here; the schema that it follows comes from `schema`. The codec makes one encoder a
type and keeps it.
"""

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from struct import Struct

from pydantic import BaseModel

from choreo.clock import EPOCH
from choreo.codec.code_writer import INLINE_DEPTH_MAX, CodeWriter
from choreo.codec.wire import EXACT, SMALL, SMALL_LONGS, long_bytes, unscaled
from choreo.errors import SchemaError
from choreo.schema import avro_schema, fingerprint, form_of
from choreo.schema.forms import EPOCH_ORDINAL, Form, branch_of, members, time_micros

MAGIC = b"\xc3\x01"
"""What Avro's single-object encoding begins with."""

Encoder = Callable[[BaseModel], bytes]

_TEMPLATES = {
    "boolean": "(b'\\x01' if {} else b'\\x00')",
    "double": "float8({})",
    "uuid": f"{bytes([36 << 1])!r} + str({{}}).encode()",
    "date": f"long({{}}.toordinal() - {EPOCH_ORDINAL})",
    "time": "long(time_micros({}))",
}


def encoder(model: type[BaseModel], full_name: str = "") -> Encoder:
    """Return a function that encodes events of this class, framed as single objects.

    Args:
        model: An event class, or another complete model.
        full_name: Avro full name; an event class has its own.

    Returns:
        A function of one instance. It raises SchemaError for an instance that was made without validation and holds
        what the schema cannot say.

    Raises:
        SchemaError: If the model has no schema.
    """
    name = full_name or str(getattr(model, "__choreo_type__", "")) or model.__name__
    form = form_of(model, name)
    head = MAGIC + fingerprint(avro_schema(model, name))
    return _Encoding(form, head).compiled()


class _Encoding:
    """The writing of one encoder."""

    def __init__(self, form: Form, head: bytes) -> None:
        self.form = form
        self.source = CodeWriter(
            HEAD=head,
            L=SMALL_LONGS,
            long=long_bytes,
            join=b"".join,
            EPOCH=EPOCH,
            float8=Struct("<d").pack,
            time_micros=time_micros,
            unscaled=unscaled,
            multiply=EXACT.multiply,
            SchemaError=SchemaError,
            branch_of=branch_of,
        )
        # Records that are used in several places, or within themselves, are functions; others stand where they are.
        self.uses = Counter[str]()
        self.functions: dict[str, str] = {}
        self._count(form)

    def _count(self, form: Form) -> None:
        if form.kind == "record":
            self.uses[form.name] += 1
            if self.uses[form.name] > 1:
                return
        for inner in (*form.branches, *((form.items,) if form.items else ()), *(each.form for each in form.fields)):
            self._count(inner)

    def compiled(self) -> Encoder:
        source = self.source
        with source.block("def encode(event):"), source.block("try:"):
            source.line("parts = [HEAD]")
            self._fields(self.form, "event")
            source.line("return join(parts)")
        with source.block("    except SchemaError:"):
            source.line("    raise")
        with source.block("    except Exception as error:"):
            source.line("    raise SchemaError(f'{NAME}: this one cannot be encoded: {error!r}') from error")
        source.constants["NAME"] = self.form.name
        return source.compiled("encode", f"encoder of {self.form.name}")

    def _fields(self, form: Form, value: str) -> None:
        source = self.source
        if not form.fields:
            return
        # The instance's own dict: nothing that a class does to attribute access changes what is written.
        fields = source.name("d")
        source.line(f"{fields} = {value}.__dict__")
        chunk: list[str] = []
        for each in form.fields:
            expression = self._expression(each.form, f"{fields}[{each.name!r}]")
            if expression is not None:
                chunk += expression
                continue
            self._flush(chunk)
            field = source.name("v")
            source.line(f"{field} = {fields}[{each.name!r}]")
            self._statement(each.form, field)
        self._flush(chunk)

    def _flush(self, chunk: list[str]) -> None:
        if len(chunk) == 1:
            self.source.line(f"parts.append({chunk[0]})")
        elif chunk:
            self.source.line(f"parts += ({', '.join(chunk)})")
        chunk.clear()

    def _expression(self, form: Form, value: str) -> list[str] | None:
        """Return the parts of a value that can be said without statements of its own, else None."""
        source = self.source
        if form.kind in _TEMPLATES:
            return [_TEMPLATES[form.kind].format(value)]
        match form.kind:
            case "null":
                return []
            case "long":
                return [self._long(value)]
            case "string":
                return self._sized(f"{value}.encode()")
            case "bytes":
                return self._sized(value)
            case "decimal":
                factor = source.constant(Decimal(10) ** form.scale)
                limit = source.constant(10**form.precision)
                return self._decimal(value, factor, limit)
            case "timestamp":
                delta = source.name("t")
                seconds = f"({delta} := {value} - EPOCH).days * 86400 + {delta}.seconds"
                return [f"long(({seconds}) * 1000000 + {delta}.microseconds)"]
            case "enum":
                table = {member: SMALL_LONGS[at] for at, member in enumerate(members(form))}
                return [f"{source.constant(table)}[{value}]"]
        return None

    def _long(self, value: str) -> str:
        number = self.source.name("n")
        return f"(L[{number}] if 0 <= ({number} := {value}) < {SMALL} else long({number}))"

    def _decimal(self, value: str, factor: str, limit: str) -> list[str]:
        number, exact, digits = self.source.name("n"), self.source.name("x"), self.source.name("s")
        # Positive and as many digits as there may be, which is what decimals mostly are, needs no call.
        quick = f"0 <= ({number} := int({exact} := multiply({value}, {factor}))) < {limit} and {number} == {exact}"
        encoded = f"{number}.to_bytes(({number}.bit_length() >> 3) + 1, 'big')"
        return [
            f"L[len({digits} := ({encoded} if {quick} else unscaled({value}, {factor}, {limit})))]",
            digits,
        ]

    def _sized(self, value: str) -> list[str]:
        text, length = self.source.name("s"), self.source.name("n")
        return [
            f"(L[{length}] if ({length} := len({text} := {value})) < {SMALL} else long({length}))",
            text,
        ]

    def _statement(self, form: Form, value: str) -> None:
        source = self.source
        expression = self._expression(form, value)
        if expression is not None:
            self._flush(expression)
        elif source.depth >= INLINE_DEPTH_MAX or (form.kind == "record" and self.uses[form.name] > 1):
            source.line(f"{self._function(form)}(parts, {value})")
        else:
            source.depth += 1
            self._composite(form, value)
            source.depth -= 1

    def _composite(self, form: Form, value: str) -> None:
        match form.kind:
            case "record":
                self._fields(form, value)
            case "union":
                self._union(form, value)
            case "array":
                self._items(form, value, "item", value)
            case "map":
                self._items(form, value, "key, item", f"{value}.items()")

    def _items(self, form: Form, value: str, names: str, every: str) -> None:
        source = self.source
        loop = {name: source.name(name[0]) for name in names.split(", ")}
        with source.block(f"if {value}:"):
            source.line(f"parts.append({self._long(f'len({value})')})")
            with source.block(f"for {', '.join(loop.values())} in {every}:"):
                if "key" in loop:
                    self._flush(self._sized(f"{loop['key']}.encode()"))
                self._statement(form.inner, loop["item"])
        source.line("parts.append(b'\\x00')")

    def _union(self, form: Form, value: str) -> None:
        source = self.source
        positions = list(enumerate(form.branches))
        # The class decides, exactly: a value that looks like another branch is never written as that one.
        chosen = source.name("k")
        if len(positions) == 2 and any(branch.kind == "null" for _, branch in positions):  # noqa: PLR2004  # Optional.
            null = next(at for at, branch in positions if branch.kind == "null")
            source.line(f"{chosen} = {null} if {value} is None else {1 - null}")
        else:
            table = source.constant({branch.python: at for at, branch in positions})
            source.line(f"{chosen} = {table}.get(type({value}))")
            with source.block(f"if {chosen} is None:"):
                union = source.constant(form)
                source.line(f"{chosen} = {union}.branches.index(branch_of({union}, {value}))")
        for at, branch in positions:
            test = f"{'elif' if at else 'if'} {chosen} == {at}:" if at < len(positions) - 1 else "else:"
            with source.block(test):
                index = repr(SMALL_LONGS[at])
                expression = self._expression(branch, value)
                if expression is None:
                    source.line(f"parts.append({index})")
                    self._statement(branch, value)
                else:
                    self._flush([index, *expression])

    def _function(self, form: Form) -> str:
        source = self.source
        known = self.functions.get(form.name) if form.kind == "record" else None
        if known is not None:
            return known
        name = source.name("write")
        if form.kind == "record":
            self.functions[form.name] = name
        with source.function(f"def {name}(parts, value):"):
            source.line("pass")
            self._composite(form, "value")
        return name
