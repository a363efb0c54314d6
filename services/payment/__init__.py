"""The payment service: charges cards and refunds them.

`service` holds the handlers and `till` the rows they write; nothing outside this folder is used but the events. Run it
with `choreo run services.payment`.
"""

from .service import payments as payments
from .till import Till as Till

__all__ = ["Till", "payments"]
