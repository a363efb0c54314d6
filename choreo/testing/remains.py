"""What is left of a simulation, for the invariants to judge.

Gathering every saga's events, journal, memories and the tracker's answers from brokers and store lives here; what must
be true of them does not (`invariants`). A simulation asks once it has come to rest.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime

from choreo.errors import UndecodableRecord
from choreo.event import Envelope
from choreo.invariants import Breach, Evidence
from choreo.invariants.evidence import ends, saga_of
from choreo.memory import Memory
from choreo.runtime.notes import ENDS, JOURNAL
from choreo.saga import SagaState
from choreo.testing.cast import Cast
from choreo.testing.members import Member, Stage
from choreo.tracker import SagaView, Store, Tracker
from choreo.tracker.seen import ENDED, Noted, Seen
from choreo.tracker.verdict import summarise
from choreo.transport import Record


class Remains:
    """All that is left, once nothing is left to do.

    Args:
        stage: What the services shared.
        members: The services.
        tracker: A tracker that has read everything.
        store: Its store.
        copied: How many copies of an event were put beside it, by its id: they are nobody's breach.
    """

    def __init__(
        self,
        stage: Stage,
        members: Mapping[str, Member],
        tracker: Tracker,
        store: Store,
        copied: Mapping[bytes, int],
    ) -> None:
        self._stage = stage
        self._cast: Cast = stage.cast
        self._tracker = tracker
        self._store = store
        self._copied = Counter(copied)
        self._records: dict[str, list[Record]] = {}
        self._envelopes: dict[str, list[Envelope]] = {}
        for record in stage.broker.records(*self._cast.catalog.choreography.topics, JOURNAL, ENDS):
            self._take(record)
        partitions = range(stage.settings.partitions)
        self._memories = {
            name: {
                saga_id: data
                for memories in stage.broker.restore(f"{name}.memory", partitions).values()
                for saga_id, data in memories.items()
            }
            for name in members
        }
        self._members = members

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
            copies=self._stage.settings.delivery == "at_least_once",
        )

    def strays(self, saga_id: str) -> Iterator[Breach]:
        """Yield the services that go by another memory than the one they have committed."""
        for name, member in self._members.items():
            live = next((each[saga_id] for each in member.engine.partitions.values() if saga_id in each), None)
            if live != self._memories[name].get(saga_id):
                yield Breach("I5", f"{name} remembers something else than it has committed")

    def _take(self, record: Record) -> None:
        try:
            envelope = self._cast.codec.read(record) if record.topic not in {JOURNAL, ENDS} else None
        except UndecodableRecord:
            # It is no event of any saga; the services that read it have dead-lettered it.
            return
        event_id = dict(record.headers).get("ce_id", b"")
        if envelope is not None and self._copied[event_id] and event_id.decode() in map(_id, self._of(record)):
            self._copied[event_id] -= 1
            return
        self._of(record).append(record)
        if envelope is not None:
            self._envelopes.setdefault(envelope.saga_id, []).append(envelope)

    def _of(self, record: Record) -> list[Record]:
        return self._records.setdefault((record.key or b"").decode(errors="replace"), [])

    def _forgotten(self, view: SagaView) -> bool:
        """Whether a service may have forgotten the saga by now (rule 5)."""
        over: list[datetime] = [each.at for each in view.notes if each.kind == ENDED]
        return bool(over) and self._stage.clock.now() - min(over) >= self._stage.settings.remember_for

    def _remembered(self, saga_id: str) -> dict[str, Memory]:
        return {name: Memory.decode(each[saga_id]) for name, each in self._memories.items() if saga_id in each}

    def _states(self, saga_id: str, events: list[Envelope]) -> Iterator[SagaState]:
        """Yield what a tracker that reads as it is written has told since the saga ended."""
        saga = saga_of(self._cast.catalog.choreography, events)
        last = {each.event_id for each in events if saga is not None and ends(saga, each)}
        seen, noted = self._store.records([saga_id], bare=True)[saga_id]
        rows: dict[str, Seen] = {each.event_id: each for each in seen}
        notes: dict[str, Noted] = {each.note_id: each for each in noted}
        read: dict[str, Seen] = {}
        told: dict[str, Noted] = {}
        over = False
        for record in self._records.get(saga_id, ()):
            record_id = _id(record)
            if record.topic in {JOURNAL, ENDS}:
                note_id = record_id if record.topic == JOURNAL else f"{ENDED}:{record_id}"
                told[note_id] = notes[note_id]
            else:
                read[record_id] = rows[record_id]
                over = over or record_id in last
            if over:
                yield summarise(self._cast.graph, saga_id, read.values(), told.values()).state


def _id(record: Record) -> str:
    return next((value for name, value in record.headers if name == "ce_id"), b"").decode(errors="replace")
