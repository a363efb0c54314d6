"""Today's code of one service, run over the records of one saga.

Driving the core with recorded events, ends, commands and times lives here, over the runtime's own `SagaProcessor`;
their order is `arrival_order`'s, and what handlers do that are not called, `recorded_outcome`'s. `replayer` does this
for every service, saga and order. What would be written is kept, and goes nowhere.
"""

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, cast

from choreo.clock import EPOCH, ManualClock
from choreo.codec import Codec, Schemas
from choreo.errors import UndecodableRecord
from choreo.event import Envelope, Event
from choreo.handler import Kind
from choreo.manifest import HandlerManifest, Manifest
from choreo.memory import Memory, TimerKey, TimerKind
from choreo.records import JOURNAL, Command
from choreo.replay.arrival_order import Arrival, ArrivalKind, ArrivalOrder
from choreo.replay.recorded_outcome import RecordedOutcome, not_called
from choreo.replay.recorded_saga import RecordedEvent, RecordedSaga, Recording, emitted_by
from choreo.replay.replayed_step import ReplayedSteps, StepKey, StepOutput
from choreo.runtime import Resources
from choreo.runtime.batch import BatchResult, Item, SagaBatch
from choreo.runtime.engine import THREADS_MAX
from choreo.runtime.intake import Intake
from choreo.runtime.invoker import Invoker
from choreo.runtime.saga_processor import SagaProcessor
from choreo.service import Declaration
from choreo.step import Rules
from choreo.tracker.row_decoder import RowDecoder, note_row
from choreo.tracker.rows import NoteRow
from choreo.transport import Record

TIMER_SLACK_MS = 1000
"""A timer fires without a record of it once it is due for so long: until then, what came may have come first."""
TIMERS_MAX = 1000
"""Most timers that fire without a record of it, a saga and service."""
EVENTS_ANEW_MAX = 1000
"""Most events that today's code emits and reads itself though none is recorded, a saga and service."""
_NOWHERE = Record("", 0, 0, None, None, [], 0)
# It needs no schema: what was emitted is at hand.
_ROWS = RowDecoder()
_Position = tuple[str, int, int]


@dataclass(slots=True)
class RerunResult:
    """What today's code does.

    Attributes:
        outputs: What it emits, in order.
        notes: What it writes into the journal.
        unknown: Steps of which no outcome is recorded, and the handler of each, which is not called.
        due: Steps with a timer left at the end, and when it is due.
    """

    outputs: list[StepOutput] = field(default_factory=list)
    notes: list[NoteRow] = field(default_factory=list)
    unknown: dict[StepKey, str] = field(default_factory=dict)
    due: dict[StepKey, str] = field(default_factory=dict)


class CurrentCode:
    """Today's code of one service, ready to process sagas; of its resources only replaced ones are ever opened."""

    def __init__(
        self,
        declaration: Declaration,
        schemas: Schemas,
        recorded: Recording,
        replaced: Mapping[type, object],
        named: Collection[str],
    ) -> None:
        self.declaration = declaration
        self.uncalled = not_called(declaration, replaced.keys(), named, masked=recorded.masked)
        """Handlers that are not called, and why."""
        self.codec = Codec(declaration.event_types, schemas)
        self.rules = Rules(declaration, Codec(declaration.event_types, schemas, consumes=declaration.consumes))
        self.deadlines = frozenset(each.name for each in declaration.handlers if each.kind is Kind.DEADLINE)
        self.unchanged_deadlines = _unchanged_deadlines(declaration, recorded)
        """They fire when they did then, and not where an event came first."""
        self.compensations = frozenset(each.name for each in declaration.handlers if each.kind is Kind.COMPENSATION)
        self.resources = Resources((), replaced)
        self.threads = ThreadPoolExecutor(THREADS_MAX, thread_name_prefix=f"replay-{declaration.name}")

    @property
    def reads(self) -> frozenset[str]:
        """The types that it reads."""
        return frozenset(self.rules.reactions)

    def close(self) -> None:
        """Stop its threads."""
        self.threads.shutdown(wait=False, cancel_futures=True)

    def output_of(self, recorded: RecordedEvent) -> StepOutput:
        """Return a recorded event that the service emitted, read by today's models."""
        event: Event | None = None
        problem = ""
        if recorded.seen.type in {each.__choreo_type__ for each in self.declaration.event_types}:
            try:
                event = self.codec.decode(recorded.seen.type, recorded.record.value or b"")
            except UndecodableRecord as error:
                problem = str(error)
        return StepOutput(recorded.seen, event, recorded.masked, problem)

    async def process(
        self, saga: RecordedSaga, order: ArrivalOrder, inputs: Mapping[_Position, Envelope], then: ReplayedSteps
    ) -> RerunResult:
        """Return what it does when a saga comes to it in an order; inputs are the events that it can read, by place."""
        await self.resources.open()
        run = _SagaRun(self, saga, order, then)
        for arrival in order:
            await run.process(arrival, inputs)
        return await run.finish()


