from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary, to_binary
from cloudevents.core.formats.base import Format
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, create_model

from choreo.codec import Codec, Schemas
from choreo.errors import IncompatibleSchema, SchemaError, UndecodableRecord
from choreo.event import Envelope, Event, Failure
from choreo.schema import Sensitive, avro_schema
from choreo.transport import Record
from tests.effort import part

SAGA = "28a4a0a1-41fc-5a63-a5d0-7a66f0d3c3d7"
KEY = SAGA.encode()
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


class Placed(Event, topic="codec-orders"):
    order_id: str
    quantity: int = 1


class Declined(Failure, topic="codec-payments"):
    order_id: str


def codec(schemas=None, **more):
    return Codec([Placed, Declined], Schemas() if schemas is None else schemas, **more)


def envelope(codec, **more):
    event = Placed(order_id="17")
    fields = {
        "event_id": "e-1",
        "saga_type": "order-fulfilment",
        "business_key": "order-17 ä",
        "source": "/orders/place",
        "occurred_at": NOW,
        "causation_id": "e-0",
        "causes": ("e-0", "e-9"),
        "compensates_id": "e-2",
        "branch": "/0a1b2c3d:1.3",
        "hop": 12,
        "path": ("orders.place", "payments.capture"),
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "a=b",
    } | more
    return Envelope(event=event, body=codec.encode(event), type="codec_orders.Placed", saga_id=SAGA, **fields)


def record(codec, given=None, /, *, drop=(), key=KEY, timestamp_ms=0, **headers):
    outgoing = codec.outgoing(given or envelope(codec))
    named = {name: value for name, value in outgoing.headers if name not in drop} | headers
    return Record(outgoing.topic, 0, 0, key, outgoing.value, list(named.items()), timestamp_ms)


def refused(codec, given):
    with pytest.raises(UndecodableRecord) as caught:
        codec.read(given)
    return caught.value.reason


class TestReading:
    def test_an_envelope_there_and_back(self):
        both = codec()
        given = envelope(both)
        assert both.read(record(both, given)) == given

    def test_what_is_absent_means_from_outside(self):
        both = codec()
        optional = [name for name, _ in record(both).headers if name not in {"ce_id", "ce_type"}]
        read = both.read(record(both, drop=optional, timestamp_ms=1500))
        assert read == Envelope(
            event=Placed(order_id="17"),
            body=read.body,
            event_id="e-1",
            type="codec_orders.Placed",
            saga_id=SAGA,
            occurred_at=datetime(1970, 1, 1, 0, 0, 1, 500000, tzinfo=UTC),
        )

    @pytest.mark.parametrize(
        ("said", "meant"),
        [
            (b"2026-01-02T03:04:05.678901Z", NOW),
            (b"2026-01-02T05:04:05.678901+02:00", NOW),
            (b"2026-01-02T03:04:05Z", NOW.replace(microsecond=0)),
            (b"yesterday", datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC)),
            (b"2026-01-02T03:04:05", datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC)),
            (b"\xff", datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC)),
            (None, datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC)),
        ],
    )
    def test_ce_time_is_wanted_and_not_required(self, said, meant):
        both = codec()
        read = both.read(record(both, ce_time=said, timestamp_ms=2000))
        assert read.occurred_at == meant
        assert read.occurred_at.utcoffset() == timedelta(0)

    def test_r29_what_cannot_be_read_has_its_reason(self):
        both = codec()
        good = record(both)
        assert refused(both, record(both, drop=["ce_id"])) == "missing-id"
        assert refused(both, record(both, ce_id=b"")) == "missing-id"
        assert refused(both, record(both, ce_id=None)) == "missing-id"
        assert refused(both, record(both, ce_id=b"x" * 65)) == "missing-id"
        assert refused(both, record(both, key=None)) == "missing-id"
        assert refused(both, record(both, ce_sagaid=b"other")) == "key-mismatch"
        assert refused(both, record(both, drop=["ce_type"])) == "unknown-type"
        assert refused(both, record(both, ce_type=b"nobody.Knows")) == "unknown-type"
        assert refused(both, record(both, ce_type=b"\xff")) == "unknown-type"
        assert refused(both, record(both, ce_hop=b"many")) == "undecodable"
        assert refused(both, record(both, ce_hop=b"-1")) == "undecodable"
        assert refused(both, record(both, ce_source=b"\xff")) == "undecodable"
        assert refused(both, good._replace(value=None)) == "undecodable"
        assert refused(both, good._replace(value=b"")) == "undecodable"
        assert refused(both, good._replace(value=b"{}")) == "undecodable"
        assert refused(both, good._replace(value=good.value[:-1])) == "undecodable"
        assert refused(both, good._replace(value=b"\xc3\x01" + bytes(8) + good.value[10:])) == "unknown-fingerprint"
        assert refused(codec(event_bytes_max=10), good) == "oversized"

    def test_a_ce_id_of_64_bytes_is_fine(self):
        both = codec()
        assert both.read(record(both, ce_id=b"x" * 64)).event_id == "x" * 64

    def test_a_known_type_that_nobody_here_consumes_is_nothing(self):
        both = codec(consumes=[Declined])
        assert both.read(record(both)) is None
        assert both.decode("codec_orders.Placed", both.encode(Placed(order_id="1"))) == Placed(order_id="1")
        schemas = Schemas()
        schemas.add(avro_schema(Placed, "codec_orders.Placed"))
        assert Codec([Declined], schemas).read(record(both)) is None

    @settings(max_examples=part(30, of=100), deadline=None)
    @given(
        st.lists(
            st.tuples(st.sampled_from(["ce_id", "ce_hop", "ce_time", "ce_path"]), st.none() | st.binary(max_size=9))
        ),
        st.none() | st.binary(max_size=40),
        st.none() | st.binary(max_size=40),
    )
    def test_r29_any_record(self, headers, key, value):
        given_headers = [("ce_type", b"codec_orders.Placed"), *headers]
        try:
            CODEC.read(Record("t", 0, 0, key, value, given_headers, -1))
        except UndecodableRecord as error:
            assert error.reason


