"""The notification service: tells customers how their orders ended.

`service` holds the handlers and `postbox` the rows they write; nothing outside this folder is used but the events. Run
it with `choreo run services.notification`.
"""

from .postbox import Postbox as Postbox
from .service import notifications as notifications

__all__ = ["Postbox", "notifications"]
