"""Pydantic models as Avro schemas.

What an event's fields may be, how they look in Avro, and whether two schemas fit is decided in this package; the codec
makes the bytes. Event classes, manifests, the codec and the `schema` commands call what is named here.
"""

from choreo.schema.avro import canonical, fingerprint, meaning
from choreo.schema.avsc import parsed, stale, text, write
from choreo.schema.compatibility import incompatibilities
from choreo.schema.forms import Schema
from choreo.schema.model import avro_schema, form_of
from choreo.schema.sensitive import Sensitive, sensitive_fields
from choreo.schema.strictness import tightened

__all__ = [
    "Schema",
    "Sensitive",
    "avro_schema",
    "canonical",
    "fingerprint",
    "form_of",
    "incompatibilities",
    "meaning",
    "parsed",
    "sensitive_fields",
    "stale",
    "text",
    "tightened",
    "write",
]
