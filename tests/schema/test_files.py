import json

import pytest
from pydantic import BaseModel

from choreo.errors import SchemaError
from choreo.event import Event
from choreo.schema import avro_schema, parsed, stale, write


class Placed(Event, topic="file-orders"):
    order_id: str


class Shipped(Event, topic="file-orders"):
    order_id: str


def test_files_are_written_once_and_then_fresh(tmp_path):
    folder = tmp_path / "avro"
    written = write([Shipped, Placed], folder)
    assert [path.name for path in written] == ["file_orders.Placed.avsc", "file_orders.Shipped.avsc"]
    assert parsed((folder / "file_orders.Placed.avsc").read_text()) == avro_schema(Placed, "file_orders.Placed")
    assert stale([Placed, Shipped], folder) == {}
    assert write([Placed, Shipped], folder) == {}


def test_what_differs_is_stale(tmp_path):
    write([Placed, Shipped], tmp_path)
    path = tmp_path / "file_orders.Placed.avsc"
    path.write_text(json.dumps(json.loads(path.read_text())))
    assert list(stale([Placed, Shipped], tmp_path)) == [path]


def test_only_events_have_files(tmp_path):
    class Plain(BaseModel):
        a: int

    with pytest.raises(SchemaError, match="topic="):
        write([Plain], tmp_path)


def test_two_classes_of_one_name_are_refused(tmp_path):
    class Other(Event, topic="file-orders", name="file_orders.Placed"):
        a: int

    with pytest.raises(SchemaError, match="two event classes"):
        write([Placed, Other], tmp_path)


@pytest.mark.parametrize("source", ["", "[]", '"int"', '{"type": "array", "items": "int"}'])
def test_a_file_that_holds_no_event_is_refused(source):
    with pytest.raises(SchemaError):
        parsed(source)
