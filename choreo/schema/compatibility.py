"""Whether what one schema wrote can be read as another.

Avro's schema resolution lives here, stricter than the specification where that is silent: logical types, scale and
precision count. The codec asks before it reads a foreign writer's records, and `evolution` for `schema check` before a
deploy.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from choreo.schema.avro import SchemaField, SchemaNode, resolve
from choreo.schema.forms import Schema

_PROMOTIONS = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}


class MismatchKind(StrEnum):
    """What keeps a value from being read."""

    TYPE = "type"
    NULL = "null"
    NAME = "name"
    SYMBOLS = "symbols"
    SIZE = "size"
    DIGITS = "digits"
    FIELD = "field"
    TEXT = "text"  # It can be read as long as its bytes happen to be text: Avro allows that, and so does the codec.


class Mismatch(NamedTuple):
    """One reason why what a schema wrote cannot be read as another."""

    kind: MismatchKind
    path: str  # Dotted path from the record; `[]` stands for an item of an array or a map.
    why: str  # What was written, and what the reader wants.

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


def mismatches(writer: Schema, reader: Schema) -> list[Mismatch]:
    """Return what a reader may stumble over in records of a writer's schema; nothing if all of them can be read.

    Raises:
        SchemaError: If one of the two is no Avro schema.
    """
    written, read = resolve(writer), resolve(reader)
    return list(_compare(written, read, read.short_name or str(read), set()))


def incompatibilities(writer: Schema, reader: Schema) -> list[str]:
    """Return a `Record.field: reason` for each mismatch that bars a reader from records; raises as `mismatches`."""
    return [str(each) for each in _barring(mismatches(writer, reader))]


def matching_branch(written: SchemaNode, read: SchemaNode) -> SchemaNode | None:
    """Return the branch of the reader's union that a written value is read as.

    The same type first, then a record or an enum of the same short name, then one that Avro promotes to.
    """
    candidates = (branch for fits in _FITS for branch in read.inner if fits(written, branch))
    return next((each for each in candidates if not any(_barring(_compare(written, each, "", set())))), None)


def _barring(found: Iterable[Mismatch]) -> Iterator[Mismatch]:
    return (each for each in found if each.kind is not MismatchKind.TEXT)


def _compare(written: SchemaNode, read: SchemaNode, path: str, under_way: set[tuple[int, int]]) -> Iterator[Mismatch]:
    if written.type == "union":
        for branch in written.inner:
            yield from _compare(branch, read, path, under_way)
        return
    if read.type == "union":
        yield from _union(written, read, path, under_way)
        return
    if written.type != read.type or written.logical != read.logical:
        yield from _promotion(written, read, path)
        return
    # A pair that is being compared further up fits if the rest does.
    pair = (id(written), id(read))
    if pair in under_way:
        return
    under_way.add(pair)
    if written.type in {"array", "map"}:
        yield from _compare(written.inner[0], read.inner[0], path + "[]", under_way)
    elif written.name:
        yield from _named(written, read, path, under_way)
    if written.logical == "decimal":
        yield from _decimal(written, read, path)


def _union(written: SchemaNode, read: SchemaNode, path: str, under_way: set[tuple[int, int]]) -> Iterator[Mismatch]:
    branch = next((branch for fits in _FITS for branch in read.inner if fits(written, branch)), None)
    if branch is not None:
        # Its own reasons say more than that no branch fits.
        yield from _compare(written, branch, path, under_way)
    else:
        yield _other_type(written, read.inner, path)


def _promotion(written: SchemaNode, read: SchemaNode, path: str) -> Iterator[Mismatch]:
    if not _is_promoted(written, read):
        yield _other_type(written, [read], path)
    elif read.type == "string":
        yield Mismatch(MismatchKind.TEXT, path, "written as bytes, read as string, and bytes need not be text")


def _other_type(written: SchemaNode, read: list[SchemaNode], path: str) -> Mismatch:
    kind = MismatchKind.NULL if written.type == "null" else MismatchKind.TYPE
    return Mismatch(kind, path, f"written as {written}, read as {' or '.join(map(str, read)) or 'nothing'}")


def _is_same(written: SchemaNode, branch: SchemaNode) -> bool:
    return (written.type, written.logical, written.name) == (branch.type, branch.logical, branch.name)


def _is_namesake(written: SchemaNode, branch: SchemaNode) -> bool:
    return written.type == branch.type and written.logical == branch.logical and _same_name(written, branch)


def _is_promoted(written: SchemaNode, branch: SchemaNode) -> bool:
    return not written.logical and not branch.logical and branch.type in _PROMOTIONS.get(written.type, ())


_FITS = (_is_same, _is_namesake, _is_promoted)


def _same_name(written: SchemaNode, read: SchemaNode) -> bool:
    if written.short_name == read.short_name:
        return True
    return any(alias.rpartition(".")[2] == written.short_name for alias in read.aliases)


def _named(written: SchemaNode, read: SchemaNode, path: str, under_way: set[tuple[int, int]]) -> Iterator[Mismatch]:
    if not _same_name(written, read):
        yield Mismatch(MismatchKind.NAME, path, f"written as {written.name}, read as {read.name}")
    elif written.type == "enum":
        unknown = [symbol for symbol in written.symbols if symbol not in read.symbols]
        if unknown and read.default not in read.symbols:
            yield Mismatch(MismatchKind.SYMBOLS, path, f"the reader does not know {', '.join(unknown)}")
    elif written.type == "fixed":
        if written.size != read.size:
            yield Mismatch(MismatchKind.SIZE, path, f"written with {written.size} bytes, read with {read.size}")
    else:
        by_name = {each.name: each for each in written.fields}
        own = {each.name for each in read.fields}
        for field in read.fields:
            source = _field(field, by_name, own)
            place = f"{path}.{field.name}" if path else field.name
            if source is not None:
                yield from _compare(source.node, field.node, place, under_way)
            elif not field.has_default:
                why = "the writer has no such field, and the reader has no default for it"
                yield Mismatch(MismatchKind.FIELD, place, why)


def _field(read: SchemaField, written: dict[str, SchemaField], own: set[str]) -> SchemaField | None:
    """Return the written field that one is read from: of its name, or of an alias that no field has for a name."""
    names = (read.name, *(alias for alias in read.aliases if alias not in own))
    return next((written[name] for name in names if name in written), None)


def _decimal(written: SchemaNode, read: SchemaNode, path: str) -> Iterator[Mismatch]:
    if written.scale != read.scale:
        yield Mismatch(MismatchKind.DIGITS, path, f"written with scale {written.scale}, read with scale {read.scale}")
    if written.precision > read.precision:
        why = f"written with up to {written.precision} digits, read with up to {read.precision}"
        yield Mismatch(MismatchKind.DIGITS, path, why)
