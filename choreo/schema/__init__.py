"""Pydantic models as Avro schemas."""

from choreo.schema.sensitive import Sensitive

__all__ = ["Sensitive"]
