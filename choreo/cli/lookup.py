"""Which saga a person means.

Finding one saga by its id or its business key lives here; what is shown of it or asked about it does not. `sagas` and
`parked` take a SAGA and call this.
"""

import uuid
from typing import TYPE_CHECKING

import click

from choreo.cli.group import EXIT_USAGE, Told

if TYPE_CHECKING:
    from choreo.tracker import SagaView, Tracker

type_option = click.option("--type", "saga_type", help="Its saga type, where SAGA is a key that several types have.")


def find_saga(tracker: "Tracker", wanted: str, saga_type: str | None) -> "SagaView | None":
    """Return the saga with this id, or with this business key.

    Args:
        tracker: Where to look.
        wanted: An id or a business key.
        saga_type: The type that the key is looked for in; all of them where it is None.

    Raises:
        Told: With exit code 2, if several types have a saga with this key.
    """
    try:
        found = tracker.saga(str(uuid.UUID(wanted)))
    except ValueError:
        found = None
    if found is not None:
        return found
    types = [saga_type] if saga_type is not None else sorted(tracker.counts())
    matches = [match for kind in types if (match := tracker.find(kind, wanted)) is not None]
    if len(matches) > 1:
        found_types = " or ".join(match.saga_type for match in matches)
        raise Told([f"{wanted} is the key of sagas of several types: say --type {found_types}"], EXIT_USAGE)
    return matches[0] if matches else None


def found_saga(tracker: "Tracker", wanted: str, saga_type: str | None) -> "SagaView":
    """Return the saga with this id or business key, as `find_saga` does.

    Raises:
        Told: With exit code 1, if the tracker knows none.
    """
    found = find_saga(tracker, wanted, saga_type)
    if found is None:
        lag = tracker.lag()
        behind = f" It is {lag.records} records behind." if lag.records else ""
        raise Told([f"The tracker knows no saga with the id or key {wanted}.{behind}"])
    return found
