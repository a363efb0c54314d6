"""CloudEvents headers: what travels around an event's body.

Reading and writing the headers of one record lives here, in CloudEvents' binary mode for Kafka; the body does not.
Only the codec calls it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from choreo.clock import EPOCH, MICROSECOND
from choreo.errors import UndecodableRecord
from choreo.event import Envelope
from choreo.transport import Headers, Record

ID_BYTES_MAX = 64
HOP_DIGITS_MAX = 9
CONTENT_TYPE = b"application/avro"
CONSTANT_MAX = 4096
"""Sets of headers that are kept because event after event has them."""

Context = tuple[str, str, str, str, str, str, datetime, str, tuple[str, ...], str, str, int, tuple[str, ...], str, str]
"""What the key and the headers of one record say: the fields of an `Envelope` from `event_id` on, in its order."""


def read(record: Record, found: Mapping[str, bytes | None], type_name: str) -> Context:
    """Return what a record's key and headers say.

    Args:
        record: The record.
        found: Its headers, by name.
        type_name: What the header ce_type says.

    Raises:
        UndecodableRecord: If its id or its key is missing, the id is too long, or headers contradict each other;
            retrying does not help.
        UnicodeDecodeError: If one of them is no text.
    """
    get = found.get
    event_id = get("ce_id")
    if not event_id:
        raise UndecodableRecord("missing-id", "the header ce_id is missing or empty")
    if len(event_id) > ID_BYTES_MAX:
        raise UndecodableRecord("missing-id", f"the header ce_id has {len(event_id)} bytes; {ID_BYTES_MAX} are allowed")
    key = record.key
    if not key:
        raise UndecodableRecord("missing-id", "the record has no key; the key of an event is its saga_id")
    said = get("ce_sagaid")
    if said and said != key:
        raise UndecodableRecord("key-mismatch", f"ce_sagaid is {said!r} and the key {key!r}; they must be the same")
    saga_type, source, hop, path = _common(get("ce_sagatype"), get("ce_source"), get("ce_hop"), get("ce_path"))
    subject, caused, causes = get("ce_subject"), get("ce_causationid"), get("ce_causes")
    compensates, branch = get("ce_compensatesid"), get("ce_branch")
    trace_parent, trace_state = get("traceparent"), get("tracestate")
    return (
        event_id.decode(),
        type_name,
        key.decode(),
        saga_type,
        subject.decode() if subject else "",
        source,
        _occurred_at(get("ce_time"), record.timestamp_ms),
        caused.decode() if caused else "",
        tuple(causes.decode().split(",")) if causes else (),
        compensates.decode() if compensates else "",
        branch.decode() if branch else "",
        hop,
        path,
        trace_parent.decode() if trace_parent else "",
        trace_state.decode() if trace_state else "",
    )


@lru_cache(CONSTANT_MAX)
def _common(
    saga_type: bytes | None, source: bytes | None, hop: bytes | None, path: bytes | None
) -> tuple[str, str, int, tuple[str, ...]]:
    """Return what all events say which come of the same steps: the counterpart of `_constant`."""
    hop = hop or b"0"
    if not hop.isdigit() or len(hop) > HOP_DIGITS_MAX:
        raise UndecodableRecord("undecodable", f"the header ce_hop is {hop[:20]!r} and not a number")
    steps = tuple(path.decode().split(",")) if path else ()
    return (saga_type or b"").decode(), (source or b"").decode(), int(hop), steps


def _occurred_at(said: bytes | None, timestamp_ms: int) -> datetime:
    if said:
        try:
            moment = datetime.fromisoformat(said.decode())
            if moment.tzinfo is UTC:
                return moment
            if moment.tzinfo is not None:
                return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            # The time is wanted, not required; the record has one of its own.
            pass
    return EPOCH + max(timestamp_ms, 0) * 1000 * MICROSECOND


def write(envelope: Envelope, key: bytes) -> Headers:
    """Return the headers of a record with this key; those that would say nothing are left out."""
    _, _, event_id, kind, _, saga_type, business_key, source, occurred_at = envelope[:9]
    causation_id, causes, compensates_id, branch, hop, path, traceparent, tracestate = envelope[9:]
    since = occurred_at - EPOCH
    second, micros = _second(since.days, since.seconds), since.microseconds
    headers = [
        *_constant(kind, source, saga_type, hop, path),
        ("ce_id", event_id.encode()),
        ("ce_time", b"%b.%06dZ" % (second, micros) if micros else second + b"Z"),
        ("ce_sagaid", key),
    ]
    # One test a header: most events have two of these, and a loop over a table costs more than they do.
    if business_key:
        headers.append(("ce_subject", business_key.encode()))
    if causation_id:
        headers.append(("ce_causationid", causation_id.encode()))
    if listed := ",".join(causes):
        headers.append(("ce_causes", listed.encode()))
    if compensates_id:
        headers.append(("ce_compensatesid", compensates_id.encode()))
    if branch:
        headers.append(("ce_branch", branch.encode()))
    if traceparent:
        headers.append(("traceparent", traceparent.encode()))
    if tracestate:
        headers.append(("tracestate", tracestate.encode()))
    return headers


@lru_cache(CONSTANT_MAX)
def _second(days: int, seconds: int) -> bytes:
    """Return a second in ISO 8601: a batch has few of them, and `isoformat` takes as long as all other headers."""
    return (EPOCH + timedelta(days, seconds)).isoformat(timespec="seconds").removesuffix("+00:00").encode()


@lru_cache(CONSTANT_MAX)
def _constant(kind: str, source: str, saga_type: str, hop: int, path: tuple[str, ...]) -> Headers:
    """Return the headers that all events have which come of the same steps."""
    headers = [("ce_specversion", b"1.0"), ("content-type", CONTENT_TYPE), ("ce_type", kind.encode())]
    headers.append(("ce_source", (source or "/").encode()))
    if saga_type:
        headers.append(("ce_sagatype", saga_type.encode()))
    if hop:
        headers.append(("ce_hop", str(hop).encode()))
    if path:
        headers.append(("ce_path", ",".join(path).encode()))
    return headers
