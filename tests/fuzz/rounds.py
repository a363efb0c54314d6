"""`python -m tests.fuzz.rounds --records 1000000`: nothing that topics hold crashes a service or the tracker.

Records are made from good ones by damage of many kinds, on every topic that is read: events, ends, commands, memory, journal and
manifests. What is damaged beyond doubt must be found among the dead letters, with its original bytes; a good record that
comes behind it must still be processed.
"""

import argparse
import asyncio
import json
import random
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

from choreo import Context, Event, Failure, Later, Retry, Saga, Service, State
from choreo.clock import ManualClock
from choreo.codec import Codec, Schemas
from choreo.event import Envelope
from choreo.event import Event as AnyEvent
from choreo.manifest import Manifest
from choreo.memory import Memory
from choreo.records import COMMANDS, ENDS, JOURNAL, MANIFESTS, Command, Note, end, journal
from choreo.runtime import Engine, Resources
from choreo.service import declarations
from choreo.step import Rules
from choreo.testing import MemoryBroker
from choreo.tracker import Follower, Store, Tracker
from choreo.transport import Outgoing, Record, TopicSpec

BATCH = 500
SAGAS = 400
RESTART_EVERY = 20
FRESH_A_BATCH = 2
FAR = timedelta(minutes=10)


class Placed(Event, topic="fuzz.orders"):
    order_id: str
    parts: int = 0


class Part(Event, topic="fuzz.parts"):
    n: int


class Made(Event, topic="fuzz.parts"):
    n: int


class Captured(Event, topic="fuzz.payments"):
    n: int


class Rejected(Failure, topic="fuzz.payments"):
    pass


class Refunded(Event, topic="fuzz.payments"):
    pass


class Done(Event, topic="fuzz.orders"):
    pass


class Reminded(Event, topic="fuzz.orders"):
    pass


class Late(Failure, topic="fuzz.orders"):
    pass


class Seen(State):
    count: int = 0


def everything() -> Service:
    """Return a service with one handler of every kind."""
    service = Service("fuzzed")
    service.owns(Saga("fuzz", starts=Placed, completes=Done, fails=Late, key="order_id"))
    service.publishes(Captured, Rejected, Part, Made, by="a fuzzer")

    @service.handles(retry=Retry(attempts=3, delay_s=1))
    def charge(placed: Placed, seen: Seen, ctx: Context) -> Reminded | None:
        seen.count += 1
        if len(placed.order_id) % 3 == 0 and ctx.attempt < 3:
            raise ConnectionError("now and then")
        return Reminded() if placed.parts == 1 else None

    @service.handles
    def split(placed: Placed) -> list[Part] | None:
        return [Part(n=n) for n in range(min(max(placed.parts, 0), 4))] or None

    @service.handles
    def make(part: Part) -> Made:
        return Made(n=part.n)

    @service.handles
    def gather(made: list[Made]) -> Done:
        return Done()

    @service.handles
    def join(captured: Captured, placed: Placed) -> Later[Reminded]:
        return Later(Reminded(), after=timedelta(minutes=1), unless=Rejected)

    @service.compensates
    def refund(cause: Rejected, captured: Captured) -> Refunded:
        return Refunded()

    @service.deadline(Done, within=timedelta(minutes=5))
    def overdue(placed: Placed) -> Late:
        return Late(reason="late")

    return service


class Given(NamedTuple):
    """One record, and whether it must be found among the dead letters: None where that is open."""

    record: Record
    bad: bool | None


