"""Today's code of one service, taken along the way that a recorded saga took.

Driving the core with recorded events, ends, commands and times lives here, over the runtime's own `Course`; in which
order they come is `order`'s, and what handlers come to that are not called, `outcome`'s. `guard` runs one of these for
every service, saga and order. What would be written is kept, and goes nowhere.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, cast

from choreo.clock import ManualClock
from choreo.codec import Codec, Schemas
from choreo.command import Command
from choreo.errors import UndecodableRecord
from choreo.event import Envelope, Event
from choreo.handler import Kind
from choreo.manifest import HandlerManifest, Manifest
from choreo.memory import Memory, Timer, TimerKey, TimerKind
from choreo.replay.order import Item, Order, What
from choreo.replay.outcome import Assumed
from choreo.replay.recording import RecordedEvent, RecordedSaga, Recording, own
from choreo.replay.steps import Output, Step, StepKey, fresh_output, recorded_output
from choreo.runtime import Resources
from choreo.runtime.course import Course
from choreo.runtime.engine import THREADS_MAX
from choreo.runtime.intake import Intake
from choreo.runtime.invoke import Invoker
from choreo.runtime.notes import JOURNAL
from choreo.runtime.work import Chain, Work
from choreo.runtime.work import Item as Taken
from choreo.service import Declaration
from choreo.step import Rules
from choreo.tracker.decoding import note
from choreo.tracker.seen import Noted
from choreo.transport import Record

TIMER_SLACK_MS = 1000
"""A timer fires by itself once it is due for so long: until then, what came may have come before it."""
TIMERS_MAX = 1000
"""Timers that fire by themselves, a saga and service."""
EVENTS_ANEW_MAX = 1000
"""Events that today's code emits, reads itself, and that are not recorded, a saga and service."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOWHERE = Record("", 0, 0, None, None, [], 0)
_Place = tuple[str, int, int]


@dataclass(slots=True)
class Result:
    """What today's code comes to.

    Attributes:
        outputs: What it emits, in order.
        notes: What it writes into the journal.
        unknown: Steps that are not called and of which nothing is recorded, and what was to be called.
        due: Steps that had something left to do at the end, and when.
    """

    outputs: list[Output] = field(default_factory=list)
    notes: list[Noted] = field(default_factory=list)
    unknown: dict[StepKey, str] = field(default_factory=dict)
    due: dict[StepKey, str] = field(default_factory=dict)


class Today:
    """Today's code of one service, ready to be taken through sagas.

    Args:
        declaration: The service.
        schemas: The schemas that recorded events were written with.
        recorded: The recording.
        replaced: What stands in for its resources; nothing else is ever opened.
        uncalled: Handlers that are not called, and why.
    """

    def __init__(
        self,
        declaration: Declaration,
        schemas: Schemas,
        recorded: Recording,
        replaced: Mapping[type, object],
        uncalled: Mapping[str, str],
    ) -> None:
        self.declaration = declaration
        self.uncalled = uncalled
        self.codec = Codec(declaration.event_types, schemas)
        self.rules = Rules(declaration, Codec(declaration.event_types, schemas, consumes=declaration.consumes))
        self.deadlines = frozenset(each.name for each in declaration.handlers if each.kind is Kind.DEADLINE)
        self.steady = _steady(declaration, recorded)
        """Deadlines that are as they were: they fire when they did, and not where an event in the backlog won."""
        self.compensations = frozenset(each.name for each in declaration.handlers if each.kind is Kind.COMPENSATION)
        self.names = frozenset(each.__choreo_type__ for each in declaration.event_types)
        self.resources = Resources((), replaced)
        self.threads = ThreadPoolExecutor(THREADS_MAX, thread_name_prefix=f"replay-{declaration.name}")

    @property
    def reads(self) -> frozenset[str]:
        """The types that it reads."""
        return frozenset(self.rules.reactions)

    def close(self) -> None:
        """Let go of its threads."""
        self.threads.shutdown(wait=False, cancel_futures=True)

    async def take(
        self, saga: RecordedSaga, order: Order, inputs: Mapping[_Place, Envelope], then: Mapping[StepKey, Step]
    ) -> Result:
        """Return what it does when a saga's records come to it in an order.

        Args:
            saga: What is recorded.
            order: In which order it comes.
            inputs: The events that it can read, by their places.
            then: What the service did.
        """
        await self.resources.open()
        run = _Run(self, saga, order, then)
        for item in order:
            await run.take(item, inputs)
        return await run.rest()


