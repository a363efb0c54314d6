"""How one service's engine is put together from its declaration and the settings.

The codec, the rules and the limits of an engine, and what it reads, are chosen here and nowhere else; transports are
not. `launch` puts an engine on brokers, `testing` on a transport in memory.
"""

from choreo.catalog import Catalog
from choreo.clock import Clock
from choreo.codec import Codec, Schemas
from choreo.records import COMMANDS, ENDS
from choreo.runtime.engine import Engine
from choreo.runtime.resources import Resources
from choreo.service import Declaration
from choreo.settings import Settings
from choreo.step import Rules


def codec_for(declaration: Declaration, schemas: Schemas, settings: Settings) -> Codec:
    """Return what reads and writes a service's events."""
    return Codec(
        declaration.event_types, schemas, event_bytes_max=settings.event_bytes_max, consumes=declaration.consumes
    )


def engine_for(
    declaration: Declaration, codec: Codec, resources: Resources, catalog: Catalog, settings: Settings, clock: Clock
) -> Engine:
    """Return a service's engine; `settings.delivery` is what its transport can keep."""
    rules = Rules(
        declaration,
        codec,
        at_least_once=settings.delivery == "at_least_once",
        hops_max=settings.hops_max,
        waiting_max=settings.waiting_max,
        event_bytes_max=settings.event_bytes_max,
    )
    return Engine(
        rules,
        resources,
        clock=clock,
        concurrency_max=settings.concurrency_max,
        remember_for=settings.remember_for,
        refresh=catalog.refresh,
        concerns=lambda saga_type: catalog.choreography.concerns(declaration.name, saga_type),
    )


def topics_read(declaration: Declaration) -> list[str]:
    """Return the topics that a service's consumer group reads."""
    return sorted({*declaration.topics_in, ENDS, COMMANDS})
