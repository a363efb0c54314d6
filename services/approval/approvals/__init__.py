"""The approvals service: waits for people, keeps the time, and owns the saga.

`service` holds the handlers; nothing outside this folder is used but the events. It keeps no rows: what it has to know
of a request, timers among it, is its memory of the saga. Run it with `choreo run services.approval.approvals`.
"""

from .service import approvals as approvals

__all__ = ["approvals"]
