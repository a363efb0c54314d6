"""The checkout service: splits a basket by sellers, gathers what became of it, and owns the saga.

`service` holds the handlers and `book` the rows they write; nothing outside this folder is used but the events. Run it
with `choreo run services.marketplace.checkout`.
"""

from .book import CheckoutBook as CheckoutBook
from .service import checkout as checkout

__all__ = ["CheckoutBook", "checkout"]
