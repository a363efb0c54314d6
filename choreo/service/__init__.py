"""Services: what people declare, and what that comes to once it is read.

The decorators, what handlers meet besides events, and the resolved declaration live in this package; running a
service does not. Users import from `choreo`; the runtime, the publisher and the manifest work from `declarations`.
"""

from choreo.service.context import Context, Later, State
from choreo.service.declaration import Declaration
from choreo.service.decorators import Service
from choreo.service.providers import Provider
from choreo.service.resolution import declaration, declarations, mistakes
from choreo.service.validation import CODES

__all__ = [
    "CODES",
    "Context",
    "Declaration",
    "Later",
    "Provider",
    "Service",
    "State",
    "declaration",
    "declarations",
    "mistakes",
]
