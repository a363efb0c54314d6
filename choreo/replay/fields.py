"""Two events of one type, field by field.

What differs between two bodies, in words that may be shown, lives here; sensitive fields are compared and never shown.
`comparison` asks. Pure.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import BaseModel

from choreo.event import Event
from choreo.schema import avro_schema, sensitive_fields
from choreo.tracker.view import MASK

CLOCK_SLACK = timedelta(seconds=1)
"""A handler's own now is recorded only to when its step was done: times that are nearer than this are the same."""
CHARS_MAX = 200
NOTHING = "nothing"


class FieldChange(NamedTuple):
    """One field that differs.

    Attributes:
        path: Such as `lines[0].quantity`.
        then: Its recorded value, as text; `***` for a sensitive one.
        now: What today's code makes of it, likewise.
    """

    path: str
    then: str
    now: str

    def __str__(self) -> str:
        """Return it on one line."""
        return f"{self.path}: {self.then} → {self.now}"


def changes(then: Event, now: Event, *, masked: bool) -> list[FieldChange]:
    """Return the fields in which two events of one type differ.

    Args:
        then: What is recorded.
        now: What today's code emits.
        masked: The recorded one's sensitive fields are stand-ins, and say nothing.
    """
    kind = type(now)
    hidden = frozenset(sensitive_fields(avro_schema(kind, kind.__choreo_type__)))
    return [
        FieldChange(path, MASK, MASK) if secret else FieldChange(path, _shown(old), _shown(new))
        for path, old, new, secret in _differing(then, now, "", "", hidden)
        if not (secret and masked)
    ]


_MISSING = object()


def _differing(
    then: object, now: object, path: str, place: str, hidden: frozenset[str]
) -> Iterator[tuple[str, object, object, bool]]:
    """Yield (path, then, now, whether it is sensitive); `place` is the path as schemas say it, without indexes."""
    if place in hidden:
        if then != now:
            yield path, then, now, True
    elif isinstance(then, BaseModel) and type(then) is type(now):
        for name in type(then).model_fields:
            here, there = (f"{path}.{name}", f"{place}.{name}") if path else (name, name)
            yield from _differing(getattr(then, name), getattr(now, name), here, there, hidden)
    elif isinstance(then, list) and isinstance(now, list):
        for index in range(max(len(then), len(now))):
            old, new = (each[index] if index < len(each) else _MISSING for each in (then, now))
            yield from _differing(old, new, f"{path}[{index}]", place, hidden)
    elif isinstance(then, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*then, *now]):
            yield from _differing(then.get(key, _MISSING), now.get(key, _MISSING), f"{path}[{key}]", place, hidden)
    elif not _same(then, now):
        yield path, then, now, False


def _same(then: object, now: object) -> bool:
    if isinstance(then, datetime) and isinstance(now, datetime):
        return abs(then - now) <= CLOCK_SLACK
    return type(then) is type(now) and then == now


def _shown(value: object) -> str:
    if value is _MISSING:
        return NOTHING
    if isinstance(value, BaseModel):
        # What is in it may be nobody's business.
        return f"a {type(value).__name__}"
    if isinstance(value, list | dict):
        return f"{len(value)} of them"
    text = repr(value) if isinstance(value, str | bytes) else str(value)
    return text if len(text) <= CHARS_MAX else f"{text[:CHARS_MAX]}…"
