"""Testing choreographies: several services as if they were one function.

`Scenario` runs the very code of production on brokers in memory, with time that stands still; `context` makes a
`Context` for the unit test of one handler; `replay` takes recorded sagas through today's code. Users import them from
here; nothing in production does. They are loaded at first use, for pytest loads this package wherever choreo is
installed, for the sake of its plugin.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from choreo.replay import Difference as Difference
    from choreo.replay import Recording as Recording
    from choreo.replay import recorded as recorded
    from choreo.replay import replay as replay
    from choreo.testing.fault_injection import TransientFault as TransientFault
    from choreo.testing.fault_plan import Point as Point
    from choreo.testing.fault_plan import Rates as Rates
    from choreo.testing.given_when_then import Case as Case
    from choreo.testing.given_when_then import given as given
    from choreo.testing.memory_transport import MemoryBroker as MemoryBroker
    from choreo.testing.saga_handle import SagaHandle as SagaHandle
    from choreo.testing.sample import context as context
    from choreo.testing.scenario import Scenario as Scenario
    from choreo.testing.shrinking import Report as Report
    from choreo.testing.shrinking import simulate as simulate
    from choreo.testing.simulation import InvariantBroken as InvariantBroken
    from choreo.testing.simulation import Simulation as Simulation

_HOMES = {
    "Case": "choreo.testing.given_when_then",
    "Difference": "choreo.replay",
    "InvariantBroken": "choreo.testing.simulation",
    "MemoryBroker": "choreo.testing.memory_transport",
    "Point": "choreo.testing.fault_plan",
    "Recording": "choreo.replay",
    "Rates": "choreo.testing.fault_plan",
    "Report": "choreo.testing.shrinking",
    "SagaHandle": "choreo.testing.saga_handle",
    "Scenario": "choreo.testing.scenario",
    "Simulation": "choreo.testing.simulation",
    "TransientFault": "choreo.testing.fault_injection",
    "context": "choreo.testing.sample",
    "given": "choreo.testing.given_when_then",
    "recorded": "choreo.replay",
    "replay": "choreo.replay",
    "simulate": "choreo.testing.shrinking",
}

__all__ = [
    "Case",
    "Difference",
    "InvariantBroken",
    "MemoryBroker",
    "Point",
    "Rates",
    "Recording",
    "Report",
    "SagaHandle",
    "Scenario",
    "Simulation",
    "TransientFault",
    "context",
    "given",
    "recorded",
    "replay",
    "simulate",
]


def __getattr__(name: str) -> object:
    """Load a public name from its home at first use."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'choreo.testing' has no attribute {name!r}")
    # Kept here from now on; of `context`, the function stands where importing put its module.
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
