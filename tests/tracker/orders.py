"""An order saga as topics hold it: hand-made manifests, and records of every path, without any service code."""

import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

import fastavro

from choreo.choreography import Choreography
from choreo.event import emitted_id, saga_id_for
from choreo.manifest import Manifest
from choreo.records import ENDS, JOURNAL
from choreo.schema.avro import fingerprint
from choreo.tracker.projection import project
from choreo.tracker.row_decoder import RowDecoder, note_row
from choreo.tracker.rows import EventRow, NoteRow
from choreo.tracker.verdict import Verdict
from choreo.tracker.views import Flag, SagaView
from choreo.transport import Position, Reader, Record, TopicState

BEGIN_MS = 1_767_225_600_000
FAILURES = {"OutOfStock", "PaymentDeclined", "ShipmentFailed", "AddressRejected"}
FAILURES |= {"PartMissing", "ChargeUnknown", "TooLate"}


def full(name: str) -> str:
    return f"orders.{name}"


def schema_of(name: str) -> dict[str, Any]:
    fields: list[dict[str, Any]] = [{"name": "order_id", "type": "string"}]
    if name in FAILURES:
        fields.append({"name": "reason", "type": "string"})
    if name == "OrderPlaced":
        address = {
            "type": "record",
            "name": "orders.Address",
            "fields": [
                {"name": "street", "type": "string", "choreo.sensitive": True},
                {"name": "city", "type": "string"},
            ],
        }
        fields += [
            {"name": "card", "type": "string", "choreo.sensitive": True},
            {"name": "address", "type": ["null", address]},
            {"name": "others", "type": {"type": "array", "items": "orders.Address"}},
            {
                "name": "total",
                "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2},
            },
        ]
    return {"type": "record", "name": full(name), "fields": fields}


def handler(name: str, *waits: str, emits: str = "", **more: Any) -> dict[str, Any]:
    types = [[full(each) for each in one.split()] for one in waits]
    return {
        "name": name,
        "kind": "forward",
        "waits_for": types,
        "causes": [],
        "original": [],
        "original_optional": False,
        "extras": [],
        "emits": [full(each) for each in emits.split()],
        "unless": [],
    } | more


def undo(name: str, causes: str, original: str, emits: str, *, optional: bool = False) -> dict[str, Any]:
    return handler(name, emits=emits) | {
        "kind": "compensation",
        "waits_for": [],
        "causes": [full(each) for each in causes.split()],
        "original": [full(each) for each in original.split()],
        "original_optional": optional,
    }


def manifest(service: str, handlers: Sequence[dict[str, Any]], version: str = "1", **more: Any) -> Manifest:
    names = {name for each in handlers for name in each["emits"]}
    names |= {
        name
        for each in handlers
        for types in [*each["waits_for"], each["causes"], each["original"], each.get("awaits", [])]
        for name in types
    }
    names |= {saga["starts"] for saga in more.get("sagas", [])} | set(more.get("publishes", {}))
    schemas = {name: schema_of(name.removeprefix("orders.")) for name in sorted(names)}
    return Manifest.model_validate(
        {
            "service": service,
            "service_version": version,
            "handlers": list(handlers),
            "events": {
                name: {
                    "topic": "orders",
                    "failure": name.removeprefix("orders.") in FAILURES,
                    "fingerprint": fingerprint(schema).hex(),
                }
                for name, schema in schemas.items()
            },
            "schemas": {fingerprint(schema).hex(): schema for schema in schemas.values()},
        }
        | more
    )


SAGA = {
    "name": "order-fulfilment",
    "starts": full("OrderPlaced"),
    "completes": [full("OrderConfirmed")],
    "fails": [full("OrderCancelled")],
    "key": "order_id",
}
ORDERS = manifest(
    "orders",
    [
        handler("confirm", "PaymentCaptured", "ShipmentCreated", emits="OrderConfirmed"),
        handler("cancel", "OutOfStock PaymentDeclined ShipmentFailed AddressRejected", emits="OrderCancelled"),
    ],
    sagas=[SAGA],
)
INVENTORY = manifest(
    "inventory",
    [
        handler("reserve", "OrderPlaced", emits="InventoryReserved OutOfStock"),
        undo("release", "PaymentDeclined PaymentRefunded", "InventoryReserved", "InventoryReleased"),
    ],
)
PAYMENTS = manifest(
    "payments",
    [
        handler("capture", "OrderPlaced", "InventoryReserved", emits="PaymentCaptured PaymentDeclined"),
        undo("refund", "ShipmentFailed AddressRejected", "PaymentCaptured", "PaymentRefunded", optional=True),
    ],
)
SHIPPING = manifest(
    "shipping",
    [
        handler("ship", "PaymentCaptured", emits="ShipmentCreated ShipmentFailed"),
        handler("check", "OrderPlaced", emits="AddressConfirmed AddressRejected"),
        handler("notify", "OrderCancelled", emits=""),
    ],
)
MANIFESTS = [ORDERS, INVENTORY, PAYMENTS, SHIPPING]
GRAPH = Choreography(MANIFESTS)


