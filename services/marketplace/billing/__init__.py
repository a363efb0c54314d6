"""The billing service: holds amounts on cards and lets go of them.

`service` holds the handlers and `ledger` the rows they write; nothing outside this folder is used but the events. Run
it with `choreo run services.marketplace.billing`.
"""

from .ledger import Ledger as Ledger
from .service import billing as billing

__all__ = ["Ledger", "billing"]
