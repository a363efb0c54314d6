"""The mailroom service: tells managers, directors and those who asked.

`service` holds the handlers and `outbox` the rows they write; nothing outside this folder is used but the events. Run
it with `choreo run services.approval.mailroom`.
"""

from .outbox import Outbox as Outbox
from .service import mailroom as mailroom

__all__ = ["Outbox", "mailroom"]
