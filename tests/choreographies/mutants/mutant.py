"""A mutant: a choreography that is broken in one way, and who is to find that out.

What the tables of mutants are made of lives here, with the choreographies they begin with; the tables do not.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

from choreo.manifest import Manifest
from services.approval.approvals import approvals
from services.approval.mailroom import mailroom
from services.inventory import inventory
from services.marketplace.billing import billing
from services.marketplace.checkout import checkout
from services.marketplace.delivery import delivery
from services.marketplace.sellers import sellers
from services.notification import notifications
from services.order import orders
from services.payment import payments
from services.shipping import shipping
from tests.choreographies import CHOREOGRAPHIES
from tests.choreographies.altering import Services

Tool = Literal["check", "verify", "simulation"]
ORIGINALS: dict[str, Services] = {name: piece.services for name, piece in CHOREOGRAPHIES.items()} | {
    "order": (orders, inventory, payments, shipping, notifications),
    "approval": (approvals, mailroom),
    "marketplace": (checkout, billing, sellers, delivery),
}
"""What mutants are made of: the ten choreographies, and the three examples in services/."""


class Mutant(NamedTuple):
    """One way to break a choreography.

    Attributes:
        of: The choreography, by its name in `ORIGINALS`.
        tool: What finds it first: `check` before `verify`, and that before a simulation.
        finding: The code that `check` gives it; else the invariant that it breaks.
        change: What breaks it; it makes services out of services, or what they would announce.
    """

    of: str
    tool: Tool
    finding: str
    change: Callable[[Services], Services | list[Manifest]]

    def made(self) -> Services | list[Manifest]:
        """Return the broken services, or manifests where no process could declare them."""
        return self.change(ORIGINALS[self.of])
