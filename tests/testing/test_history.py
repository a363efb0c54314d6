"""What happened to one saga, out of all that happened."""

import json
from datetime import UTC, datetime, timedelta

from choreo.testing.history import LINES_MAX, History, HistoryEntry
from choreo.transport import Outgoing, Record

AT = datetime(2026, 1, 1, tzinfo=UTC)


def read(kind: str, key: str = "17") -> Record:
    return Record("orders", 0, 0, key.encode(), b"", [("ce_type", kind.encode())], 0)


def wrote(kind: str, key: str = "17", value: bytes = b"") -> Outgoing:
    return Outgoing("orders", key.encode(), value, [("ce_type", kind.encode())])


def happened(service: str = "payments", after_s: float = 0, **what: object) -> HistoryEntry:
    rest = {"read": (), "wrote": (), "faults": ()} | what
    return HistoryEntry(AT + timedelta(seconds=after_s), service, **rest)


def lines(*entries: HistoryEntry) -> list[str]:
    history = History({"payments": {"orders.Placed", "choreo.ends"}})
    for entry in entries:
        history.add(entry)
    return history.lines("17")


def test_what_was_read_suffered_and_committed_is_told():
    note = json.dumps({"note": "retried", "handler": "capture"}).encode()
    assert lines(
        happened("", wrote=[wrote("orders.Placed")]),
        happened(read=[read("orders.Placed")], faults=["dies after capture"]),
        happened(read=[read("orders.Placed"), read("choreo.ends")], wrote=[wrote("choreo.journal", value=note)]),
        happened(after_s=1.5, wrote=[wrote("payments.Captured"), wrote("choreo.ends")]),
    ) == [
        "     0.000 s  outside publishes Placed",
        "     0.000 s  payments reads Placed; dies after capture",
        "     0.000 s  payments reads Placed, the end; commits a note (retried capture)",
        "     1.500 s  payments is woken by a timer; commits Captured, the end",
    ]


def test_other_sagas_are_left_out_but_for_what_may_have_hit_this_one():
    assert lines(
        happened("", wrote=[wrote("orders.Placed", "18")]),
        happened(read=[read("orders.Placed", "18")], wrote=[wrote("payments.Captured", "18")]),
        happened(read=[read("orders.Placed", "18")], faults=["dies before its commit"]),
        happened(faults=["dies before its commit"]),
        happened(),
    ) == [
        "     0.000 s  payments reads something else; dies before its commit",
        "     0.000 s  payments is woken by a timer; dies before its commit",
    ]


def test_what_a_service_does_not_react_to_is_left_out():
    assert lines(happened(read=[read("orders.Noted")])) == []
    assert lines(happened("stranger", read=[read("orders.Placed")])) == []


def test_a_long_history_is_cut():
    cut = lines(*(happened(read=[read("orders.Placed")]) for _ in range(LINES_MAX + 7)))
    assert len(cut) == LINES_MAX + 1
    assert cut[-1] == "… and 7 more"


def test_a_record_without_a_type_has_no_name():
    nameless = Outgoing("orders", b"17", b"", [])
    assert lines(happened("", wrote=[nameless])) == ["     0.000 s  outside publishes ?"]
