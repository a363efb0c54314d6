"""What is recorded of sagas, wherever it was read.

The records that everything else here works from live here, with their bounds; they hold no logic. `recording_reader`
makes them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from choreo.manifest import HandlerManifest, Manifest
from choreo.scope import emitter
from choreo.tracker.rows import EventRow, NoteRow
from choreo.transport import Record

SAGAS_MAX = 1000
"""Most sagas of one recording."""
EVENTS_MAX = 1000
"""Most events of one saga, and most notes; a saga with more is reported and not replayed."""


class RecordedEvent(NamedTuple):
    """One event as it was committed.

    Attributes:
        seen: What its headers say, and where it is.
        record: What a service is given; rebuilt where the store kept no bytes.
        masked: Its sensitive fields were not kept, and placeholders are in their place.
    """

    seen: EventRow
    record: Record
    masked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedSaga:
    """All that is recorded of one saga.

    Attributes:
        events: Each partition's in its order.
        notes: What the journal holds, and the end.
        cut: It has more than EVENTS_MAX of either, and not all are here.
    """

    saga_id: str
    saga_type: str
    business_key: str
    events: tuple[RecordedEvent, ...]
    notes: tuple[NoteRow, ...]
    cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Recorded sagas, and what is needed to read them.

    Attributes:
        sagas: At most SAGAS_MAX, the one that ended last first.
        manifests: All that services have announced, the oldest first: the schemas that events were written with.
        masked: Sensitive fields are not in it.
    """

    sagas: tuple[RecordedSaga, ...]
    manifests: tuple[Manifest, ...]
    masked: bool = False

    def handlers_of(self, service: str, kind: str) -> Iterator[HandlerManifest]:
        """Yield a service's announced handlers of a kind, those of all its versions."""
        for manifest in self.manifests:
            if manifest.service == service:
                yield from (each for each in manifest.handlers if each.kind == kind)


def emitted_by(service: str, event: EventRow) -> bool:
    """Return whether a handler of this service emitted an event; what it published from outside does not count."""
    return emitter(event.source)[0] == service
