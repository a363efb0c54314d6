"""The shipping service: checks addresses, books parcels and cancels them.

`service` holds the handlers and `dispatch` the rows they write; nothing outside this folder is used but the events. Run
it with `choreo run services.shipping`.
"""

from .dispatch import Dispatch as Dispatch
from .service import shipping as shipping

__all__ = ["Dispatch", "shipping"]