class Fuzz:
    """Makes records, has them processed and checks what became of them."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        [self.declaration] = declarations(everything())
        self.codec = Codec(self.declaration.event_types, Schemas(), consumes=self.declaration.consumes)
        self.clock = ManualClock()
        self.engine = Engine(Rules(self.declaration, self.codec), Resources(()), clock=self.clock)
        self.engine.gain(0, {})
        self.sagas = [str(uuid.UUID(int=self.chance.getrandbits(128))) for _ in range(SAGAS)]
        self.offsets: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.broker = MemoryBroker(self.clock)
        self.topics = sorted({each.__choreo_topic__ for each in self.declaration.event_types})
        self.broker.create([TopicSpec(name, 1) for name in (*self.topics, JOURNAL, ENDS, COMMANDS, MANIFESTS)])
        manifest = Manifest.of(self.declaration)
        self.broker.write([Outgoing(MANIFESTS, manifest.key.encode(), manifest.to_bytes(), [])])
        self.store = Store(":memory:")
        self.follower = Follower(self.store, self.broker, self.clock)
        self.tracker = Tracker(self.store, self.clock)

    def run(self, total: int, told: Callable[[str], None] = lambda _: None) -> Counter[str]:
        """Process so many records; return what was counted.

        Raises:
            AssertionError: If a bad record is not accounted for.
        """
        done = 0
        while done < total:
            batch = [self.make() for _ in range(min(BATCH, total - done))]
            asyncio.run(self.process(batch))
            self.track(batch)
            done += len(batch)
            self.counts["batches"] += 1
            # Sagas come and go: one that went on for ever would be read anew, ever longer, for each of its records.
            for _ in range(FRESH_A_BATCH):
                self.sagas[self.chance.randrange(SAGAS)] = str(uuid.UUID(int=self.chance.getrandbits(128)))
            if self.counts["batches"] % RESTART_EVERY == 0:
                self.restart()
            self.clock.advance(timedelta(seconds=self.chance.choice([0, 1, 30, 600])))
            if done % (BATCH * 100) == 0:
                told(f"{done:,} records, {self.counts['dead-lettered']:,} dead letters")
        self.counts["records"] = done
        return self.counts

    async def process(self, batch: list[Given]) -> None:
        before = self.engine.counts["dead-lettered"]
        memories = self.engine.partitions[0]
        met = {(each.record.key or b"").decode("utf-8", "replace") for each in batch}
        unreadable = {saga for saga in met if saga in memories and not _readable(memories[saga])}
        work = await self.engine.process([each.record for each in batch])
        self.engine.merge(work)
        letters = {}
        for each in work.outputs:
            if each.topic.endswith(".dlq"):
                headers = dict(each.headers)
                place = headers["choreo_dlq_topic"].decode(), int(headers["choreo_dlq_offset"])
                letters[place] = each
        for each in batch:
            record = each.record
            letter = letters.get((record.topic, record.offset))
            poisoned = (record.key or b"").decode("utf-8", "replace") in unreadable
            if each.bad and letter is None:
                raise AssertionError(f"not accounted for: {record}")
            if each.bad is False and letter is not None and not poisoned and b"waiting-full" not in _why(letter):
                raise AssertionError(f"a good record was set aside: {record}: {letter.headers}")
            if letter is not None and (letter.key, letter.value) != (record.key, record.value):
                raise AssertionError(f"a dead letter without its original bytes: {record}")
        self.counts["dead-lettered"] += self.engine.counts["dead-lettered"] - before
        if len(letters) != self.engine.counts["dead-lettered"] - before:
            raise AssertionError("a dead letter was not counted, or counted twice")

    def track(self, batch: list[Given]) -> None:
        """Let the tracker read the same records, and damaged journal notes and manifests beside them."""
        written = [Outgoing(*each.record[:1], *each.record[3:6], 0) for each in batch]
        for _ in range(20):
            topic = self.chance.choice([JOURNAL, MANIFESTS, ENDS])
            written.append(Outgoing(topic, self.key(), self.damaged(self.note()), [], 0))
        self.broker.write(written)
        self.follower.catch_up()
        for saga_id in self.chance.sample(self.sagas, 3):
            self.tracker.saga(saga_id)

    def restart(self) -> None:
        """Begin again with memory of which some records are damaged."""
        memories = dict(self.engine.partitions[0])
        for saga_id in self.chance.sample(sorted(memories), min(5, len(memories))):
            memories[saga_id] = self.damaged(memories[saga_id])
        for saga_id in self.chance.sample(self.sagas, 3):
            memories.pop(saga_id, None)
        self.engine.gain(0, memories)
        self.counts["restarts"] += 1

    # Records.

    def make(self) -> Given:
        kind = self.chance.choices([self.event, self.end, self.command], [8, 1, 1])[0]
        return kind()

    def key(self) -> bytes:
        return self.chance.choice(self.sagas).encode()

    def event(self) -> Given:
        chance = self.chance
        saga_id = chance.choice(self.sagas)
        made: AnyEvent = chance.choice(
            [
                lambda: Placed(order_id=str(chance.randrange(1000)), parts=chance.randrange(-2, 5)),
                lambda: Captured(n=chance.randrange(9)),
                lambda: Rejected(reason="no"),
                lambda: Made(n=1),
                lambda: Part(n=2),
            ]
        )()
        branch = chance.choice(["", "", "/0123abcd:0.2", "/0123abcd:1.2", "/0123abcd:7.2", "/x", "/0123abcd:0.2/aa"])
        envelope = Envelope(
            made,
            self.codec.encode(made),
            chance.choice([f"e{chance.randrange(5000)}", str(uuid.UUID(int=chance.getrandbits(128)))]),
            type(made).__choreo_type__,
            saga_id,
            chance.choice(["fuzz", "", "other"]),
            occurred_at=self.clock.now(),
            hop=chance.choice([0, 1, 99, 100, 5000]),
            branch=branch,
        )
        outgoing = self.codec.outgoing(envelope)
        record = self.placed(outgoing.topic, outgoing.key, outgoing.value, list(outgoing.headers))
        return self.spoilt(record) if chance.random() < 0.5 else Given(record, bad=False)

    def spoilt(self, record: Record) -> Given:
        """Damage an event; say whether it is beyond doubt bad."""
        chance = self.chance
        headers = list(record.headers)
        value = record.value or b""

        def without(name: str) -> list[tuple[str, bytes]]:
            return [each for each in headers if each[0] != name]

        def with_(name: str, text: bytes) -> list[tuple[str, bytes]]:
            return [*without(name), (name, text)]

        certain: list[Callable[[], Record]] = [
            lambda: record._replace(headers=without("ce_id")),
            lambda: record._replace(headers=without("ce_type")),
            lambda: record._replace(headers=with_("ce_type", b"no.such.Type")),
            lambda: record._replace(headers=with_("ce_id", b"x" * 65)),
            lambda: record._replace(headers=with_("ce_sagaid", b"somebody-else")),
            lambda: record._replace(headers=with_("ce_hop", b"-1")),
            lambda: record._replace(key=None, headers=without("ce_sagaid")),
            lambda: record._replace(value=None),
            lambda: record._replace(value=b""),
            lambda: record._replace(value=value[:9]),
            lambda: record._replace(value=b"\xc3\x01" + bytes(8) + value[10:]),
            lambda: record._replace(value=value + b"\x00"),
            lambda: record._replace(value=value[:10] + b"x" * 5_000_000),
        ]
        open_: list[Callable[[], Record]] = [
            lambda: record._replace(value=self.damaged(value)),
            lambda: record._replace(headers=with_(chance.choice(headers)[0], chance.randbytes(8))),
            lambda: record._replace(headers=with_("ce_time", b"yesterday")),
            lambda: record._replace(headers=with_("ce_causes", b",,,")),
            lambda: record._replace(headers=with_("ce_path", b"\xff")),
            lambda: record._replace(headers=with_("ce_branch", b"/" * 200)),
            lambda: record._replace(key=chance.randbytes(8), headers=without("ce_sagaid")),
        ]
        if chance.random() < 0.6:
            # Five megabytes are seldom enough.
            return Given(chance.choice(certain if chance.random() < 0.002 else certain[:-1])(), True)
        return Given(chance.choice(open_)(), None)

    def end(self) -> Given:
        saga_id = self.chance.choice(self.sagas)
        envelope = Envelope(Done(), b"", "e", Done.__choreo_type__, saga_id, "fuzz")
        outgoing = end(envelope, "fuzzed", completed=True, now=self.clock.now())
        record = self.placed(ENDS, outgoing.key, outgoing.value, [])
        if self.chance.random() < 0.5:
            return Given(record, None)
        value = self.chance.choice([b"", b"{}", b"[]", b"null", b"\xff", b"[" * 50_000, b'{"saga_id": 1}'])
        return Given(record._replace(value=value), True)

    def command(self) -> Given:
        chance = self.chance
        saga_id = chance.choice(self.sagas)
        given: dict[str, Any] = {
            "command_id": "c",
            "command": chance.choice(["retry", "resolve"]),
            "saga_id": saga_id,
            "service": chance.choice(["fuzzed", "fuzzed", "other"]),
            "handler": chance.choice(["charge", "join", "split", "gather", "refund", "nobody", ""]),
            "trigger": chance.choice(["", "e1", f"e{chance.randrange(5000)}"]),
            "branch": chance.choice(["", "/0123abcd:0.2"]),
            "actor": "ana",
            "reason": "r",
            "event_type": chance.choice(["", "fuzz_orders.Reminded", "nonsense"]),
            "payload": chance.choice([None, {}, {"n": [1]}]),
            "at": self.clock.now(),
        }
        record = self.placed(COMMANDS, saga_id.encode(), Command(**given).to_bytes(), [])
        if chance.random() < 0.5:
            return Given(record, None)
        value = chance.choice([b"", b"{", b"[]", b"\xff", b'{"command": "retry"}', b"[" * 50_000, b"7"])
        return Given(record._replace(value=value), True)

    def note(self) -> bytes:
        kind = self.chance.choice(["parked", "retried", "skipped", "resolved", "nonsense"])
        told = Note("parked", "charge", "", "e1", attempt=self.chance.randrange(3), actor="ana")
        written = journal(told, "fuzzed", self.chance.choice(self.sagas), "fuzz", self.clock.now()).value or b""
        return written.replace(b'"note":"parked"', b'"note":"%b"' % kind.encode())

    def damaged(self, data: bytes) -> bytes:
        chance = self.chance
        if not data:
            return chance.randbytes(20)
        at = chance.randrange(len(data))
        return chance.choice(
            [
                lambda: data[:at],
                lambda: data[:at] + bytes((data[at] ^ 1 << chance.randrange(8),)) + data[at + 1 :],
                lambda: data + chance.randbytes(5),
                lambda: chance.randbytes(len(data)),
                lambda: json.dumps([data.decode("latin-1")]).encode(),
            ]
        )()

    def placed(self, topic: str, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]) -> Record:
        offset = self.offsets[topic]
        self.offsets[topic] += 1
        return Record(topic, 0, offset, key, value, headers, 0)


def _readable(data: bytes) -> bool:
    try:
        Memory.decode(data)
    except Exception:
        return False
    return True


def _why(letter: Outgoing) -> bytes:
    return dict(letter.headers).get("choreo_dlq_reason", b"")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.rounds", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    began = time.monotonic()
    fuzz = Fuzz(chosen.seed)
    counts = fuzz.run(chosen.records, lambda text: print(text, file=sys.stderr, flush=True))
    reasons = {name.partition(":")[2]: n for name, n in fuzz.engine.counts.items() if name.startswith("dead-lettered:")}
    print(f"seed {chosen.seed}: {counts['records']:,} records in {time.monotonic() - began:.0f} s, nothing crashed")
    print(f"dead letters {counts['dead-lettered']:,}: {dict(sorted(reasons.items()))}; restarts {counts['restarts']:,}")
    told = {
        name: fuzz.engine.counts[name] for name in ("retried", "parked", "skipped", "resumed", "resolved", "refused")
    }
    print(f"steps {told}; the tracker passed over {fuzz.tracker.lag().undecodable:,}")


if __name__ == "__main__":
    main()
