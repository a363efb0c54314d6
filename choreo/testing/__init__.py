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
    "choreo.replay": ("Difference", "Recording", "recorded", "replay"),
    "choreo.testing.fault_injection": ("TransientFault",),
    "choreo.testing.fault_plan": ("Point", "Rates"),
    "choreo.testing.given_when_then": ("Case", "given"),
    "choreo.testing.memory_transport": ("MemoryBroker",),
    "choreo.testing.saga_handle": ("SagaHandle",),
    "choreo.testing.sample": ("context",),
    "choreo.testing.scenario": ("Scenario",),
    "choreo.testing.shrinking": ("Report", "simulate"),
    "choreo.testing.simulation": ("InvariantBroken", "Simulation"),
}

__all__ = [name for names in _HOMES.values() for name in names]


def __getattr__(name: str) -> object:
    """Load a public name from its home at first use."""
    home = next((module for module, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module 'choreo.testing' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
