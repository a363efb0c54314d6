"""The records that are not events, as they are written and read back."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from choreo import records
from choreo.errors import UndecodableRecord
from choreo.event import Envelope, Event
from choreo.transport import Record

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
SAGA = "6ba7b811-9dad-51d1-80b4-00c04fd430c8"


class Finished(Event, topic="notes"):
    pass


def end_of(saga_type: str, event_id: str, service: str = "shop") -> bytes:
    envelope = Envelope(Finished(), b"", event_id, Finished.__choreo_type__, SAGA, saga_type)
    return records.end(envelope, service, completed=True, now=NOW).value or b""


def read(value: bytes, key: bytes = SAGA.encode()) -> tuple[str, str]:
    return records.read_end(Record(records.ENDS, 0, 0, key, value, [], 0))


@given(st.text(), st.text(), st.text())
def test_an_end_is_read_as_it_was_written(saga_type: str, event_id: str, service: str):
    assert read(end_of(saga_type, event_id, service)) == (SAGA, saga_type)


def test_an_end_as_choreo_writes_it_takes_no_json(monkeypatch: pytest.MonkeyPatch):
    value = end_of("order-fulfilment", "0190c8e5-0000-7000-8000-000000000000")
    monkeypatch.setattr(json, "loads", lambda _: pytest.fail("every service reads every end: no JSON for these"))
    assert read(value) == (SAGA, "order-fulfilment")


def test_an_end_from_elsewhere_is_read_whatever_its_order():
    assert read(json.dumps({"saga_type": "trip", "more": [1], "saga_id": SAGA}).encode()) == (SAGA, "trip")


@pytest.mark.parametrize("value", [b"", b"[]", b"{}", b"\xff", b'{"saga_id": 7}', b"[" * 100_000])
def test_what_is_no_end_is_refused(value: bytes):
    with pytest.raises(UndecodableRecord) as raised:
        read(value)
    assert raised.value.reason in {"undecodable", "key-mismatch"}


def test_an_end_of_another_saga_than_its_key_is_refused():
    with pytest.raises(UndecodableRecord) as raised:
        read(end_of("trip", "e"), key=b"another")
    assert raised.value.reason == "key-mismatch"


def test_the_published_schema_has_the_kinds_of_notes_that_there_are():
    schema = json.loads((Path(__file__).parents[1] / "docs/reference/schemas/journal.schema.json").read_text())
    described = [kind["const"] for kind in schema["properties"]["note"]["oneOf"]]
    assert sorted(described) == sorted(records.NOTE_KINDS)