def body(name: str, **fields: Any) -> bytes:
    schema = schema_of(name)
    values: dict[str, Any] = {"order_id": "17"}
    if name in FAILURES:
        values["reason"] = f"because of {name}"
    if name == "OrderPlaced":
        home = {"street": "SECRET street", "city": "Ulm"}
        values |= {"card": "SECRET card", "address": home, "others": [home], "total": "12.50"}
    values |= fields
    if "total" in values:
        from decimal import Decimal

        values["total"] = Decimal(values["total"])
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), values)
    return b"\xc3\x01" + fingerprint(schema) + out.getvalue()


class Flow:
    """Writes the records of one saga as its services would."""

    saga_type = "order-fulfilment"
    owner = "orders"
    graph = GRAPH
    manifests = MANIFESTS

    def __init__(self, key: str = "order-17", first_offset: int = 0) -> None:
        self.saga_id = saga_id_for(self.saga_type, key)
        self.key = key
        self.records: list[Record] = []
        self.ids: dict[str, str] = {}
        self._next: dict[str, int] = {}
        self._first = first_offset
        self.clock_ms = BEGIN_MS

    def emit(
        self,
        label: str,
        by: str = "",
        *causes: str,
        undoes: str = "",
        branch: str = "",
        pause_s: float = 1,
        **fields: Any,
    ) -> str:
        """Emit an event by a handler ("service.handler") for causes given by label; from outside where by is "".

        A label is a type's name, with `@` and anything behind it where there are several of the type.
        """
        name = label.partition("@")[0]
        ids = [self.ids.get(each, each) for each in causes]
        target = self.ids.get(undoes, undoes)
        trigger = target or (ids[0] if len(ids) == 1 else "")
        event_id = emitted_id(self.saga_id, by, branch, trigger, label) if by else f"start-{self.key}-{label}"
        self.ids[label] = event_id
        self.clock_ms += round(pause_s * 1000)
        headers = [
            ("ce_id", event_id.encode()),
            ("ce_type", full(name).encode()),
            ("ce_source", ("/" + by.replace(".", "/") if by else "/orders").encode()),
            ("ce_time", self._time().encode()),
            ("ce_sagaid", self.saga_id.encode()),
            ("ce_sagatype", self.saga_type.encode()),
            ("ce_subject", self.key.encode()),
        ]
        if ids:
            headers.append(("ce_causationid", ids[-1].encode()))
        if len(ids) > 1:
            headers.append(("ce_causes", ",".join(ids).encode()))
        if target:
            headers.append(("ce_compensatesid", target.encode()))
        if branch:
            headers.append(("ce_branch", branch.encode()))
        self.records.append(self._record("orders", body(name, **fields), headers))
        return event_id

    def note(self, kind: str, by: str, trigger: str, *, pause_s: float = 1, **more: Any) -> None:
        service, _, name = by.partition(".")
        at = self.ids.get(trigger, trigger)
        self.clock_ms += round(pause_s * 1000)
        text = {
            "version": 1,
            "note": kind,
            "saga_id": self.saga_id,
            "saga_type": self.saga_type,
            "service": service,
            "handler": name,
            "branch": "",
            "step": self.step_key(by, at, more.get("branch", "")),
            "trigger": at,
            "at": self._time(),
        } | more
        told = (kind, by, at, more.get("branch", ""), more.get("attempt", 0), more.get("command_id", len(self.records)))
        ce_id = ":".join(map(str, told))
        self.records.append(self._record("choreo.journal", json.dumps(text).encode(), [("ce_id", ce_id.encode())]))

    def end(self, name: str, outcome: str) -> None:
        text = {"version": 1, "saga_id": self.saga_id, "saga_type": self.saga_type, "outcome": outcome}
        text |= {"event_type": full(name), "event_id": self.ids[name], "service": self.owner, "at": self._time()}
        headers = [("ce_id", self.ids[name].encode())]
        self.records.append(self._record("choreo.ends", json.dumps(text).encode(), headers))

    def step_key(self, by: str, trigger: str = "", branch: str = "") -> str:
        return emitted_id(self.saga_id, by, branch, self.ids.get(trigger, trigger), "effect")

    def view(
        self, records: Iterable[Record] | None = None, graph: Choreography | None = None, now_us: int | None = None
    ) -> SagaView:
        graph = self.graph if graph is None else graph
        events, notes = rows(self.records if records is None else records, self.manifests)
        view = project(graph, self.saga_id, events, notes, now_us)
        verdict = Verdict(graph, self.saga_id, events, notes)
        assert (verdict.state, verdict.flags) == (view.state, view.flags - {Flag.OVERDUE})
        return view

    @property
    def now_us(self) -> int:
        return self.clock_ms * 1000

    def _time(self) -> str:
        from datetime import UTC, datetime

        return datetime.fromtimestamp(self.clock_ms / 1000, UTC).isoformat().replace("+00:00", "Z")

    def _record(self, topic: str, value: bytes, headers: list[tuple[str, bytes]]) -> Record:
        offset = self._next.get(topic, self._first)
        self._next[topic] = offset + 1
        return Record(topic, 0, offset, self.saga_id.encode(), value, headers, self.clock_ms)


