"""The inventory service: sets CDs aside for orders and takes them back.

`service` holds the handlers and `stock` the rows they write; nothing outside this folder is used but the events. Run it
with `choreo run services.inventory`.
"""

from .service import inventory as inventory
from .stock import Stock as Stock

__all__ = ["Stock", "inventory"]
