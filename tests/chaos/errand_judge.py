"""Errands at rest, judged by somebody who imports nothing of the runtime; and the person who mends what is parked.

A plain read_committed consumer looks at headers alone; `errands.expected` says from an errand's number how it must end. An
errand that was held up for too long by a fault may end as a late one: then all of it must be undone.
"""

import json
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime

from confluent_kafka import Producer

from tests.chaos.errands import PARTS, expected, kind_of
from tests.chaos.judge import consume

TOPICS = ("errands", "errand-hands", "errand-parts")
SERVICES = ("errands", "hands")
JOURNAL, COMMANDS = "choreo.journal", "choreo.commands"


@dataclass
class Errands:
    """All that there is to judge of errands."""

    events: dict[str, list[tuple[str, str, str]]] = field(default_factory=lambda: defaultdict(list))
    """By number: (type, id, what it undoes) of each event, once."""
    doubled: Counter[str] = field(default_factory=Counter)
    parked: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)
    dead: int = 0


def gather(bootstrap: str) -> Errands:
    """Return what is on the topics."""
    found = Errands()
    copies: Counter[str] = Counter()
    for message in consume(bootstrap, TOPICS):
        headers = {name: value.decode() for name, value in message.headers() or []}
        if "ce_id" not in headers:
            continue
        event_id, kind = headers["ce_id"], headers["ce_type"].rpartition(".")[2]
        copies[event_id] += 1
        if copies[event_id] == 1:
            found.events[headers["ce_subject"]].append((kind, event_id, headers.get("ce_compensatesid", "")))
        elif kind != "Placed":
            found.doubled[kind] += 1
    for message in consume(bootstrap, (JOURNAL,)):
        note = json.loads(message.value())
        if note["service"] in SERVICES:
            found.notes[note["note"]] += 1
            if note["note"] == "parked":
                found.parked[note["saga_id"]] = note
    found.dead = sum(1 for _ in consume(bootstrap, tuple(f"{each}.dlq" for each in SERVICES)))
    return found


def judge(found: Errands, placed: set[str]) -> list[str]:
    """Return every breach: what is lost, doubled, unfinished or not undone."""
    breaches = [f"doubled: {kind} of an errand, {count} times" for kind, count in found.doubled.items()]
    breaches += [f"lost: {each} was placed and is not on the topic" for each in placed - found.events.keys()]
    for name, events in found.events.items():
        number = int(name.rpartition("-")[2])
        kinds = Counter(kind for kind, _, _ in events)
        if kinds["Done"] + kinds["Failed"] != 1:
            breaches.append(
                f"I3: {name} ({kind_of(number)}) ended {kinds['Done']} and {kinds['Failed']} times: {kinds}"
            )
        elif kinds == expected(number):
            continue
        elif not kinds["Late"] or kind_of(number) == "unknown":
            breaches.append(f"oracle: {name} ({kind_of(number)}) has {dict(kinds)}, expected {dict(expected(number))}")
        elif kinds["Late"] != 1 or kinds["Done"] or kinds["PartAsked"] > PARTS:
            breaches.append(f"I2: {name} was late {kinds['Late']} times: {dict(kinds)}")
        made = sorted(event_id for kind, event_id, _ in events if kind == "PartDone")
        undone = sorted(undoes for kind, _, undoes in events if kind == "PartUndone")
        if kinds["Late"] and made != undone:
            breaches.append(f"I1: {name} has {len(made)} parts and undid {len(undone)} of them")
    return breaches


class Operator:
    """A person who looks at what is parked and mends it: some retry first, and two of them resolve the same step."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._given: Counter[str] = Counter()
        self.commands = 0

    def mend(self, found: Errands) -> None:
        """Give commands about every parked step of which none has been given, or only a retry."""
        producer = Producer({"bootstrap.servers": self._bootstrap, "partitioner": "murmur2_random"})
        for saga_id, note in found.parked.items():
            retry_first = int(saga_id[0], 16) % 2 == 0
            if self._given[saga_id] > retry_first:
                continue
            retry = retry_first and not self._given[saga_id]
            self._given[saga_id] += 1
            for operator in ("ana", "ben"):
                self._give(producer, note, operator, retry=retry)
        producer.flush(60)

    def _give(self, producer: Producer, note: dict[str, str], operator: str, *, retry: bool) -> None:
        command = {
            "version": 1,
            "command_id": str(uuid.uuid4()),
            "command": "retry" if retry else "resolve",
            "saga_id": note["saga_id"],
            "service": note["service"],
            "handler": note["handler"],
            "branch": note["branch"],
            "trigger": note["trigger"],
            "actor": operator,
            "reason": "chaos",
            "at": datetime.now(UTC).isoformat(),
        }
        if not retry:
            command |= {"event_type": "errand_hands.Prepared", "payload": {"number": 3}}
        producer.produce(COMMANDS, key=note["saga_id"], value=json.dumps(command).encode())
        self.commands += 1


def spoil(bootstrap: str, count: int) -> None:
    """Write records that nobody can read among the errands."""
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})
    for _ in range(count):
        producer.produce(
            "errands", key=str(uuid.uuid4()), value=b"\x00nonsense", headers=[("ce_type", b"errands.Placed")]
        )
    producer.flush(60)
