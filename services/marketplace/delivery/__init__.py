"""The delivery service: carries packages to customers and brings them back.

`service` holds the handlers and `depot` the rows they write; nothing outside this folder is used but the events. Run it
with `choreo run services.marketplace.delivery`.
"""

from .depot import Depot as Depot
from .service import delivery as delivery

__all__ = ["Depot", "delivery"]