def rows(records: Iterable[Record], manifests: Iterable[Manifest] = MANIFESTS) -> tuple[list[EventRow], list[NoteRow]]:
    decoder = RowDecoder()
    for each in manifests:
        decoder.learn(each)
    events, notes = [], []
    for record in records:
        if record.topic in {JOURNAL, ENDS}:
            notes.append(note_row(record))
        else:
            events.append(decoder.event(record))
    return events, notes


def placed(key: str = "order-17", **more: Any) -> Flow:
    flow = Flow(key, **more)
    flow.emit("OrderPlaced")
    return flow


def completed(key: str = "order-17", **more: Any) -> Flow:
    flow = placed(key, **more)
    flow.emit("InventoryReserved", "inventory.reserve", "OrderPlaced")
    flow.emit("AddressConfirmed", "shipping.check", "OrderPlaced")
    flow.emit("PaymentCaptured", "payments.capture", "OrderPlaced", "InventoryReserved")
    flow.emit("ShipmentCreated", "shipping.ship", "PaymentCaptured")
    flow.emit("OrderConfirmed", "orders.confirm", "PaymentCaptured", "ShipmentCreated")
    flow.end("OrderConfirmed", "completed")
    return flow


def failed(key: str = "order-17", **more: Any) -> Flow:
    """Shipping fails: the order is cancelled, the payment refunded, then the stock released."""
    flow = placed(key, **more)
    flow.emit("InventoryReserved", "inventory.reserve", "OrderPlaced")
    flow.emit("AddressConfirmed", "shipping.check", "OrderPlaced")
    flow.emit("PaymentCaptured", "payments.capture", "OrderPlaced", "InventoryReserved")
    flow.emit("ShipmentFailed", "shipping.ship", "PaymentCaptured")
    flow.emit("OrderCancelled", "orders.cancel", "ShipmentFailed")
    flow.end("OrderCancelled", "failed")
    flow.emit("PaymentRefunded", "payments.refund", "ShipmentFailed", "PaymentCaptured", undoes="PaymentCaptured")
    flow.emit(
        "InventoryReleased", "inventory.release", "PaymentRefunded", "InventoryReserved", undoes="InventoryReserved"
    )
    flow.note("completed", "shipping.notify", "OrderCancelled")
    return flow


def cancelled_before(key: str = "order-17", **more: Any) -> Flow:
    """The address is rejected before the capture: it is skipped, and undone with None."""
    flow = placed(key, **more)
    flow.emit("AddressRejected", "shipping.check", "OrderPlaced")
    flow.emit("OrderCancelled", "orders.cancel", "AddressRejected")
    flow.end("OrderCancelled", "failed")
    flow.emit("InventoryReserved", "inventory.reserve", "OrderPlaced")
    flow.note("skipped", "payments.capture", "", reason="orders.AddressRejected came first")
    flow.emit("PaymentRefunded", "payments.refund", "InventoryReserved", undoes=flow.step_key("payments.capture"))
    flow.emit(
        "InventoryReleased", "inventory.release", "PaymentRefunded", "InventoryReserved", undoes="InventoryReserved"
    )
    return flow


class Topics:
    """Topics in memory, for reading only: what a follower needs of a transport."""

    def __init__(self) -> None:
        self.logs: dict[Position, list[Record]] = {}
        self.readers = 0

    def append(
        self, topic: str, value: bytes | None, key: bytes = b"", headers: Any = (), partition: int = 0
    ) -> Record:
        log = self.logs.setdefault((topic, partition), [])
        record = Record(topic, partition, len(log), key, value, list(headers), BEGIN_MS)
        log.append(record)
        return record

    def announce(self, *manifests: Manifest) -> None:
        for each in manifests:
            self.append("choreo.manifests", each.to_bytes(), each.key.encode())

    def write(self, records: Iterable[Record]) -> None:
        for each in records:
            self.append(each.topic, each.value, each.key or b"", each.headers, each.partition)

    def describe(self, names: Sequence[str] | None = None) -> dict[str, TopicState]:
        topics = {topic for topic, _ in self.logs}
        return {topic: TopicState(topic, 1) for topic in topics if names is None or topic in names}

    def reader(self, topics: Sequence[str], offsets: dict[Position, int] | None = None) -> Reader:
        self.readers += 1
        return TopicsReader(self, topics, dict(offsets or {}))


class TopicsReader:
    def __init__(self, topics: Topics, names: Sequence[str], offsets: dict[Position, int]) -> None:
        self._topics = topics
        self._names = set(names)
        self._offsets = offsets

    def poll(self, timeout_s: float, records_max: int) -> list[Record]:
        found: list[Record] = []
        for position, log in self._topics.logs.items():
            if position[0] in self._names:
                at = self._offsets.get(position, 0)
                some = log[at : at + records_max - len(found)]
                self._offsets[position] = at + len(some)
                found += some
        return found

    def ends(self) -> dict[Position, int]:
        return {position: len(log) for position, log in self._topics.logs.items() if position[0] in self._names}

    def close(self) -> None:
        self._names = set()
