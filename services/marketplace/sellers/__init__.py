"""The sellers service: takes articles from shelves and puts them back, for every seller of the marketplace.

`service` holds the handlers and `shelves` the rows they write; nothing outside this folder is used but the events. Run
it with `choreo run services.marketplace.sellers`.
"""

from .service import sellers as sellers
from .shelves import Shelves as Shelves

__all__ = ["Shelves", "sellers"]
