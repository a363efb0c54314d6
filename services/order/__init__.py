"""The order service: takes orders, confirms or cancels them, and owns the saga.

`service` holds the handlers, `book` the rows they write, `purchases` makes orders out of the CSV and `place` publishes
them; nothing outside this folder is used but the events. Run it with `choreo run services.order`.
"""

from .book import OrderBook as OrderBook
from .service import orders as orders

__all__ = ["OrderBook", "orders"]