class _Run:
    """One saga's way through one service."""

    def __init__(self, today: Today, saga: RecordedSaga, order: Order, then: Mapping[StepKey, Step]) -> None:
        self._today = today
        self._service = today.declaration.name
        self._saga_id = saga.saga_id
        self._then = then
        self._clock = ManualClock(_EPOCH)
        self._memory = Memory()
        self._work = Work()
        self._chain = Chain(0, saga.saga_id.encode(), [], saga_id=saga.saga_id)
        self._result = Result()
        # Own events that are read back in their turn, and those that have come to be.
        self._to_come = {item.event_id for item in order if item.event is not None}
        self._own: dict[str, Envelope] = {}
        self._anew = 0
        rules = today.rules
        assumed = partial(
            Assumed,
            steps=then,
            gone={name for name, _, _ in then} - rules.handlers.keys(),
            now=self._clock.now,
            unknown=self._result.unknown,
        )
        invokers: dict[str, object] = {
            name: assumed(handler)
            if name in today.uncalled
            else Invoker(rules, handler, today.resources, self._clock.now, today.threads)
            for name, handler in rules.handlers.items()
        }
        intake = Intake(rules, self._clock, {}, None, lambda _: True)
        # A course awaits an invoker, whatever it is.
        self._course = Course(rules, cast("Mapping[str, Invoker]", invokers), intake, self._clock)

    async def take(self, item: Item, inputs: Mapping[_Place, Envelope]) -> None:
        """Take one item, once what was due before it is done."""
        # What came in time is read before anything fires, however late that was.
        at_ms = (item.event.seen.at_us if item.event is not None else item.at_us) // 1000
        for _ in range(TIMERS_MAX):
            timers = self._memory.timers.items()
            due_ms = min((timer.due_ms for key, timer in timers if not self._steady(key)), default=None)
            if due_ms is None or due_ms + TIMER_SLACK_MS > at_ms:
                break
            await self._fire(due_ms)
        self._move(_EPOCH + timedelta(microseconds=item.at_us))
        match item.what:
            case What.END:
                self._note_due()
                await self._process([(_NOWHERE, None)])
            case What.TIMERS:
                await self._process([])
            case What.COMMAND:
                assert item.note is not None
                await self._process([(_NOWHERE, self._command(item.note))])
            case What.EVENT:
                assert item.event is not None
                self._to_come.discard(item.event_id)
                place = item.event.record[:3]
                mine = own(item.event.seen, self._service)
                envelope = self._own.pop(item.event_id, None) if mine else inputs.get(place)
                if envelope is not None:
                    await self._process([(item.event.record, envelope)])

    async def rest(self) -> Result:
        """Let retries come to an end, which nothing recorded waits for, and return what it all came to."""
        for _ in range(TIMERS_MAX):
            soonest = min(self._memory.timers.items(), key=_due_ms, default=None)
            if soonest is None or soonest[0][0] is not TimerKind.RETRY:
                break
            await self._fire(soonest[1].due_ms)
        self._note_due()
        return self._result

    def _note_due(self) -> None:
        """Take note of what is still to come: with the saga's end it is called off."""
        for key, timer in self._memory.timers.items():
            due = _EPOCH + timedelta(milliseconds=timer.due_ms)
            self._result.due[key[1:4]] = due.isoformat(timespec="seconds")

    def _steady(self, key: TimerKey) -> bool:
        return key[0] is TimerKind.DEADLINE and key[1] in self._today.steady

    async def _fire(self, due_ms: int) -> None:
        self._move(_EPOCH + timedelta(milliseconds=due_ms))
        await self._process([])

    def _move(self, at: datetime) -> None:
        self._clock.advance(max(at - self._clock.now(), timedelta()))

    async def _process(self, taken: list[tuple[Record, Taken]]) -> None:
        """Take records, or what is due if there are none; then what is emitted and was never recorded."""
        todo = [taken]
        while todo:
            batch = todo.pop(0)
            self._chain.woken = not batch
            await self._course.take(self._chain, batch, self._memory, self._work)
            for envelope in self._written():
                if envelope.type not in self._today.rules.reactions:
                    continue
                if envelope.event_id in self._to_come:
                    self._own[envelope.event_id] = envelope
                elif self._anew < EVENTS_ANEW_MAX:
                    self._anew += 1
                    todo.append([(_NOWHERE, envelope)])

    def _written(self) -> list[Envelope]:
        """Take note of all that would have been written; return the events."""
        emitted: list[Envelope] = []
        for topic, key, value, headers, _ in self._chain.outputs:
            offset = len(self._result.outputs) + len(self._result.notes)
            record = Record(topic, 0, offset, key, value, headers, 0)
            if topic == JOURNAL:
                self._result.notes.append(note(record))
            elif topic in self._today.declaration.topics_out:
                envelope = self._today.codec.read(record)
                assert envelope is not None
                emitted.append(envelope)
                self._result.outputs.append(fresh_output(envelope))
        self._chain.outputs.clear()
        return emitted

    def _command(self, told: Noted) -> Command:
        """Return what a person asked for, as the note about it tells."""
        payload: dict[str, Any] | None = None
        step = self._then.get((told.handler, told.branch, told.trigger))
        for output in step.outputs.values() if step is not None else ():
            if output.type == told.event_type and output.event is not None:
                payload = output.event.model_dump(mode="json")
        return Command.model_construct(
            command_id=told.command_id,
            command="retry" if told.kind == "resumed" else "resolve",
            saga_id=self._saga_id,
            service=self._service,
            handler=told.handler,
            branch=told.branch,
            trigger=told.trigger,
            actor=told.actor,
            reason=told.reason,
            event_type=told.event_type if told.kind == "resolved" else "",
            payload=payload,
            at=self._clock.now(),
        )


def _steady(declaration: Declaration, recorded: Recording) -> frozenset[str]:
    """Return the deadlines that are today what they have been in every version that was announced."""

    def terms(each: HandlerManifest) -> tuple[object, ...]:
        return each.within_s, each.waits_for, each.awaits, each.after_abort

    today = {each.name: terms(each) for each in Manifest.of(declaration).handlers if each.within_s is not None}
    then = [*recorded.handlers_of(declaration.name, Kind.DEADLINE)]
    changed = {each.name for each in then if today.get(each.name) != terms(each)}
    return frozenset({each.name for each in then} - changed)


def _due_ms(timer: tuple[TimerKey, Timer]) -> int:
    return timer[1].due_ms


def output_of(today: Today, recorded: RecordedEvent) -> Output:
    """Return what a recorded event of a service's own is to today's models."""
    event: Event | None = None
    problem = ""
    if recorded.seen.type in today.names:
        try:
            event = today.codec.decode(recorded.seen.type, recorded.record.value or b"")
        except UndecodableRecord as error:
            problem = str(error)
    return recorded_output(recorded, event, problem)
