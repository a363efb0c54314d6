"""CloudEvents headers: what travels around an event's body.

Reading and writing the headers of one record lives here, in CloudEvents' binary mode for Kafka; the body does not.
Only the codec calls it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

from choreo.errors import UndecodableRecord
from choreo.event import Envelope
from choreo.schema.forms import EPOCH, MICROSECOND
from choreo.transport import Headers, Record

ID_BYTES_MAX = 64
HOP_DIGITS_MAX = 9
CONTENT_TYPE = b"application/avro"
CONSTANT_MAX = 4096
"""Sets of headers that are kept because event after event has them."""


Around = tuple[str, str, str, str, datetime, str, tuple[str, ...], str, str, int, tuple[str, ...], str, str]
"""What the key and the headers of one record say: the fields of an `Envelope` from `saga_id` on, in its order."""


def identity(found: Mapping[str, bytes | None]) -> str:
    """Return a record's event id.

    Raises:
        UndecodableRecord: If it has none, or one that is too long; retrying does not help.
    """
    value = found.get("ce_id")
    if not value:
        raise UndecodableRecord("missing-id", "the header ce_id is missing or empty")
    if len(value) > ID_BYTES_MAX:
        raise UndecodableRecord("missing-id", f"the header ce_id has {len(value)} bytes; {ID_BYTES_MAX} are allowed")
    return value.decode()


def around(record: Record, found: Mapping[str, bytes | None]) -> Around:
    """Return what a record's key and headers say.

    Args:
        record: The record.
        found: Its headers, by name.

    Raises:
        UndecodableRecord: If they contradict each other; retrying does not help.
        UnicodeDecodeError: If one of them is no text.
    """
    key = record.key
    if not key:
        raise UndecodableRecord("missing-id", "the record has no key; the key of an event is its saga_id")
    said = found.get("ce_sagaid")
    if said and said != key:
        raise UndecodableRecord("key-mismatch", f"ce_sagaid is {said!r} and the key {key!r}; they must be the same")
    get = found.get
    saga_type, source, hop, path = _common(get("ce_sagatype"), get("ce_source"), get("ce_hop"), get("ce_path"))
    subject, caused, causes = get("ce_subject"), get("ce_causationid"), get("ce_causes")
    compensates, branch = get("ce_compensatesid"), get("ce_branch")
    trace_parent, trace_state = get("traceparent"), get("tracestate")
    return (
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


class HeaderWriter:
    """Writes the headers of events, from any thread."""

    def __init__(self) -> None:
        self._constant = lru_cache(CONSTANT_MAX)(_constant)
        # The last second and its text, together: another thread may put others in their place at any time.
        self._second = ((0, 0), b"1970-01-01T00:00:00")

    def headers(self, envelope: Envelope) -> Headers:
        """Return an envelope's headers; those that would say nothing are left out."""
        (
            *_,
            event_id,
            kind,
            saga_id,
            saga_type,
            business_key,
            source,
            occurred_at,
            causation_id,
            causes,
            compensates_id,
            branch,
            hop,
            path,
            traceparent,
            tracestate,
        ) = envelope
        headers = [
            *self._constant(kind, source, saga_type, hop, path),
            ("ce_id", event_id.encode()),
            ("ce_time", self._time(occurred_at)),
            ("ce_sagaid", saga_id.encode()),
        ]
        # One test a header: most events have two of these, and a loop over a table costs more than they do.
        if business_key:
            headers.append(("ce_subject", business_key.encode()))
        if causation_id:
            headers.append(("ce_causationid", causation_id.encode()))
        if causes:
            headers.append(("ce_causes", ",".join(causes).encode()))
        if compensates_id:
            headers.append(("ce_compensatesid", compensates_id.encode()))
        if branch:
            headers.append(("ce_branch", branch.encode()))
        if traceparent:
            headers.append(("traceparent", traceparent.encode()))
        if tracestate:
            headers.append(("tracestate", tracestate.encode()))
        return headers

    def _time(self, moment: datetime) -> bytes:
        """Return a moment in ISO 8601, in UTC: the text of its second is made once, for one batch has a few of them."""
        since = moment - EPOCH
        second, text = self._second
        if second != (now := (since.days, since.seconds)):
            text = moment.astimezone(UTC).isoformat(timespec="seconds").removesuffix("+00:00").encode()
            self._second = (now, text)
        return b"%b.%06dZ" % (text, since.microseconds) if since.microseconds else text + b"Z"


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
