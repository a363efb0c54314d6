"""Whether what one schema wrote can be read as another.

Avro's schema resolution lives here, stricter than the specification where that is silent: logical types, scale and
precision count. The codec asks before it reads a foreign writer's records, and `schema check` before a deploy.
"""

from collections.abc import Iterator

from choreo.schema.form import Schema
from choreo.schema.named import Node, resolve

_PROMOTIONS = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}


def incompatibilities(writer: Schema, reader: Schema) -> list[str]:
    """Return why records of the writer's schema cannot be read as the reader's; nothing if they can.

    Args:
        writer: The schema that the records were written with.
        reader: The schema of whoever reads them.

    Returns:
        One `Record.field: reason` for each mismatch.

    Raises:
        SchemaError: If one of the two is no Avro schema.
    """
    written, read = resolve(writer), resolve(reader)
    return list(_compare(written, read, read.short_name or str(read), set()))


def matching_branch(written: Node, read: Node) -> Node | None:
    """Return the branch of the reader's union that a written value is read as.

    The same type first, then a record or an enum of the same short name, then one that Avro promotes to.
    """
    for fits in (_is_same, _is_namesake, _is_promoted):
        for branch in read.inner:
            if fits(written, branch) and not any(_compare(written, branch, "", set())):
                return branch
    return None


def _compare(written: Node, read: Node, path: str, under_way: set[tuple[int, int]]) -> Iterator[str]:
    if written.type == "union":
        for branch in written.inner:
            yield from _compare(branch, read, path, under_way)
        return
    if read.type == "union":
        yield from _union(written, read, path, under_way)
        return
    if written.type != read.type or written.logical != read.logical:
        if not _is_promoted(written, read):
            yield f"{path}: written as {written}, read as {read}"
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


def _union(written: Node, read: Node, path: str, under_way: set[tuple[int, int]]) -> Iterator[str]:
    candidates = [branch for branch in read.inner if _is_same(written, branch) or _is_namesake(written, branch)]
    if candidates:
        # There can be one only, so its own reasons say more than that no branch fits.
        yield from _compare(written, candidates[0], path, under_way)
    elif not any(_is_promoted(written, branch) for branch in read.inner):
        yield f"{path}: written as {written}, read as {' or '.join(map(str, read.inner)) or 'nothing'}"


def _is_same(written: Node, branch: Node) -> bool:
    return (written.type, written.logical, written.name) == (branch.type, branch.logical, branch.name)


def _is_namesake(written: Node, branch: Node) -> bool:
    return written.type == branch.type and written.logical == branch.logical and _same_name(written, branch)


def _is_promoted(written: Node, branch: Node) -> bool:
    return not written.logical and not branch.logical and branch.type in _PROMOTIONS.get(written.type, ())


def _same_name(written: Node, read: Node) -> bool:
    if written.short_name == read.short_name:
        return True
    return any(alias.rpartition(".")[2] == written.short_name for alias in read.aliases)


def _named(written: Node, read: Node, path: str, under_way: set[tuple[int, int]]) -> Iterator[str]:
    if not _same_name(written, read):
        yield f"{path}: written as {written.name}, read as {read.name}"
    elif written.type == "enum":
        unknown = [symbol for symbol in written.symbols if symbol not in read.symbols]
        if unknown and read.default is None:
            yield f"{path}: the reader does not know {', '.join(unknown)}"
    elif written.type == "fixed":
        if written.size != read.size:
            yield f"{path}: written with {written.size} bytes, read with {read.size}"
    else:
        by_name = {each.name: each for each in written.fields}
        for each in read.fields:
            found = next((by_name[name] for name in (each.name, *each.aliases) if name in by_name), None)
            place = f"{path}.{each.name}" if path else each.name
            if found is not None:
                yield from _compare(found.node, each.node, place, under_way)
            elif not each.has_default:
                yield f"{place}: the writer has no such field, and the reader has no default for it"


def _decimal(written: Node, read: Node, path: str) -> Iterator[str]:
    if written.scale != read.scale:
        yield f"{path}: written with scale {written.scale}, read with scale {read.scale}"
    if written.precision > read.precision:
        yield f"{path}: written with up to {written.precision} digits, read with up to {read.precision}"
