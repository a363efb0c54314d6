"""Events as the model has them: types without fields.

The codec that the pure core is given in the model lives here. A body is its type's name, so that two runs of a step
which end differently differ in their bytes, and those that end alike do not.
"""

from collections.abc import Iterable

from choreo.codec import Codec, Schemas
from choreo.errors import UndecodableRecord
from choreo.event import Envelope, Event
from choreo.transport import Outgoing


def example(kind: type[Event]) -> Event:
    """Return an event of a type without any fields: the model decides by types alone."""
    return kind.model_construct()


class ModelCodec(Codec):
    """Turns event types into bodies and back."""

    def __init__(self, types: Iterable[type[Event]]) -> None:
        super().__init__((), Schemas())
        self._examples = {kind.__choreo_type__: example(kind) for kind in types}
        self.published: list[Envelope] = []
        """What has been published since it was last cleared."""

    def encode(self, event: Event) -> bytes:
        """Return the type's name."""
        return event.__choreo_type__.encode()

    def decode(self, type_name: str, body: bytes) -> Event:
        """Return the type's event.

        Raises:
            UndecodableRecord: If no service names such a type, or its body was not kept.
        """
        found = self._examples.get(type_name)
        if found is None or not body:
            raise UndecodableRecord("unknown-type", f"{type_name} is not known here")
        return found

    def outgoing(self, envelope: Envelope) -> Outgoing:
        """Return the event as a record that tells its topic and key, and keep it in `published`."""
        self.published.append(envelope)
        return Outgoing(envelope.event.__choreo_topic__, envelope.saga_id.encode(), envelope.body, [], -1)