class _SagaRun:
    """One saga in one service."""

    def __init__(self, code: CurrentCode, saga: RecordedSaga, order: ArrivalOrder, then: ReplayedSteps) -> None:
        self._code = code
        self._service = code.declaration.name
        self._saga_id = saga.saga_id
        self._then = then
        self._clock = ManualClock(EPOCH)
        self._memory = Memory()
        self._batch_result = BatchResult()
        self._batch = SagaBatch(0, saga.saga_id.encode(), [], saga_id=saga.saga_id)
        self._result = RerunResult()
        # Own events that are read back when they arrive, and those that have been emitted by now.
        self._to_come = {each.event_id for each in order if each.event is not None}
        self._own: dict[str, Envelope] = {}
        self._anew = 0
        rules = code.rules
        recorded_outcome = partial(
            RecordedOutcome,
            steps=then,
            gone={name for name, _, _ in then} - rules.handlers.keys(),
            now=self._clock.now,
            unknown=self._result.unknown,
        )
        invokers: dict[str, object] = {
            name: recorded_outcome(handler=handler)
            if name in code.uncalled
            else Invoker(rules, handler, code.resources, self._clock.now, code.threads)
            for name, handler in rules.handlers.items()
        }
        intake = Intake(rules, self._clock, {}, None, lambda _: True)
        # A processor awaits an invoker, whatever it is.
        self._processor = SagaProcessor(rules, cast("Mapping[str, Invoker]", invokers), intake, self._clock)

    async def process(self, arrival: Arrival, inputs: Mapping[_Position, Envelope]) -> None:
        """Process one arrival, after the timers that were due before it."""
        # A record that came in time is read before any timer fires, however late that was.
        at_ms = (arrival.event.seen.at_us if arrival.event is not None else arrival.at_us) // 1000
        for _ in range(TIMERS_MAX):
            timers = self._memory.timers.items()
            due_ms = min((timer.due_ms for key, timer in timers if not self._fires_as_recorded(key)), default=None)
            if due_ms is None or due_ms + TIMER_SLACK_MS > at_ms:
                break
            await self._fire(due_ms)
        self._advance_to(EPOCH + timedelta(microseconds=arrival.at_us))
        match arrival.kind:
            case ArrivalKind.END:
                self._note_due()
                await self._process([(_NOWHERE, None)])
            case ArrivalKind.TIMERS:
                await self._process([])
            case ArrivalKind.COMMAND:
                assert arrival.note is not None
                await self._process([(_NOWHERE, self._command(arrival.note))])
            case ArrivalKind.EVENT:
                assert arrival.event is not None
                self._to_come.discard(arrival.event_id)
                if emitted_by(self._service, arrival.event.seen):
                    envelope = self._own.pop(arrival.event_id, None)
                else:
                    envelope = inputs.get(arrival.event.record[:3])
                if envelope is not None:
                    await self._process([(arrival.event.record, envelope)])

    async def finish(self) -> RerunResult:
        """Let retries run out, for no record follows them, and return what was done."""
        for _ in range(TIMERS_MAX):
            soonest = min(self._memory.timers.items(), key=lambda timer: timer[1].due_ms, default=None)
            if soonest is None or soonest[0][0] is not TimerKind.RETRY:
                break
            await self._fire(soonest[1].due_ms)
        self._note_due()
        return self._result

    def _note_due(self) -> None:
        """Keep when timers are due that are left: the saga's end cancels them."""
        for key, timer in self._memory.timers.items():
            due = EPOCH + timedelta(milliseconds=timer.due_ms)
            self._result.due[key[1:4]] = due.isoformat(timespec="seconds")

    def _fires_as_recorded(self, key: TimerKey) -> bool:
        return key[0] is TimerKind.DEADLINE and key[1] in self._code.unchanged_deadlines

    async def _fire(self, due_ms: int) -> None:
        self._advance_to(EPOCH + timedelta(milliseconds=due_ms))
        await self._process([])

    def _advance_to(self, at: datetime) -> None:
        self._clock.advance(max(at - self._clock.now(), timedelta()))

    async def _process(self, records: list[tuple[Record, Item]]) -> None:
        """Process records, or due timers if there are none; then the events emitted that are not recorded."""
        todo = [records]
        while todo:
            some = todo.pop(0)
            self._batch.woken = not some
            await self._processor.process(self._batch, some, self._memory, self._batch_result)
            for envelope in self._written():
                if envelope.type not in self._code.rules.reactions:
                    continue
                if envelope.event_id in self._to_come:
                    self._own[envelope.event_id] = envelope
                elif self._anew < EVENTS_ANEW_MAX:
                    self._anew += 1
                    todo.append([(_NOWHERE, envelope)])

    def _written(self) -> list[Envelope]:
        """Keep all that would have been written; return the events."""
        emitted: list[Envelope] = []
        for topic, key, value, headers, _ in self._batch.outputs:
            offset = len(self._result.outputs) + len(self._result.notes)
            record = Record(topic, 0, offset, key, value, headers, 0)
            if topic == JOURNAL:
                self._result.notes.append(note_row(record))
            elif topic in self._code.declaration.topics_out:
                envelope = self._code.codec.read(record)
                assert envelope is not None
                emitted.append(envelope)
                self._result.outputs.append(StepOutput(_ROWS.event(record), envelope.event))
        self._batch.outputs.clear()
        return emitted

    def _command(self, noted: NoteRow) -> Command:
        """Return the command that a note says was carried out."""
        payload: dict[str, Any] | None = None
        step = self._then.get((noted.handler, noted.branch, noted.trigger))
        for output in step.outputs.values() if step is not None else ():
            if output.seen.type == noted.event_type and output.event is not None:
                payload = output.event.model_dump(mode="json")
        return Command.model_construct(
            command_id=noted.command_id,
            command="retry" if noted.kind == "resumed" else "resolve",
            saga_id=self._saga_id,
            service=self._service,
            handler=noted.handler,
            branch=noted.branch,
            trigger=noted.trigger,
            actor=noted.actor,
            reason=noted.reason,
            event_type=noted.event_type if noted.kind == "resolved" else "",
            payload=payload,
            at=self._clock.now(),
        )


def _unchanged_deadlines(declaration: Declaration, recorded: Recording) -> frozenset[str]:
    """Return the deadlines whose terms are today what they were in every version that was announced."""

    def terms(each: HandlerManifest) -> tuple[object, ...]:
        return each.within_s, each.waits_for, each.awaits, each.after_abort

    today = {each.name: terms(each) for each in Manifest.of(declaration).handlers if each.within_s is not None}
    then = [*recorded.handlers_of(declaration.name, Kind.DEADLINE)]
    changed = {each.name for each in then if today.get(each.name) != terms(each)}
    return frozenset({each.name for each in then} - changed)
