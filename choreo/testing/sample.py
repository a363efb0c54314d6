"""Values that a unit test does not care for: an event's fields, and a `Context` for one handler.

Making them up lives here, an event's from its Avro schema; what a step really gets is made by the runtime. Tests that
do care give the fields that they care for.
"""

import logging
from collections.abc import Collection
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypedDict, TypeVar, Unpack
from uuid import UUID

from choreo.clock import ManualClock
from choreo.event import Envelope, Event, emitted_id
from choreo.schema import avro_schema
from choreo.service import Context

SAGA_ID = "018f0000-0000-7000-8000-000000000000"
E = TypeVar("E", bound=Event)
_PLAIN: dict[str, Any] = {  # A value for each Avro type, and for each logical one.
    "null": None,
    "string": "x",
    "int": 1,
    "long": 1,
    "float": 1.0,
    "double": 1.0,
    "boolean": False,
    "bytes": b"x",
    "uuid": UUID(int=1),
    "decimal": Decimal(1),
    "date": datetime(2026, 1, 1, tzinfo=UTC).date(),
    "time-micros": datetime(2026, 1, 1, tzinfo=UTC).time(),
    "timestamp-micros": datetime(2026, 1, 1, tzinfo=UTC),
}


def sample(kind: type[E], **fields: object) -> E:
    """Return an event of a type for a test: with the fields that are given, and others made up.

    What is made up is "x", 1, a list of one and the like; a field with a default keeps it.

    ```python
    from choreo.testing.sample import sample

    saga = scenario.publish(sample(OrderPlaced, order_id="17"))
    ```

    Args:
        kind: The event class.
        fields: What the test cares for; also what could not be made up because a constraint forbids it.

    Raises:
        pydantic.ValidationError: If what was made up is not allowed; give these fields.
    """
    schema = avro_schema(kind, kind.__choreo_type__)
    return kind.model_validate({**_Maker().record(schema, leave=fields.keys()), **fields})


class ContextFields(TypedDict, total=False):
    """What may be said of a context: `Context`'s own fields, and two that make up its `step`."""

    service: str
    handler: str
    saga_id: str
    saga_type: str
    business_key: str
    step: str
    causes: tuple[Envelope, ...]
    hop: int
    branch: str
    completed_steps: tuple[str, ...]
    idempotency_key: str
    undoes_key: str
    attempt: int
    now: datetime
    log: "logging.LoggerAdapter[logging.Logger]"


def context(**fields: Unpack[ContextFields]) -> Context:
    """Return a `Context` for the unit test of one handler: the given fields, and values that fit them for the rest.

    ```python
    refund(failed, captured, choreo.testing.context(service="payments", handler="refund"), gateway)
    ```

    Args:
        fields: Any of `Context`'s fields, or `service` and `handler` in place of `step`. The idempotency keys follow
            from saga, step and branch unless given: equal ones for an equal step, and others for another.
    """
    saga_id = fields.get("saga_id", SAGA_ID)
    step = fields.get("step", f"{fields.get('service', 'service')}.{fields.get('handler', 'handler')}")
    branch = fields.get("branch", "")
    defaults = {
        "saga_type": "",
        "business_key": "",
        "causes": (),
        "hop": 0,
        "completed_steps": (),
        "idempotency_key": emitted_id(saga_id, step, branch, "", "effect"),
        # It is there for every handler, so that a compensation can be tested without saying what it undoes.
        "undoes_key": emitted_id(saga_id, step, branch, "undone", "effect"),
        "attempt": 1,
        "now": ManualClock().now(),
        "log": logging.LoggerAdapter(logging.getLogger("choreo"), {"saga_id": saga_id, "step": step}),
    }
    given = {name: value for name, value in fields.items() if name not in {"service", "handler"}}
    values: dict[str, Any] = {**defaults, "saga_id": saga_id, "step": step, "branch": branch, **given}
    return Context(**values)


class _Maker:
    """Makes values up, one item to a list unless it would hold itself."""

    def __init__(self) -> None:
        self._named: dict[str, Any] = {}
        self._open: set[str] = set()

    def record(self, schema: Any, leave: Collection[str] = ()) -> dict[str, Any]:  # Avro schemas are of any shape.
        """Return a record's fields, but for those that are left and those that have a default."""
        name = ".".join(filter(None, (schema.get("namespace"), schema["name"])))
        self._named[name] = schema
        self._open.add(name)
        fields = [each for each in schema["fields"] if each["name"] not in leave and "default" not in each]
        made = {each["name"]: self._value(each["type"]) for each in fields}
        self._open.discard(name)
        return made

    def _value(self, schema: Any) -> Any:
        if isinstance(schema, list):
            return None if "null" in schema else self._value(schema[0])
        if isinstance(schema, str):
            return _PLAIN[schema] if schema in _PLAIN else self._value(self._named[schema])
        logical = schema.get("logicalType")
        if logical in _PLAIN:
            return _PLAIN[logical]
        match schema["type"]:
            case "record":
                return self.record(schema)
            case "array":
                items = schema["items"]
                return [] if isinstance(items, str) and items in self._open else [self._value(items)]
            case "map":
                return {}
            case "enum":
                return schema["symbols"][0]
            case other:
                return self._value(other)
