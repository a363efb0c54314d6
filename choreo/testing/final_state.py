"""The final state of a simulation, for the invariants to check.

Gathering every saga's events, journal, memories and the tracker's answers from brokers and store lives here; what must
be true of them does not (`invariants`). A simulation asks once it has come to rest.
"""

from collections import ChainMap, Counter
from collections.abc import Iterator
from datetime import datetime

from choreo.errors import UndecodableRecord
from choreo.event import Envelope
from choreo.invariants import Breach, Evidence
from choreo.invariants.evidence import ends, saga_of
from choreo.memory import Memory
from choreo.records import ENDS, JOURNAL, memory_topic
from choreo.saga import SagaState
from choreo.testing.delivery import Delivery
from choreo.testing.history import header
from choreo.testing.simulated_service import Environment
from choreo.tracker import SagaView, Store, Tracker
from choreo.tracker.rows import ENDED, EventRow, NoteRow
from choreo.tracker.verdict import Verdict
from choreo.transport import Record


class FinalState:
    """Events, journal, memories and the answers of a tracker that has read everything, once nothing is left to do."""

    def __init__(self, environment: Environment, delivery: Delivery, tracker: Tracker, store: Store) -> None:
        self._environment = environment
        self._compiled = environment.compiled
        self._services = delivery.services
        self._tracker = tracker
        self._store = store
        # No service is to blame for copies that were made on the way.
        self._copied = Counter(delivery.in_flight.copied)
        self._records: dict[str, list[Record]] = {}
        self._envelopes: dict[str, list[Envelope]] = {}
        for record in environment.broker.records(*self._compiled.catalog.choreography.topics, JOURNAL, ENDS):
            self._take(record)
        partitions = range(environment.settings.partitions)
        self._memories = {
            name: ChainMap(*environment.broker.restore(memory_topic(name), partitions).values())
            for name in self._services
        }

    @property
    def sagas(self) -> list[str]:
        """Return every saga that has an event, in the order in which they began."""
        return list(self._envelopes)

    def evidence(self, saga_id: str) -> Evidence:
        """Return what is left of one saga."""
        view = self._tracker.saga(saga_id)
        events = self._envelopes[saga_id]
        return Evidence(
            events=events,
            notes=view.notes if view is not None else (),
            memories=None if view is not None and self._forgotten(view) else self._remembered(saga_id),
            view=view,
            states=list(self._states(saga_id, events)),
            copies=self._environment.settings.delivery == "at_least_once",
        )

    def strays(self, saga_id: str) -> Iterator[Breach]:
        """Yield the services that go by another memory than the one they have committed."""
        for name, service in self._services.items():
            live = next((each[saga_id] for each in service.engine.partitions.values() if saga_id in each), None)
            if live != self._memories[name].get(saga_id):
                yield Breach("I5", f"{name} remembers something else than it has committed")

    def _take(self, record: Record) -> None:
        try:
            envelope = self._compiled.codec.read(record) if record.topic not in {JOURNAL, ENDS} else None
        except UndecodableRecord:
            # It is no event of any saga; the services that read it have dead-lettered it.
            return
        event_id = header(record, "ce_id")
        records = self._records.setdefault((record.key or b"").decode(errors="replace"), [])
        if envelope is not None and self._copied[event_id] and event_id in (header(each, "ce_id") for each in records):
            self._copied[event_id] -= 1
            return
        records.append(record)
        if envelope is not None:
            self._envelopes.setdefault(envelope.saga_id, []).append(envelope)

    def _forgotten(self, view: SagaView) -> bool:
        """Whether a service may have forgotten the saga by now (rule 5)."""
        over: list[datetime] = [each.at for each in view.notes if each.kind == ENDED]
        return bool(over) and self._environment.clock.now() - min(over) >= self._environment.settings.remember_for

    def _remembered(self, saga_id: str) -> dict[str, Memory]:
        return {name: Memory.decode(each[saga_id]) for name, each in self._memories.items() if saga_id in each}

    def _states(self, saga_id: str, events: list[Envelope]) -> Iterator[SagaState]:
        """Yield what a tracker that reads as it is written has shown since the saga ended."""
        choreography = self._compiled.catalog.choreography
        saga = saga_of(choreography, events)
        last = {each.event_id for each in events if saga is not None and ends(saga, each)}
        seen, noted = self._store.records([saga_id], bare=True)[saga_id]
        rows: dict[str, EventRow] = {each.event_id: each for each in seen}
        notes: dict[str, NoteRow] = {each.note_id: each for each in noted}
        read: dict[str, EventRow] = {}
        read_notes: dict[str, NoteRow] = {}
        over = False
        for record in self._records.get(saga_id, ()):
            record_id = header(record, "ce_id")
            if record.topic in {JOURNAL, ENDS}:
                note_id = record_id if record.topic == JOURNAL else f"{ENDED}:{record_id}"
                read_notes[note_id] = notes[note_id]
            else:
                read[record_id] = rows[record_id]
                over = over or record_id in last
            if over:
                yield Verdict(choreography, saga_id, read.values(), read_notes.values()).state