CODEC = codec()


class TestWriters:
    def older(self):
        return avro_schema(create_model("Placed", order_id=(str, ...), gone=(int, ...)), "codec_orders.Placed")

    def written(self, schema, known=None):
        digest = (Schemas() if known is None else known).add(schema)
        return record(codec())._replace(value=b"\xc3\x01" + digest + b"\x04ab" + b"\x02")

    def test_another_writers_schema_is_found_by_its_fingerprint(self):
        schemas = Schemas()
        both = codec(schemas)
        assert both.read(self.written(self.older(), schemas)).event == Placed(order_id="ab", quantity=1)

    def test_a_schema_that_comes_later_helps(self):
        schemas = Schemas()
        both = codec(schemas)
        value = self.written(self.older())
        assert refused(both, value) == "unknown-fingerprint"
        schemas.add(self.older())
        assert both.read(value).event.order_id == "ab"

    def test_one_that_does_not_fit_is_undecodable(self):
        schemas = Schemas()
        both = codec(schemas)
        schema = avro_schema(create_model("Placed", order_id=(bytes, ...), quantity=(str, ...)), "codec_orders.Placed")
        with pytest.raises(UndecodableRecord, match=r"quantity: written as string, read as long"):
            both.read(self.written(schema, schemas))
        stranger = avro_schema(create_model("Stranger", order_id=(str, ...), gone=(int, ...)), "codec_orders.Stranger")
        assert refused(both, self.written(stranger, schemas)) == "undecodable"


class TestSchemas:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (int, datetime),
            (bytes, Annotated[Decimal, Field(max_digits=5, decimal_places=2)]),
            *[
                (
                    Annotated[Decimal, Field(max_digits=5, decimal_places=2)],
                    Annotated[Decimal, Field(max_digits=digits, decimal_places=places)],
                )
                for digits, places in ((5, 3), (6, 2))
            ],
            (str, Annotated[str, Sensitive()]),
        ],
        ids=str,
    )
    def test_r37_a_fingerprint_has_one_meaning(self, one, other):
        schemas = Schemas()
        first = schemas.add(avro_schema(create_model("M", f=(one, ...)), "x.M"))
        schemas.add(avro_schema(create_model("M", f=(one, ...)), "x.M"))
        with pytest.raises(IncompatibleSchema, match=r"x\.M: its fingerprint"):
            schemas.add(avro_schema(create_model("M", f=(other, ...)), "x.M"))
        assert schemas.get(first)["fields"][0] == avro_schema(create_model("M", f=(one, ...)), "x.M")["fields"][0]
        assert len(schemas) == 1

    def test_it_knows_types_by_name(self):
        schemas = Schemas()
        assert not schemas.knows("x.M")
        schemas.add(avro_schema(create_model("M", f=(int, ...)), "x.M"))
        assert schemas.knows("x.M")
        assert schemas.get(bytes(8)) is None

    @pytest.mark.parametrize("schema", [None, {}, {"type": "array", "items": "int"}, {"type": "record", "name": "R"}])
    def test_what_is_no_schema_is_refused(self, schema):
        with pytest.raises(SchemaError):
            Schemas().add(schema)


