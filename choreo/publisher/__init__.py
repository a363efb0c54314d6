"""Publishing from outside a handler: starting sagas, and events into running ones.

Who may publish what, under which ids, and waiting until the brokers have it live in this package; turning events
into bytes does not (`codec`), nor moving them (`transport`). Web applications, scripts, `choreo publish` and
`Scenario` call it.
"""

from choreo.publisher.address import Where
from choreo.publisher.event_publisher import Publisher

__all__ = ["Publisher", "Where"]
