"""The mark for fields that are nobody's business.

`Sensitive` lives here; who keeps such fields out of sight does not. Users annotate event fields with it, and `schema`
writes it into the Avro schema, where the tracker and the command line find it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sensitive:
    """Marks a field that the tracker, the command line and the log never show or store.

    Use it as `Annotated[str, Sensitive()]`. It travels in the Avro schema, so readers without the class obey it too.
    """
