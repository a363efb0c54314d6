"""Testing choreographies: several services as if they were one function.

`Scenario` runs the very code of production on brokers in memory, with time that stands still; `context` makes a
`Context` for the unit test of one handler. Users import both from here; nothing in production does. They are loaded
at first use, for pytest loads this package wherever choreo is installed, for the sake of its plugin.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from choreo.testing.broker import MemoryBroker as MemoryBroker
    from choreo.testing.context import context as context
    from choreo.testing.handle import SagaHandle as SagaHandle
    from choreo.testing.scenario import Scenario as Scenario

_HOMES = {
    "MemoryBroker": "choreo.testing.broker",
    "SagaHandle": "choreo.testing.handle",
    "Scenario": "choreo.testing.scenario",
    "context": "choreo.testing.context",
}

__all__ = ["MemoryBroker", "SagaHandle", "Scenario", "context"]


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
