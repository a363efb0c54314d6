"""`python -m bench.profile`: what each stage of one hop costs, in process and without Kafka.

A batch goes through the stages one after another, each stage over all of it, so that a stage's figure holds nothing of
its neighbours. Beside them stands what the hand-written loop does in place of a stage.
"""

import argparse
import asyncio
import contextlib
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import NamedTuple, cast

from bench import raw
from bench.events import OrderPlaced, StockReserved, order, reserve
from bench.load import PARTITIONS, headers_for
from bench.report import write
from bench.services import one_hop
from choreo.clock import SystemClock
from choreo.codec import Codec, Schemas, encoder
from choreo.launch import tune_garbage_collection
from choreo.memory import Memory
from choreo.records import end
from choreo.runtime import Engine, Resources
from choreo.runtime.invoker import Invoker
from choreo.service import declarations
from choreo.step import Participant, Rules, Run, SagaMemory
from choreo.transport import Record

ROUNDS = 3
BATCH = 1000
AT_MS = 1_767_225_600_000


class Stage(NamedTuple):
    """One line of the table: what it is, µs per event, the same by hand (or None), and what it buys."""

    name: str
    us: float
    by_hand_us: float | None
    buys: str


def records(count: int) -> list[Record]:
    """Return starts of distinct sagas, as a consumer gets them."""
    encode = encoder(OrderPlaced)
    found = []
    for n in range(count):
        saga_id = str(uuid.uuid4())
        partition, offset = n % PARTITIONS, n // PARTITIONS
        headers = headers_for(saga_id, n)
        found.append(
            Record(OrderPlaced.__choreo_topic__, partition, offset, saga_id.encode(), encode(order(n)), headers, AT_MS)
        )
    return found


def stages(count: int) -> list[Stage]:
    """Return every stage's cost over `count` events, the best of some rounds."""
    tune_garbage_collection()  # As every process of choreo is.
    return asyncio.run(_stages(records(count)))


async def _stages(starts: list[Record]) -> list[Stage]:
    ours, hand = Ours(), ByHand()
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        watch = Watch()
        engine = ours.engine()
        for at in range(0, len(starts), BATCH):
            batch = starts[at : at + BATCH]
            await ours.stages(batch, watch)
            await hand.stages(batch, watch)
            with watch("whole"):
                engine.merge(await engine.process(batch))
        for name, seconds in watch.seconds.items():
            us = 1e6 * seconds / len(starts)
            best[name] = min(us, best.get(name, us))
    return _told(best)


def _told(us: dict[str, float]) -> list[Stage]:
    shown = sum(us[name] for name in ("read", "plan", "call", "settle", "outgoing", "memory"))
    by_hand = sum(cost for name, cost in us.items() if name.startswith("hand-"))
    return [
        Stage(
            "read: headers, Avro, validation",
            us["read"],
            us["hand-read"],
            "The writer's schema is known by its fingerprint, every field is checked, and what is unreadable becomes a "
            "dead letter rather than a crash.",
        ),
        Stage(
            "plan: fences and rules",
            us["plan"],
            None,
            "A duplicate does nothing, a step overtaken by a failure is cancelled, a compensation finds its original.",
        ),
        Stage("call: the handler", us["call"], us["hand-call"], "Arguments by type, retries where an attempt fails."),
        Stage("settle: Avro", us["encode"], us["hand-write"], "Bytes that any Avro library reads."),
        Stage(
            "settle: all else",
            us["settle"] - us["encode"],
            None,
            "Only declared events leave, with an id that a second run gives again, behind a fence that stops one.",
        ),
        Stage(
            "outgoing: key and headers",
            us["outgoing"],
            us["hand-headers"],
            "A CloudEvents context with cause, path and hop, from which the tracker draws what happened.",
        ),
        Stage("memory: encode", us["memory"], None, "What is known of the saga survives this process."),
        Stage(
            "around: offsets, order within a saga, tasks, merge",
            us["whole"] - shown,
            None,
            "Sagas run side by side while handlers wait, each of them in its order.",
        ),
        Stage("all of a hop", us["whole"], by_hand, "Kafka's own part comes on top of either."),
        Stage(
            "end: once a saga, beside its last event",
            us["end"],
            None,
            "Every service learns that the saga is over, and forgets it in time.",
        ),
    ]


class Watch:
    """Seconds of this thread's processor time, by stage: what else the machine does is not counted."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        begin = time.thread_time()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.thread_time() - begin


class Ours:
    """What choreo does for one hop, stage by stage, over a batch at a time as its loop has them."""

    def __init__(self) -> None:
        [service] = one_hop()
        [declaration] = declarations(service)
        self._codec = Codec(declaration.event_types, Schemas(), consumes=declaration.consumes)
        self._rules = Rules(declaration, self._codec)
        self._resources = Resources(declaration.providers)
        clock = SystemClock()
        self._invoke = Invoker(self._rules, declaration.handlers[0], self._resources, clock.now, ThreadPoolExecutor(1))

    def engine(self) -> Engine:
        """Return all of it together, with no memory yet."""
        engine = Engine(self._rules, self._resources, clock=SystemClock())
        for partition in range(PARTITIONS):
            engine.gain(partition, {})
        return engine

    async def stages(self, batch: list[Record], watch: Watch) -> None:
        rules, codec, invoke = self._rules, self._codec, self._invoke
        with watch("read"):
            envelopes = [each for record in batch if (each := codec.read(record)) is not None]
        with watch("plan"):
            calls = [
                (memory, participant, step)
                for envelope in envelopes
                for memory in [Memory()]
                for participant in [Participant(SagaMemory(rules, memory, envelope.saga_id))]
                for step in participant.event_arrived(envelope).steps
                if isinstance(step, Run)
            ]
        with watch("call"):
            emitted = [await invoke(memory, run) for memory, _, run in calls]
        with watch("encode"):
            for events in emitted:
                codec.encode(events[0])
        now = datetime.now(UTC)
        with watch("settle"):
            outcomes = [
                participant.attempt_returned(run, events, now)
                for (_, participant, run), events in zip(calls, emitted, strict=True)
            ]
        with watch("outgoing"):
            for outcome in outcomes:
                codec.outgoing(outcome.events[0])
        with watch("memory"):
            for memory, _, _ in calls:
                memory.encode()
        with watch("end"):
            for outcome in outcomes:
                end(outcome.events[0], "bench", completed=True, now=now)


class ByHand:
    """What `bench.raw` does in its place."""

    def __init__(self) -> None:
        self._read, self._writer = raw.Reader(OrderPlaced), raw.Writer(StockReserved)

    async def stages(self, batch: list[Record], watch: Watch) -> None:
        with watch("hand-read"):
            read = [(dict(record.headers), self._read(record.value or b"")) for record in batch]
        with watch("hand-call"):
            emitted = [await reserve(cast("OrderPlaced", each)) for _, each in read]
        with watch("hand-write"):
            for event in emitted:
                self._writer.value(event)
        with watch("hand-headers"):
            for headers, _ in read:
                self._writer.headers(headers)


def table(found: list[Stage]) -> str:
    rows = [
        f"| {each.name} | {each.us:.1f} | {'' if each.by_hand_us is None else f'{each.by_hand_us:.1f}'} | {each.buys} |"
        for each in found
    ]
    return "\n".join(["| stage | choreo, µs | by hand, µs | what it buys |", "|---|---:|---:|---|", *rows])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    chosen = parser.parse_args()
    text = table(stages(chosen.events))
    print(text)
    if chosen.write:
        write("profile", text)


if __name__ == "__main__":
    main()
