"""Testing choreographies: several services as if they were one function.

`Scenario` runs the very code of production on brokers in memory, with time that stands still; `context` makes a `Context` for the
unit test of one handler. Users import both from here; nothing in production does.
"""

from choreo.testing.broker import MemoryBroker
from choreo.testing.context import context
from choreo.testing.scenario import SagaHandle, Scenario

__all__ = ["MemoryBroker", "SagaHandle", "Scenario", "context"]
