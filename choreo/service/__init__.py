"""Services: what people declare, read and checked.

`decorators` collect what people write, `resolution` makes declarations of it, and refuses mistakes. Users import from
`choreo`; everything that runs, publishes or describes services begins with `declarations`.
"""

from choreo.service.context import Context, Later, State
from choreo.service.declaration import Declaration
from choreo.service.decorators import Service
from choreo.service.providers import Provider
from choreo.service.resolution import declarations, mistakes
from choreo.service.validation import CODES, SagaClaims, claim_problems

__all__ = [
    "CODES",
    "Context",
    "Declaration",
    "Later",
    "Provider",
    "SagaClaims",
    "Service",
    "State",
    "claim_problems",
    "declarations",
    "mistakes",
]
