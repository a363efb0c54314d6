"""Choreography-based sagas: typed functions, domain events, exactly once.

The public names are exported from here. They are loaded at first use, so that a program that only declares events loads
nothing that runs them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from choreo.checks import check as check
    from choreo.errors import BrokerUnavailable as BrokerUnavailable
    from choreo.errors import BufferFull as BufferFull
    from choreo.errors import ChoreoError as ChoreoError
    from choreo.errors import DeclarationError as DeclarationError
    from choreo.errors import Fenced as Fenced
    from choreo.errors import HandlerFailed as HandlerFailed
    from choreo.errors import HandlerSignatureError as HandlerSignatureError
    from choreo.errors import IncompatibleSchema as IncompatibleSchema
    from choreo.errors import Problem as Problem
    from choreo.errors import RetriesExhausted as RetriesExhausted
    from choreo.errors import SchemaError as SchemaError
    from choreo.errors import StepError as StepError
    from choreo.errors import TopicProblem as TopicProblem
    from choreo.errors import TransactionAborted as TransactionAborted
    from choreo.errors import TransportError as TransportError
    from choreo.errors import UndeclaredEmission as UndeclaredEmission
    from choreo.errors import UndecodableRecord as UndecodableRecord
    from choreo.event import Event as Event
    from choreo.event import Failure as Failure
    from choreo.launch.process import run as run
    from choreo.launch.process import running as running
    from choreo.publisher import Publisher as Publisher
    from choreo.retry import Retry as Retry
    from choreo.saga import Saga as Saga
    from choreo.saga import SagaState as SagaState
    from choreo.schema import Sensitive as Sensitive
    from choreo.service import Context as Context
    from choreo.service import Later as Later
    from choreo.service import Service as Service
    from choreo.service import State as State
    from choreo.settings import Settings as Settings

# The public names that are no errors; errors are at home in choreo.errors.
_HOMES = {
    "choreo.checks": {"check"},
    "choreo.event": {"Event", "Failure"},
    "choreo.launch": {"run", "running"},
    "choreo.publisher": {"Publisher"},
    "choreo.retry": {"Retry"},
    "choreo.saga": {"Saga", "SagaState"},
    "choreo.schema": {"Sensitive"},
    "choreo.service": {"Context", "Later", "Service", "State"},
    "choreo.settings": {"Settings"},
}

__all__ = [
    "BrokerUnavailable",
    "BufferFull",
    "ChoreoError",
    "Context",
    "DeclarationError",
    "Event",
    "Failure",
    "Fenced",
    "HandlerFailed",
    "HandlerSignatureError",
    "IncompatibleSchema",
    "Later",
    "Problem",
    "Publisher",
    "RetriesExhausted",
    "Retry",
    "Saga",
    "SagaState",
    "SchemaError",
    "Sensitive",
    "Service",
    "Settings",
    "State",
    "StepError",
    "TopicProblem",
    "TransactionAborted",
    "TransportError",
    "UndeclaredEmission",
    "UndecodableRecord",
    "check",
    "run",
    "running",
]


def __getattr__(name: str) -> object:
    """Load a public name from its home at first use."""
    if name not in __all__:
        raise AttributeError(f"module 'choreo' has no attribute {name!r}")
    # Kept here from now on: the next use is a plain attribute.
    home = next((module for module, names in _HOMES.items() if name in names), "choreo.errors")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