class TestWriting:
    def test_the_record_is_keyed_by_its_saga(self):
        both = codec()
        outgoing = both.outgoing(envelope(both))
        assert (outgoing.topic, outgoing.key, outgoing.partition) == ("codec-orders", SAGA.encode(), -1)

    def test_headers_that_say_nothing_are_left_out(self):
        both = codec()
        bare = Envelope(Placed(order_id="1"), b"", "e", "codec_orders.Placed", SAGA, occurred_at=NOW)
        assert dict(both.outgoing(bare).headers) == {
            "ce_specversion": b"1.0",
            "content-type": b"application/avro",
            "ce_type": b"codec_orders.Placed",
            "ce_id": b"e",
            "ce_source": b"/",
            "ce_time": b"2026-01-02T03:04:05.678901Z",
            "ce_sagaid": SAGA.encode(),
        }

    def test_all_headers_are_those_of_the_wire_format(self):
        both = codec()
        assert dict(both.outgoing(envelope(both)).headers) == {
            "ce_specversion": b"1.0",
            "content-type": b"application/avro",
            "ce_type": b"codec_orders.Placed",
            "ce_id": b"e-1",
            "ce_source": b"/orders/place",
            "ce_time": b"2026-01-02T03:04:05.678901Z",
            "ce_subject": "order-17 ä".encode(),
            "ce_sagaid": SAGA.encode(),
            "ce_sagatype": b"order-fulfilment",
            "ce_causationid": b"e-0",
            "ce_causes": b"e-0,e-9",
            "ce_compensatesid": b"e-2",
            "ce_branch": b"/0a1b2c3d:1.3",
            "ce_hop": b"12",
            "ce_path": b"orders.place,payments.capture",
            "traceparent": b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "tracestate": b"a=b",
        }

    def test_what_is_too_long_is_not_written(self):
        with pytest.raises(SchemaError, match="bytes"):
            codec(event_bytes_max=20).encode(Placed(order_id="x" * 20))

    def test_abstract_classes_and_doubles_are_refused(self):
        class Abstract(Event):
            a: int

        class Double(Event, topic="x", name="codec_orders.Placed"):
            a: int

        with pytest.raises(SchemaError, match="topic="):
            codec().encode(Abstract(a=1))
        with pytest.raises(SchemaError, match="two event classes"):
            Codec([Placed, Double], Schemas())


class Bytes(Format):
    """CloudEvents' formats, for a body that is none of their business."""

    def write_data(self, data, datacontenttype):
        return data

    def read_data(self, body, datacontenttype, *_):
        return body

    def read(self, event_factory, data):
        raise NotImplementedError

    def write(self, event):
        raise NotImplementedError

    def get_content_type(self):
        raise NotImplementedError


class TestCloudEvents:
    def test_their_package_reads_ours(self):
        both = codec()
        outgoing = both.outgoing(envelope(both))
        headers = {name: value for name, value in outgoing.headers if not name.startswith("trace")}
        event = from_binary(KafkaMessage(headers, outgoing.key, outgoing.value), Bytes(), CloudEvent)
        assert event.get_id() == "e-1"
        assert event.get_type() == "codec_orders.Placed"
        assert event.get_source() == "/orders/place"
        assert event.get_time() == NOW
        assert event.get_datacontenttype() == "application/avro"
        assert event.get_extension("sagaid") == event.get_extension("partitionkey") == SAGA
        assert event.get_data() == outgoing.value

    def test_ours_reads_their_package(self):
        both = codec()
        body = both.encode(Placed(order_id="17"))
        attributes = {
            "id": "e-1",
            "type": "codec_orders.Placed",
            "source": "https://shop.example/checkout",
            "time": NOW,
            "datacontenttype": "application/avro",
            "subject": "order-17",
            "sagaid": SAGA,
            "partitionkey": SAGA,
            "specversion": "1.0",
        }
        message = to_binary(CloudEvent(attributes, body), Bytes())
        read = both.read(Record("t", 0, 0, message.key.encode(), message.value, list(message.headers.items()), 0))
        assert read == Envelope(
            event=Placed(order_id="17"),
            body=body,
            event_id="e-1",
            type="codec_orders.Placed",
            saga_id=SAGA,
            business_key="order-17",
            source="https://shop.example/checkout",
            occurred_at=NOW,
        )
