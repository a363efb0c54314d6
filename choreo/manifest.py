"""Manifests: what services announce about themselves on `choreo.manifests`.

A declaration's JSON form is defined here, as Pydantic models whose JSON Schema is in docs/. A service announces one
when it starts; `choreography`, trackers, engines and `choreo describe` read them, and need no service's code.
"""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from choreo.errors import SchemaError
from choreo.event import Failure
from choreo.schema import avro_schema, fingerprint, sensitive_fields
from choreo.service import Declaration

FORMAT_VERSION = 1


def _listed(names: object) -> object:
    """Put a set of event classes in order; a list has the order that people wrote."""
    return sorted(each.__choreo_type__ for each in names) if isinstance(names, frozenset) else names


# What a declaration says of events, by their Avro full names.
Name = Annotated[str, BeforeValidator(lambda event: getattr(event, "__choreo_type__", event))]
Names = Annotated[list[Name], BeforeValidator(_listed)]


class _Record(BaseModel):
    # A later version may add fields; those that are known here keep their meaning.
    model_config = ConfigDict(frozen=True, extra="ignore", from_attributes=True)


class EmissionManifest(_Record):
    """One thing that a handler may return."""

    types: Names = Field(description="The event; of a list, every type that an event in it may have.")
    opens: bool = Field(default=False, description="It is a list, which opens branches.")
    later: bool = Field(default=False, description="It is to come later.")


class HandlerManifest(_Record):
    """One handler. Events are named by their Avro full names."""

    name: str
    kind: str = Field("forward", description="forward, compensation, deadline or otherwise.")
    waits_for: list[Names] = Field([], description="For each event parameter, the types that it takes.")
    causes: Names = Field([], description="Of a compensation: the events that set it going.")
    original: Names = Field([], description="Of a compensation: the event that it undoes.")
    original_optional: bool = Field(default=False, description="Of a compensation: it also runs without its original.")
    extras: list[Names] = Field([], description="Of a compensation: its further event parameters.")
    emits: Names = Field([], description="Every type that it may emit.")
    outcomes: list[list[EmissionManifest]] = Field([], description="What it may return, one of them each time.")
    uses: list[str] = Field([], description="Names of the resources that it is given.")
    unless: Names = Field([], description="It does not run where one of these came first.")
    guards: str = Field("", description="Of an otherwise: the handler that it stands in for.")
    awaits: Names = Field([], description="Of a deadline: the events, one of which is awaited.")
    within_s: float | None = Field(None, description="Of a deadline: seconds, or null where the trigger says how many.")
    after_abort: bool = Field(default=False, description="Of a deadline: it outlives a failure.")
    fan_out: bool = Field(default=False, description="It may open branches.")
    fan_in: bool = Field(default=False, description="It gathers one event from each branch.")
    gathers: int | None = Field(None, description="Of a fan-in: which of waits_for is gathered, from 0.")
    place: str = Field("", description="file.py:line, as the announcing process sees it.")


class SagaManifest(_Record):
    """One saga type that the service owns."""

    name: str
    starts: Name
    completes: Names
    fails: Names = []
    key: str | None = Field(None, description="The field of the start that is its business key.")


class EventManifest(_Record):
    """One event type that the service names."""

    topic: str
    failure: bool = False
    fingerprint: str = Field("", description="Of the schema this service has, in hex, as in a record's framing.")
    sensitive: list[str] = Field([], description="Sensitive fields, as dotted paths.")


class Manifest(_Record):
    """What one version of one service announces."""

    version: int = Field(FORMAT_VERSION, description="Of this format.")
    service: str
    service_version: str
    handlers: list[HandlerManifest] = []
    sagas: list[SagaManifest] = []
    publishes: dict[str, str] = Field({}, description="Types that come from outside into running sagas: who decides.")
    events: dict[str, EventManifest] = Field({}, description="By Avro full name.")
    place: str = Field("", description="file.py:line of the service, as the announcing process sees it.")
    schemas: dict[str, dict[str, Any]] = Field({}, description="Avro schemas by fingerprint, in hex.")

    @property
    def key(self) -> str:
        """Return the record key: `service@version`."""
        return f"{self.service}@{self.service_version}"

    @classmethod
    def of(cls, declaration: Declaration) -> "Manifest":
        """Return what a declaration announces; the same declaration always gives the same bytes.

        Raises:
            SchemaError: If an event has no Avro form; retrying does not help.
        """
        outline = cls.outline(declaration)
        schemas = {kind.__choreo_type__: avro_schema(kind, kind.__choreo_type__) for kind in declaration.event_types}
        digests = {name: fingerprint(schema).hex() for name, schema in schemas.items()}
        events = {
            name: event.model_copy(update={"fingerprint": digests[name], "sensitive": sensitive_fields(schemas[name])})
            for name, event in outline.events.items()
        }
        by_digest = {digests[name]: schema for name, schema in sorted(schemas.items())}
        return outline.model_copy(update={"events": events, "schemas": by_digest})

    @classmethod
    def outline(cls, declaration: Declaration) -> "Manifest":
        """Return what a declaration announces, without its schemas: all that a graph is made of, and quick to make."""
        from_outside = {kind.__choreo_type__: by for kind, by in declaration.publishes.items()}
        return cls(
            service=declaration.name,
            service_version=declaration.version,
            handlers=[HandlerManifest.model_validate(each) for each in declaration.handlers],
            sagas=[SagaManifest.model_validate(each) for each in declaration.sagas],
            publishes=dict(sorted(from_outside.items())),
            events={
                kind.__choreo_type__: EventManifest(topic=kind.__choreo_topic__, failure=issubclass(kind, Failure))
                for kind in declaration.event_types
            },
            place=declaration.place,
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "Manifest":
        """Return the manifest that a record's value holds; fields that are not known here are passed over.

        Raises:
            SchemaError: If it is none; retrying does not help.
        """
        try:
            return cls.model_validate_json(data)
        except (ValidationError, RecursionError) as error:
            raise SchemaError(f"not a manifest: {error}") from error

    def to_bytes(self) -> bytes:
        """Return the record's value: JSON, without spaces."""
        return self.model_dump_json().encode()
