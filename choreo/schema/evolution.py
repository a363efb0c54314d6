"""What a new version of an event breaks: for whom, in which direction, and how to mend it (R37).

A new schema is compared both ways with those that are in use; `compatibility` decides whether one can read another.
`choreo schema` calls this with the schemas that it has collected. Pure.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import NamedTuple

from choreo.errors import SchemaError
from choreo.schema.avro import SchemaNode, fingerprint, resolve
from choreo.schema.avsc import parsed
from choreo.schema.compatibility import Mismatch, MismatchKind, mismatches
from choreo.schema.forms import Schema
from choreo.schema.sensitive import sensitive_fields


class BreakKind(StrEnum):
    """Which way a change breaks."""

    NEW_READS_OLD = "new code cannot read old records"
    OLD_READS_NEW = "old code cannot read new records"
    SHOWN = "new records show what old ones hide"
    ALIKE = "old and new records cannot be told apart"
    UNREADABLE = "what is out there is no Avro schema"
    GONE = "nobody here knows the event any more"


class KnownSchema(NamedTuple):
    """One schema of an event that is in use."""

    event: str  # Avro full name.
    schema: Schema | str  # The schema, or the text of its file.
    who: str  # Who has it: a file, or a service and its version.
    current: bool = True  # Whoever has it runs now, and will read new records; else only its old records are left.


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaBreak:
    """One thing that a change breaks."""

    event: str  # Avro full name.
    path: str  # Dotted path of the field, from the event's class; "" where it is the event as a whole.
    way: BreakKind  # Which way.
    why: str  # What does not fit.
    fix: str  # How to mend it.
    out_there: tuple[str, ...]  # Who has the other schema.

    @property
    def code(self) -> str:
        """Its error code."""
        return "CH128" if self.way is BreakKind.GONE else "CH127"

    def __str__(self) -> str:
        return f"{self.event}: {self.way}: " + (f"{self.path}: {self.why}" if self.path else self.why)


_KEEP = "Leave {field} as it is, and add a field of another name with a default for what is new; or make a new event."
_OLD_NAME = "Give the class at {field} its old name: Avro knows models and enums by theirs."
_MEND = {
    (MismatchKind.FIELD, BreakKind.NEW_READS_OLD): "Give {field} a default.",
    (MismatchKind.FIELD, BreakKind.OLD_READS_NEW): (
        "Keep {field}, and fill it: old code has no default for it. To rename a field, add the new one with a default "
        "and fill both."
    ),
    (MismatchKind.NULL, BreakKind.NEW_READS_OLD): "Let {field} be None still: there are records in which it is.",
    (MismatchKind.SYMBOLS, BreakKind.NEW_READS_OLD): "Keep the members that are gone, and emit them no more.",
    (MismatchKind.SYMBOLS, BreakKind.OLD_READS_NEW): (
        "Leave the enum of {field} as it is, and say what is new in another field, with a default; or make a new event."
    ),
    (MismatchKind.NAME, BreakKind.NEW_READS_OLD): _OLD_NAME,
    (MismatchKind.NAME, BreakKind.OLD_READS_NEW): _OLD_NAME,
}


def breaks(out_there: Iterable[KnownSchema], new: Mapping[str, Schema]) -> list[SchemaBreak]:
    """Return what new schemas break, each thing once, with all who have the other schema.

    The new ones are given by the events' Avro full names; what is out there of other events is passed over.
    """
    merged: dict[SchemaBreak, list[str]] = {}
    for known in out_there:
        for broken in _between(known, new[known.event]) if known.event in new else ():
            merged.setdefault(broken, []).append(known.who)
    return [replace(each, out_there=tuple(who)) for each, who in sorted(merged.items(), key=lambda item: item[0].event)]


def _between(known: KnownSchema, new: Schema) -> list[SchemaBreak]:
    make = partial(SchemaBreak, event=known.event, out_there=())
    try:
        old = parsed(known.schema) if isinstance(known.schema, str) else known.schema
        directions = [(BreakKind.NEW_READS_OLD, old, new)]
        if known.current:
            directions.append((BreakKind.OLD_READS_NEW, new, old))
        found = [
            make(path=each.path, way=way, why=each.why, fix=_fix(way, each))
            for way, writer, reader in directions
            for each in mismatches(writer, reader)
        ]
        if known.current:
            found += [make(path=path, way=way, why=why, fix=fix) for path, way, why, fix in _sensitivity(old, new)]
    except SchemaError as error:
        fix = "Mend it; or write it anew, while no event of it is out there."
        return [make(path="", way=BreakKind.UNREADABLE, why=str(error), fix=fix)]
    return found


def _fix(way: BreakKind, mismatch: Mismatch) -> str:
    field = mismatch.path.replace("[]", "").rpartition(".")[2]
    return _MEND.get((mismatch.kind, way), _KEEP).format(field=field)


def _sensitivity(old: Schema, new: Schema) -> Iterator[tuple[str, BreakKind, str, str]]:
    """Yield the fields that were sensitive and are shown now; or became so, which a fingerprint does not say."""
    node, before, after = resolve(new), sensitive_fields(old), sensitive_fields(new)
    for path in before:
        names = path.split(".")
        if path not in after and _has(node, names):
            why = "it is Sensitive() out there, and is shown and stored from now on"
            fix = f"Annotate {names[-1]} with Sensitive() again."
            yield f"{node.short_name}.{path}", BreakKind.SHOWN, why, fix
    if fingerprint(old) == fingerprint(new):
        for path in sorted({*after} - {*before}):
            why = "it is Sensitive() now, which changes no fingerprint, so old code takes new records for its own"
            fix = f"Add the sensitive field under another name, with a default, in place of {path.rpartition('.')[2]}."
            yield f"{node.short_name}.{path}", BreakKind.ALIKE, why, fix


def _has(node: SchemaNode, names: list[str]) -> bool:
    """Return whether a type has a field under these names, or their aliases, that is not sensitive."""
    if not names or any(_has(inner, names) for inner in node.inner):
        return True
    return any(
        not field.sensitive and _has(field.node, names[1:])
        for field in node.fields
        if names[0] in {field.name, *field.aliases}
    )
